#include "trainer/objective/sampled_softmax.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

namespace pinnerformer {
namespace {

using torch::Tensor;

// Most logits of one chunk (16 MiB of floats).
constexpr int64_t kChunkElements = int64_t{1} << 22;
// A CPU passes over the logits of a chunk about twelve times: smaller chunks, which fit its cache,
// are faster. A chunk has at least kCachePairs pairs, which share one pass over the pool.
constexpr int64_t kCacheElements = int64_t{1} << 17;
constexpr int64_t kCachePairs = 128;

Tensor matmul(const Tensor& a, const Tensor& b, bool bf16) {
  if (!bf16) return torch::matmul(a, b);
  return torch::matmul(a.to(torch::kBFloat16), b.to(torch::kBFloat16)).to(torch::kFloat32);
}

// Vector k of each pair, [p, D]: a view of [p, D] or [p, K, D].
Tensor vector_of(const Tensor& users, int64_t k) {
  return users.dim() == 3 ? users.select(1, k) : users;
}

// The inputs of a call, and the arithmetic for one chunk of its pairs.
struct Problem {
  Tensor user, positive, pool, scale, positive_log_q, pool_log_q, weight;
  Tensor positive_prior, pool_prior, prior_row;
  Tensor row, mask, positive_item, pool_item;
  bool bf16 = false;

  [[nodiscard]] int64_t pairs() const { return user.size(0); }
  [[nodiscard]] bool has_prior() const { return pool_prior.defined(); }
  [[nodiscard]] int64_t vectors() const { return user.dim() == 3 ? user.size(1) : 1; }  // K
  [[nodiscard]] Tensor vector(int64_t k) const { return vector_of(user, k); }           // [p, D]
  [[nodiscard]] int64_t chunk() const {
    const int64_t columns = std::max<int64_t>(1, pool.size(0)) * vectors();
    const int64_t most = std::max<int64_t>(1, kChunkElements / columns);
    return pool.is_cpu() ? std::min(most, std::max(kCachePairs, kCacheElements / columns)) : most;
  }
  [[nodiscard]] Problem pairs_of(int64_t begin, int64_t count) const {
    Problem part = *this;
    part.user = user.narrow(0, begin, count);
    part.positive = positive.narrow(0, begin, count);
    part.positive_log_q = positive_log_q.narrow(0, begin, count);
    part.weight = weight.narrow(0, begin, count);
    if (has_prior()) {
      part.positive_prior = positive_prior.narrow(0, begin, count);
      part.prior_row = prior_row.narrow(0, begin, count);
    }
    if (mask.defined()) {
      part.row = row.narrow(0, begin, count);
    } else {
      part.positive_item = positive_item.narrow(0, begin, count);
    }
    return part;
  }
  // The products of each of the K vectors with the positives, [p], and with the pool, [p, N].
  [[nodiscard]] std::vector<Tensor> similarities() const {
    std::vector<Tensor> of;
    for (int64_t k = 0; k < vectors(); ++k) of.push_back((vector(k) * positive).sum(1));
    return of;
  }
  [[nodiscard]] std::vector<Tensor> products() const {
    std::vector<Tensor> of;
    for (int64_t k = 0; k < vectors(); ++k) of.push_back(matmul(vector(k), pool.t(), bf16));
    return of;
  }
  [[nodiscard]] Tensor positive_logit(const Tensor& similarity) const {  // [p] -> [p]
    const Tensor logit = similarity * scale - positive_log_q;
    return has_prior() ? logit + positive_prior : logit;
  }
  [[nodiscard]] Tensor no_negatives() const {  // bool [p, N]
    return mask.defined() ? mask.index_select(0, row) : positive_item.unsqueeze(1) == pool_item;
  }
  [[nodiscard]] Tensor pool_logits(Tensor product) const {  // [p, N] -> [p, N], in its memory
    Tensor logits = product.mul_(scale).sub_(pool_log_q);
    if (has_prior()) logits.add_(pool_prior.index_select(0, prior_row));
    return logits.masked_fill_(no_negatives(), -std::numeric_limits<float>::infinity());
  }
};

// The largest of each pair's K products, and which vector it is of.
struct Best {
  Tensor value;   // [p] or [p, N]
  Tensor vector;  // int64, the same shape; undefined where K is 1
};

Best best_of(const std::vector<Tensor>& products) {  // K times [p] or [p, N]
  if (products.size() == 1) return {products.front(), {}};
  const auto [value, vector] = torch::max(torch::stack(products), 0);
  return {value, vector};
}

// The part of a gradient [p] or [p, N] that goes to vector k.
Tensor pull_of(const Tensor& pull, const Tensor& vector, int64_t k) {
  return vector.defined() ? pull * (vector == k) : pull;
}

// Where the gradients of a chunk go.
struct Gradients {
  Tensor user, positive;  // of the chunk
  Tensor pool, scale;     // sums over all chunks
};

// What the logits of vector k give. pull: dL/dlogit [p, N] of the pool, positive_pull [p, 1].
void add_gradients(const Problem& part, int64_t k, const Tensor& pull, const Tensor& positive_pull,
                   Gradients to) {
  const Tensor vector = part.vector(k);
  const Tensor towards_pool = matmul(pull, part.pool, part.bf16);  // [p, D]
  const Tensor per_logit = towards_pool + positive_pull * part.positive;
  to.scale += (vector * per_logit).sum();
  vector_of(to.user, k).copy_(per_logit * part.scale);
  const Tensor to_positive = positive_pull * vector * part.scale;
  if (k == 0)
    to.positive.copy_(to_positive);
  else
    to.positive += to_positive;
  to.pool += matmul(pull.t(), vector, part.bf16) * part.scale;
}

template <class Use>
void for_each_chunk(const Problem& problem, Use use) {
  for (int64_t begin = 0; begin < problem.pairs(); begin += problem.chunk())
    use(begin, std::min(problem.chunk(), problem.pairs() - begin));
}

struct SampledSoftmax : torch::autograd::Function<SampledSoftmax> {
  // `constants`: only the inputs without a gradient are read from it.
  static Tensor forward(torch::autograd::AutogradContext* context, Tensor user, Tensor positive,
                        Tensor pool, Tensor scale, std::optional<Tensor> positive_prior,
                        std::optional<Tensor> pool_prior, const SoftmaxInputs& constants,
                        bool bf16) {
    const Problem problem{.user = user,
                          .positive = positive,
                          .pool = pool,
                          .scale = scale,
                          .positive_log_q = constants.positive_log_q,
                          .pool_log_q = constants.pool_log_q,
                          .weight = constants.weight,
                          .positive_prior = positive_prior.value_or(Tensor()),
                          .pool_prior = pool_prior.value_or(Tensor()),
                          .prior_row = constants.prior_row,
                          .row = constants.row,
                          .mask = constants.mask,
                          .positive_item = constants.positive_item,
                          .pool_item = constants.pool_item,
                          .bf16 = bf16};
    Tensor normaliser = torch::empty({problem.pairs()}, user.options());  // log of the sum, [P]
    Tensor loss = torch::zeros({}, user.options());
    for_each_chunk(problem, [&](int64_t begin, int64_t count) {
      const Problem part = problem.pairs_of(begin, count);
      const Tensor positive_logit = part.positive_logit(best_of(part.similarities()).value);
      const Tensor pool_logits = part.pool_logits(best_of(part.products()).value);
      const Tensor lse = torch::logaddexp(positive_logit, torch::logsumexp(pool_logits, {1}));
      normaliser.narrow(0, begin, count).copy_(lse);
      loss += ((lse - positive_logit) * part.weight).sum();
    });
    save(problem, normaliser, context);
    return loss;
  }

  // The order of the saved tensors.
  enum Saved : size_t {
    kUser,
    kPositive,
    kPool,
    kScale,
    kPositiveLogQ,
    kPoolLogQ,
    kWeight,
    kPositivePrior,
    kPoolPrior,
    kPriorRow,
    kRow,
    kMask,
    kPositiveItem,
    kPoolItem,
    kNormaliser,
    kSavedTensors
  };

  static void save(const Problem& problem, const Tensor& normaliser,
                   torch::autograd::AutogradContext* context) {
    torch::autograd::variable_list saved(kSavedTensors);
    saved[kUser] = problem.user;
    saved[kPositive] = problem.positive;
    saved[kPool] = problem.pool;
    saved[kScale] = problem.scale;
    saved[kPositiveLogQ] = problem.positive_log_q;
    saved[kPoolLogQ] = problem.pool_log_q;
    saved[kWeight] = problem.weight;
    saved[kPositivePrior] = problem.positive_prior;
    saved[kPoolPrior] = problem.pool_prior;
    saved[kPriorRow] = problem.prior_row;
    saved[kRow] = problem.row;
    saved[kMask] = problem.mask;
    saved[kPositiveItem] = problem.positive_item;
    saved[kPoolItem] = problem.pool_item;
    saved[kNormaliser] = normaliser;
    context->save_for_backward(saved);
    context->saved_data["bf16"] = problem.bf16;
  }

  struct Restored {
    Problem problem;
    Tensor normaliser;
  };

  static Restored restore(torch::autograd::AutogradContext* context) {
    const auto saved = context->get_saved_variables();
    return {.problem = {.user = saved[kUser],
                        .positive = saved[kPositive],
                        .pool = saved[kPool],
                        .scale = saved[kScale],
                        .positive_log_q = saved[kPositiveLogQ],
                        .pool_log_q = saved[kPoolLogQ],
                        .weight = saved[kWeight],
                        .positive_prior = saved[kPositivePrior],
                        .pool_prior = saved[kPoolPrior],
                        .prior_row = saved[kPriorRow],
                        .row = saved[kRow],
                        .mask = saved[kMask],
                        .positive_item = saved[kPositiveItem],
                        .pool_item = saved[kPoolItem],
                        .bf16 = context->saved_data["bf16"].toBool()},
            .normaliser = saved[kNormaliser]};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const Restored restored = restore(context);
    const Problem& problem = restored.problem;
    const Tensor& normaliser = restored.normaliser;
    Tensor grad_user = torch::empty_like(problem.user);
    Tensor grad_positive = torch::empty_like(problem.positive);
    Tensor grad_pool = torch::zeros_like(problem.pool);
    Tensor grad_scale = torch::zeros_like(problem.scale);
    Tensor grad_positive_prior, grad_pool_prior;
    if (problem.has_prior()) {
      grad_positive_prior = torch::empty_like(problem.positive_prior);
      grad_pool_prior = torch::zeros_like(problem.pool_prior);
    }
    for_each_chunk(problem, [&](int64_t begin, int64_t count) {
      const Problem part = problem.pairs_of(begin, count);
      const Tensor weight = part.weight * grads[0];  // [p]
      const Tensor lse = normaliser.narrow(0, begin, count);
      const Best own = best_of(part.similarities()), others = best_of(part.products());
      // dL/dl_j = softmax_j, dL/dl_0 = softmax_0 - 1
      const Tensor pull = part.pool_logits(others.value)
                              .sub_(lse.unsqueeze(1))
                              .exp_()
                              .mul_(weight.unsqueeze(1));  // [p, N]
      const Tensor positive_pull =
          ((part.positive_logit(own.value) - lse).exp() - 1) * weight;  // [p]
      for (int64_t k = 0; k < part.vectors(); ++k)
        add_gradients(part, k, pull_of(pull, others.vector, k),
                      pull_of(positive_pull, own.vector, k).unsqueeze(1),
                      {grad_user.narrow(0, begin, count), grad_positive.narrow(0, begin, count),
                       grad_pool, grad_scale});
      if (!part.has_prior()) return;
      grad_positive_prior.narrow(0, begin, count).copy_(positive_pull);
      grad_pool_prior.index_add_(0, part.prior_row, pull);
    });
    return {grad_user,           grad_positive,   grad_pool, grad_scale,
            grad_positive_prior, grad_pool_prior, {},        {}};
  }
};

}  // namespace

torch::Tensor sampled_softmax_loss(const SoftmaxInputs& inputs, bool bf16) {
  TORCH_CHECK(inputs.pool.size(0) > 0, "the negative pool is empty");
  // An undefined tensor is no input of a node, an empty optional may be one.
  const auto optional = [](const Tensor& tensor) {
    return tensor.defined() ? std::optional(tensor) : std::nullopt;
  };
  return SampledSoftmax::apply(inputs.user, inputs.positive, inputs.pool,
                               inputs.inverse_temperature, optional(inputs.positive_prior),
                               optional(inputs.pool_prior), inputs, bf16);
}

}  // namespace pinnerformer
