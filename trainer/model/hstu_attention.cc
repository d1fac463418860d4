#include "trainer/model/hstu_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/silu_backward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "trainer/model/autocast.h"

namespace pinnerformer {
namespace {

// What is added to the scores of one user and where the gradients of it go: all rows of numbers.
struct BiasRows {
  const int64_t* time = nullptr;  // [S]
  int64_t length = 0;
  bool by_time = false;
};

// Calls visit(i, j, bucket) for all j <= i.
template <class Visit>
void for_each_pair(const BiasRows& rows, const Visit& visit) {
  for (int64_t i = 0; i < rows.length; ++i)
    for (int64_t j = 0; j <= i; ++j)
      visit(i, j, rows.by_time ? time_bucket(rows.time[i] - rows.time[j]) : 0);
}

// [S, S], zero above the diagonal.
torch::Tensor bias_of_user(const BiasRows& rows, const float* position, const float* by_time) {
  torch::Tensor bias = torch::zeros({rows.length, rows.length});
  float* out = bias.data_ptr<float>();
  for_each_pair(rows, [&](int64_t i, int64_t j, int64_t bucket) {
    out[i * rows.length + j] = position[i - j] + (rows.by_time ? by_time[bucket] : 0.0F);
  });
  return bias;
}

// Attention of all users on the CPU in float32. The scores of a user stay in the cache, and are
// computed again in backward: nothing of the size S * S is kept.
struct HstuByUser : torch::autograd::Function<HstuByUser> {
  using Context = torch::autograd::AutogradContext;

  // The tensors of one call, contiguous.
  struct Inputs {
    torch::Tensor queries, keys, values;  // [B, heads, S, d]
    torch::Tensor position, by_time;      // by_time has no elements without times
    torch::Tensor time;                   // [B, S]
    double divisor = 1;

    [[nodiscard]] BiasRows rows(int64_t user) const {
      return {time.data_ptr<int64_t>() + user * time.size(1), time.size(1), by_time.numel() > 0};
    }
    [[nodiscard]] torch::Tensor scores(int64_t user) const {  // [heads, S, S]
      const torch::Tensor bias =
          bias_of_user(rows(user), position.data_ptr<float>(), by_time.data_ptr<float>());
      return torch::baddbmm(bias.unsqueeze(0), queries[user], keys[user].transpose(1, 2));
    }
    void for_users(const std::function<void(int64_t user)>& work) const {
      at::parallel_for(0, queries.size(0), 1, [&](int64_t begin, int64_t end) {
        const torch::NoGradGuard no_grad;  // of this thread
        const AutocastScope in_float32(false, torch::kCPU);
        for (int64_t user = begin; user < end; ++user) work(user);
      });
    }
  };

  static torch::Tensor forward(Context* context, const torch::Tensor& queries,
                               const torch::Tensor& keys, const torch::Tensor& values,
                               const torch::Tensor& position, const torch::Tensor& by_time,
                               const torch::Tensor& time, double divisor) {
    const Inputs in{queries.contiguous(),
                    keys.contiguous(),
                    values.contiguous(),
                    position.contiguous(),
                    by_time.contiguous(),
                    time.contiguous(),
                    divisor};
    context->save_for_backward({in.queries, in.keys, in.values, in.position, in.by_time, in.time});
    context->saved_data["divisor"] = divisor;
    torch::Tensor output = torch::empty_like(in.values);
    in.for_users([&](int64_t user) {
      torch::Tensor row = output[user];
      torch::bmm_out(row, torch::silu(in.scores(user)).tril_(), in.values[user]);
      row.div_(divisor);
    });
    return output;
  }

  // Gradients by user, of which those of the biases are summed in the order of the users.
  struct Gradients {
    torch::Tensor queries, keys, values;  // [B, heads, S, d]
    torch::Tensor position, by_time;      // [B, M], [B, kTimeBuckets]
  };

  static void add_user(const Inputs& in, int64_t user, const torch::Tensor& above,
                       Gradients& gradients) {
    const torch::Tensor scores = in.scores(user);
    const torch::Tensor weights = torch::silu(scores).tril_();
    torch::Tensor by_query = gradients.queries[user], by_key = gradients.keys[user],
                  by_value = gradients.values[user];
    torch::bmm_out(by_value, weights.transpose(1, 2), above);
    const torch::Tensor by_score =
        at::silu_backward(torch::bmm(above, in.values[user].transpose(1, 2)), scores).tril_();
    torch::bmm_out(by_query, by_score, in.keys[user]);
    torch::bmm_out(by_key, by_score.transpose(1, 2), in.queries[user]);
    const torch::Tensor by_bias = by_score.sum(0);
    const float* grad = by_bias.data_ptr<float>();
    const BiasRows rows = in.rows(user);
    float* position = gradients.position.data_ptr<float>() + user * in.position.numel();
    float* by_time = gradients.by_time.data_ptr<float>() + user * in.by_time.numel();
    for_each_pair(rows, [&](int64_t i, int64_t j, int64_t bucket) {
      position[i - j] += grad[i * rows.length + j];
      if (rows.by_time) by_time[bucket] += grad[i * rows.length + j];
    });
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list above) {
    const auto saved = context->get_saved_variables();
    const Inputs in{saved[0],
                    saved[1],
                    saved[2],
                    saved[3],
                    saved[4],
                    saved[5],
                    context->saved_data["divisor"].toDouble()};
    const torch::Tensor grad = (above[0] / in.divisor).contiguous();
    const int64_t users = in.queries.size(0);
    Gradients gradients{torch::empty_like(in.queries), torch::empty_like(in.keys),
                        torch::empty_like(in.values), torch::zeros({users, in.position.numel()}),
                        torch::zeros({users, in.by_time.numel()})};
    in.for_users([&](int64_t user) { add_user(in, user, grad[user], gradients); });
    return {gradients.queries,
            gradients.keys,
            gradients.values,
            gradients.position.sum(0),
            gradients.by_time.sum(0),
            {},
            {}};
  }
};

// [B, S, S]: what is added to the score of query i and key j; [S, S] without times.
torch::Tensor bias_of_batch(const HstuBias& bias, const torch::Tensor& time, int64_t length) {
  const torch::Tensor place = torch::arange(length, time.device());
  const torch::Tensor distance = (place.unsqueeze(1) - place).clamp_min(0);
  const torch::Tensor position = bias.position.index({distance});
  if (!bias.time.defined()) return position;
  const auto starts = time_bucket_starts();
  const torch::Tensor boundaries =
      torch::tensor(std::vector<int64_t>(starts.begin(), starts.end()), torch::kInt64)
          .to(time.device());
  const torch::Tensor seconds = (time.unsqueeze(2) - time.unsqueeze(1)).clamp_min(0);
  const torch::Tensor bucket =
      at::bucketize(seconds, boundaries, /*out_int32=*/false, /*right=*/true) - 1;
  return position + bias.time.index({bucket});
}

}  // namespace

int64_t time_bucket(int64_t seconds) {
  constexpr int64_t kMost = (int64_t{1} << 32) - 1;  // whose square fits 64 bits
  const auto whole = static_cast<uint64_t>(std::clamp<int64_t>(seconds, 1, kMost));
  const auto half = static_cast<int>(std::bit_width(whole)) - 1;
  return 2 * half + (whole * whole >= uint64_t{2} << (2 * half) ? 1 : 0);
}

std::array<int64_t, kTimeBuckets> time_bucket_starts() {
  std::array<int64_t, kTimeBuckets> starts{};
  for (size_t bucket = 1; bucket < starts.size(); ++bucket)
    starts[bucket] = static_cast<int64_t>(std::ceil(std::exp2(static_cast<double>(bucket) / 2)));
  return starts;
}

torch::Tensor hstu_attention(const torch::Tensor& queries, const torch::Tensor& keys,
                             const torch::Tensor& values, const HstuBias& bias,
                             const torch::Tensor& time, double divisor) {
  if (!queries.is_cpu())
    return hstu_attention_by_products(queries, keys, values, bias, time, divisor);
  return HstuByUser::apply(queries.to(torch::kFloat32), keys.to(torch::kFloat32),
                           values.to(torch::kFloat32), bias.position,
                           bias.time.defined() ? bias.time : torch::empty({0}), time, divisor)
      .to(queries.scalar_type());
}

torch::Tensor hstu_attention_by_products(const torch::Tensor& queries, const torch::Tensor& keys,
                                         const torch::Tensor& values, const HstuBias& bias,
                                         const torch::Tensor& time, double divisor) {
  const torch::Tensor added = bias_of_batch(bias, time, queries.size(2));
  const torch::Tensor scores = torch::matmul(queries, keys.transpose(2, 3)) +
                               (added.dim() == 3 ? added.unsqueeze(1) : added);
  return torch::matmul(torch::silu(scores).tril(), values.to(scores.scalar_type())) / divisor;
}

}  // namespace pinnerformer
