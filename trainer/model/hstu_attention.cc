#include "trainer/model/hstu_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/silu_backward.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

namespace pinnerformer {
namespace {

// The bias of one user's scores: numbers in rows.
struct BiasRows {
  const int64_t* time = nullptr;  // [S]
  bool by_time = false;
};

// Queries first .. end of one user, and the keys up to the last of them.
struct QueryRange {
  int64_t first = 0;
  int64_t end = 0;
  [[nodiscard]] int64_t count() const { return end - first; }
};

// Calls visit(place, distance, bucket) for the keys that each query sees; `place` is that of the
// score in a matrix [count, end].
template <class Visit>
void for_each_score(const BiasRows& rows, const QueryRange& range, const Visit& visit) {
  for (int64_t i = range.first; i < range.end; ++i)
    for (int64_t j = 0; j <= i; ++j)
      visit((i - range.first) * range.end + j, i - j,
            rows.by_time ? time_bucket(rows.time[i] - rows.time[j]) : 0);
}

// [count, end], zero where a key is later than the query.
torch::Tensor bias_of(const BiasRows& rows, const QueryRange& range, const float* position,
                      const float* by_time) {
  torch::Tensor bias = torch::zeros({range.count(), range.end});
  float* out = bias.data_ptr<float>();
  for_each_score(rows, range, [&](int64_t place, int64_t distance, int64_t bucket) {
    out[place] = position[distance] + (rows.by_time ? by_time[bucket] : 0.0F);
  });
  return bias;
}

// Attention of all users on the CPU in float32. The scores of some queries of one user stay in the
// cache, and are computed again in backward: nothing of the size S * S is kept.
struct HstuByUser : torch::autograd::Function<HstuByUser> {
  using Context = torch::autograd::AutogradContext;

  // The tensors of one call, contiguous.
  struct Inputs {
    torch::Tensor queries, keys, values;  // [B, heads, S, d]
    torch::Tensor position, by_time;      // by_time has no elements without times
    torch::Tensor time;                   // [B, S]
    double divisor = 1;

    [[nodiscard]] BiasRows rows(int64_t user) const {
      return {time.data_ptr<int64_t>() + user * time.size(1), by_time.numel() > 0};
    }
    [[nodiscard]] torch::Tensor scores(int64_t user, const QueryRange& range) const {
      const torch::Tensor bias =
          bias_of(rows(user), range, position.data_ptr<float>(), by_time.data_ptr<float>());
      return torch::baddbmm(bias.unsqueeze(0), of(queries, user, range),
                            seen(keys, user, range).transpose(1, 2));  // [heads, count, end]
    }
    // Calls work(user, range) for all queries of every user.
    void for_ranges(const std::function<void(int64_t user, const QueryRange& range)>& work) const {
      constexpr int64_t kMostScores = int64_t{1} << 17;  // 512 KiB
      const int64_t length = queries.size(2), row = queries.size(1) * length;
      const int64_t count = std::clamp<int64_t>(kMostScores / row, 1, length);
      at::parallel_for(0, queries.size(0), 1, [&](int64_t begin, int64_t end) {
        const torch::NoGradGuard no_grad;  // of this thread
        const c10::impl::ExcludeDispatchKeyGuard in_float32(c10::DispatchKey::AutocastCPU);
        for (int64_t user = begin; user < end; ++user)
          for (int64_t first = 0; first < length; first += count)
            work(user, {first, std::min(first + count, length)});
      });
    }
  };

  // The rows of the queries, and of the keys that any of them sees: [heads, count or end, d].
  static torch::Tensor of(const torch::Tensor& t, int64_t user, const QueryRange& range) {
    return t[user].narrow(1, range.first, range.count());
  }
  static torch::Tensor seen(const torch::Tensor& t, int64_t user, const QueryRange& range) {
    return t[user].narrow(1, 0, range.end);
  }

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
    in.for_ranges([&](int64_t user, const QueryRange& range) {
      const torch::Tensor weights = torch::silu(in.scores(user, range)).tril_(range.first);
      of(output, user, range)
          .copy_(torch::bmm(weights, seen(in.values, user, range)).div_(divisor));
    });
    return output;
  }

  // Gradients by user, of which those of the biases are summed in the order of the users.
  struct Gradients {
    torch::Tensor queries, keys, values;  // [B, heads, S, d]
    torch::Tensor position, by_time;      // [B, M], [B, kTimeBuckets]
  };

  static void add_range(const Inputs& in, int64_t user, const QueryRange& range,
                        const torch::Tensor& above, Gradients& gradients) {
    const torch::Tensor scores = in.scores(user, range);
    const torch::Tensor weights = torch::silu(scores).tril_(range.first);
    seen(gradients.values, user, range).baddbmm_(weights.transpose(1, 2), above);
    const torch::Tensor by_score =
        at::silu_backward(torch::bmm(above, seen(in.values, user, range).transpose(1, 2)), scores)
            .tril_(range.first);
    of(gradients.queries, user, range).copy_(torch::bmm(by_score, seen(in.keys, user, range)));
    seen(gradients.keys, user, range)
        .baddbmm_(by_score.transpose(1, 2), of(in.queries, user, range));
    const torch::Tensor by_bias = by_score.sum(0);
    const float* grad = by_bias.data_ptr<float>();
    const BiasRows rows = in.rows(user);
    float* position = gradients.position.data_ptr<float>() + user * in.position.numel();
    float* by_time = gradients.by_time.data_ptr<float>() + user * in.by_time.numel();
    for_each_score(rows, range, [&](int64_t place, int64_t distance, int64_t bucket) {
      position[distance] += grad[place];
      if (rows.by_time) by_time[bucket] += grad[place];
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
    Gradients gradients{torch::empty_like(in.queries), torch::zeros_like(in.keys),
                        torch::zeros_like(in.values), torch::zeros({users, in.position.numel()}),
                        torch::zeros({users, in.by_time.numel()})};
    in.for_ranges([&](int64_t user, const QueryRange& range) {
      add_range(in, user, range, of(grad, user, range), gradients);
    });
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
