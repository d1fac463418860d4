#include "trainer/objective/sampled_softmax.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "trainer/objective/softmax_rows.h"

namespace pinnerformer {
namespace {

using torch::Tensor;

// Most logits of one chunk (16 MiB of floats).
constexpr int64_t kChunkElements = int64_t{1} << 22;
// On a CPU smaller chunks, which fit its cache, are faster. A chunk has at least kCachePairs pairs,
// which share one pass over the pool.
constexpr int64_t kCacheElements = int64_t{1} << 17;
constexpr int64_t kCachePairs = 128;

// In float32, or of both rounded to bfloat16: a GPU then sums and returns float32, a CPU returns
// bfloat16.
Tensor products_of(const Tensor& a, const Tensor& b, bool bf16) {
  if (!bf16) return torch::matmul(a, b);
  const Tensor left = a.to(torch::kBFloat16), right = b.to(torch::kBFloat16);
  return left.is_cuda() ? at::mm(left, right, torch::kFloat32) : torch::matmul(left, right);
}

Tensor matmul(const Tensor& a, const Tensor& b, bool bf16) {
  return products_of(a, b, bf16).to(torch::kFloat32);
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
    for (int64_t k = 0; k < vectors(); ++k) of.push_back(products_of(vector(k), pool.t(), bf16));
    return of;
  }
  [[nodiscard]] Tensor positive_logit(const Tensor& similarity) const {  // [p] -> [p]
    const Tensor logit = similarity * scale - positive_log_q;
    return has_prior() ? logit + positive_prior : logit;
  }
  // What the softmax over the positive and the pool reads and where it writes.
  [[nodiscard]] SoftmaxRows softmax(const Tensor& products, const Tensor& positive_logit,
                                    const Tensor& normaliser) const {
    // The gradient of a prior sums the pulls in float32; all other readers are products.
    const auto type = bf16 && !has_prior() ? torch::kBFloat16 : torch::kFloat32;
    return {.products = products,
            .scale = scale,
            .log_q = pool_log_q,
            .prior = pool_prior,
            .prior_row = prior_row,
            .mask = mask,
            .mask_row = row,
            .positive_item = positive_item,
            .pool_item = pool_item,
            .positive_logit = positive_logit,
            .weight = weight,
            .normaliser = normaliser,
            .pull = products.scalar_type() == type ? products : torch::empty_like(products, type)};
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

// Of the loss, by the inputs that have one.
struct Gradients {
  Tensor user, positive, pool, scale, positive_prior, pool_prior;

  static Gradients zeros_like(const Problem& problem) {
    const auto zeros = [](const Tensor& tensor) {
      return tensor.defined() ? torch::zeros_like(tensor) : Tensor();
    };
    return {zeros(problem.user),  zeros(problem.positive),       zeros(problem.pool),
            zeros(problem.scale), zeros(problem.positive_prior), zeros(problem.pool_prior)};
  }
  [[nodiscard]] Gradients pairs_of(int64_t begin, int64_t count) const {
    Gradients part = *this;
    part.user = user.narrow(0, begin, count);
    part.positive = positive.narrow(0, begin, count);
    if (positive_prior.defined()) part.positive_prior = positive_prior.narrow(0, begin, count);
    return part;
  }
};

// What the logits of vector k give. pull: dL/dlogit [p, N] of the pool, positive_pull [p, 1].
void add_vector(const Problem& part, int64_t k, const Tensor& pull, const Tensor& positive_pull,
                const Gradients& to) {
  const Tensor vector = part.vector(k);
  const Tensor towards_pool = matmul(pull, part.pool, part.bf16);  // [p, D]
  const Tensor per_logit = towards_pool + positive_pull * part.positive;
  to.scale.add_((vector * per_logit).sum());
  vector_of(to.user, k).copy_(per_logit * part.scale);
  to.positive.add_(positive_pull * vector * part.scale);
  to.pool.add_(matmul(pull.t(), vector, part.bf16) * part.scale);
}

// Adds the gradients of a chunk of pairs and returns its loss.
Tensor add_chunk(const Problem& part, const Gradients& to) {
  const Best own = best_of(part.similarities()), others = best_of(part.products());
  const Tensor positive_logit = part.positive_logit(own.value);
  const Tensor normaliser = torch::empty_like(positive_logit);
  const SoftmaxRows softmax = part.softmax(others.value, positive_logit, normaliser);
  softmax_rows(softmax);
  const Tensor log_ratio = positive_logit - normaliser;
  // dL/dl_j = softmax_j, dL/dl_0 = softmax_0 - 1
  const Tensor positive_pull = (log_ratio.exp() - 1) * part.weight;  // [p]
  for (int64_t k = 0; k < part.vectors(); ++k)
    add_vector(part, k, pull_of(softmax.pull, others.vector, k),
               pull_of(positive_pull, own.vector, k).unsqueeze(1), to);
  if (part.has_prior()) {
    to.positive_prior.copy_(positive_pull);
    to.pool_prior.index_add_(0, part.prior_row, softmax.pull);
  }
  return -(log_ratio * part.weight).sum();
}

// The gradients are computed with the loss, so that no logit is computed twice.
struct SampledSoftmax : torch::autograd::Function<SampledSoftmax> {
  // `constants`: only the inputs without a gradient are read from it.
  static Tensor forward(torch::autograd::AutogradContext* context, Tensor user, Tensor positive,
                        Tensor pool, Tensor scale, std::optional<Tensor> positive_prior,
                        std::optional<Tensor> pool_prior, const SoftmaxInputs& constants,
                        bool bf16) {
    const auto dense = [](const Tensor& t) { return t.defined() ? t.contiguous() : t; };
    const Problem problem{.user = user,
                          .positive = positive,
                          .pool = pool,
                          .scale = scale,
                          .positive_log_q = constants.positive_log_q,
                          .pool_log_q = dense(constants.pool_log_q),
                          .weight = dense(constants.weight),
                          .positive_prior = positive_prior.value_or(Tensor()),
                          .pool_prior = dense(pool_prior.value_or(Tensor())),
                          .prior_row = dense(constants.prior_row),
                          .row = dense(constants.row),
                          .mask = dense(constants.mask),
                          .positive_item = dense(constants.positive_item),
                          .pool_item = dense(constants.pool_item),
                          .bf16 = bf16};
    const Gradients of = Gradients::zeros_like(problem);
    Tensor loss = torch::zeros({}, user.options());
    for (int64_t begin = 0; begin < problem.pairs(); begin += problem.chunk()) {
      const int64_t count = std::min(problem.chunk(), problem.pairs() - begin);
      loss += add_chunk(problem.pairs_of(begin, count), of.pairs_of(begin, count));
    }
    context->save_for_backward(
        {of.user, of.positive, of.pool, of.scale, of.positive_prior, of.pool_prior});
    return loss;
  }

  // In the memory of the gradients: a second backward is refused by LibTorch.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    auto of = context->get_saved_variables();
    for (Tensor& gradient : of)
      if (gradient.defined()) gradient.mul_(grads[0]);
    of.resize(of.size() + 2);  // the constants have none
    return of;
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
