#include "trainer/model/hstu_block.h"

#include <torch/nn/init.h>

#include "trainer/model/hstu_attention.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/model/layer_norm.h"
#include "trainer/model/script_text.h"

namespace pinnerformer {
namespace {

constexpr double kBiasStd = 0.02;

torch::Tensor random_bias(int64_t size) {
  return torch::nn::init::normal_(torch::empty({size}), 0, kBiasStd);
}

}  // namespace

HstuBlock::HstuBlock(const ModelOptions& options, int64_t site)
    : heads_(options.heads),
      dropout_(options.dropout),
      site_(site),
      divisor_(static_cast<double>(options.max_length)) {
  const int64_t width = options.hidden;
  input_norm_ = register_module("input_norm", make_layer_norm(width));
  uqvk_ = register_module("uqvk", Linear(width, 4 * width));
  mixed_norm_ = register_module("mixed_norm", make_layer_norm(width));
  output_ = register_module("output", Linear(width, width));
  position_bias_ = register_parameter("position_bias", random_bias(options.max_length));
  if (options.features.time)
    time_bias_ = register_parameter("time_bias", random_bias(kTimeBuckets));
}

torch::Tensor HstuBlock::attend(const torch::Tensor& queries, const torch::Tensor& values_keys,
                                const torch::Tensor& time) {
  const int64_t users = queries.size(0), length = queries.size(1), width = queries.size(2);
  const auto by_head = [&](const torch::Tensor& t) {
    return t.view({users, length, heads_, width / heads_}).transpose(1, 2);
  };
  const auto parts = values_keys.split(width, -1);
  return hstu_attention(by_head(queries), by_head(parts[1]), by_head(parts[0]),
                        {position_bias_, time_bias_}, time, divisor_)
      .transpose(1, 2)
      .reshape({users, length, width});
}

torch::Tensor HstuBlock::finish(const torch::Tensor& states, const torch::Tensor& mixed,
                                const torch::Tensor& gate, const DropoutRows& rows) {
  torch::Tensor gated = mixed_norm_(mixed) * gate;
  if (is_training())
    gated = keyed_dropout(gated, rows.draw_key, site_, dropout_, rows.first_element);
  return states + output_(gated);
}

torch::Tensor HstuBlock::forward(const torch::Tensor& states, const Sequences& sequences) {
  const int64_t width = states.size(2);
  const auto parts =
      torch::silu(uqvk_(input_norm_(states))).split_with_sizes({width, width, 2 * width}, -1);
  return finish(states, attend(parts[1], parts[2], sequences.time), parts[0],
                dropout_rows(sequences));
}

// Values and keys of all positions, gates and queries of the wanted ones only.
torch::Tensor HstuBlock::forward_at(const torch::Tensor& states, const Sequences& sequences,
                                    const torch::Tensor& positions) {
  const int64_t users = states.size(0), length = states.size(1), width = states.size(2);
  const torch::Tensor input = input_norm_(states);
  const auto weight = uqvk_->weight.split(2 * width), bias = uqvk_->bias.split(2 * width);
  const auto wanted =
      torch::silu(linear(rows_at(input, positions), weight[0], bias[0])).split(width, -1);
  const torch::Tensor mixed =
      attend(spread_rows(wanted[1], positions, users, length),
             torch::silu(linear(input, weight[1], bias[1])), sequences.time);
  return finish(rows_at(states, positions), rows_at(mixed, positions), wanted[0],
                dropout_rows_at(sequences, positions, length, width));
}

namespace {

// Of the times behind [B, Q, S]: a text that adds nothing without times.
std::string time_bias_script(const ModelOptions& options) {
  if (!options.features.time) return "";
  std::string starts;
  for (const int64_t start : time_bucket_starts())
    starts += (starts.empty() ? "" : ", ") + script_number(start);
  return "    starts = torch.tensor([" + starts +
         "], device=time.device)\n"
         "    passed = (own_time.unsqueeze(2) - time.unsqueeze(1)).clamp_min(0)\n"
         "    bucket = torch.bucketize(passed, starts, out_int32=False, right=True) - 1\n"
         "    bias = bias + torch.embedding(self.time_bias.unsqueeze(1), bucket).squeeze(-1)\n";
}

}  // namespace

std::string hstu_script(const ModelOptions& options) {
  return fill_script(R"(
def by_head(self, rows: Tensor) -> Tensor:
    return rows.reshape([rows.size(0), rows.size(1), $HEADS, $WIDTH]).transpose(1, 2)

def attend(self, queries: Tensor, values_keys: Tensor, own_time: Tensor, own_place: Tensor, time: Tensor) -> Tensor:
    v, k = torch.chunk(values_keys, 2, -1)
    distance = own_place.unsqueeze(2) - torch.arange(time.size(1), device=time.device)
    bias = torch.embedding(self.position_bias.unsqueeze(1), distance.clamp_min(0)).squeeze(-1)
$TIME_BIAS    scores = torch.matmul(self.by_head(queries), self.by_head(k).transpose(2, 3)) + bias.unsqueeze(1)
    weights = torch.silu(scores) * (distance >= 0).unsqueeze(1)
    return (torch.matmul(weights, self.by_head(v)) / $DIVISOR).transpose(1, 2).reshape(queries.size())

def finish(self, states: Tensor, mixed: Tensor, gate: Tensor) -> Tensor:
    return states + self.output.forward(self.mixed_norm.forward(mixed) * gate)

def forward(self, states: Tensor, time: Tensor) -> Tensor:
    u, q, v, k = torch.chunk(torch.silu(self.uqvk.forward(self.input_norm.forward(states))), 4, -1)
    places = torch.arange(time.size(1), device=time.device).unsqueeze(0).expand(time.size())
    return self.finish(states, self.attend(q, torch.cat([v, k], -1), time, places, time), u)

def newest(self, states: Tensor, time: Tensor, valid: Tensor, last: Tensor) -> Tensor:
    own = states.gather(1, last.reshape([-1, 1, 1]).expand([-1, -1, $HIDDEN]))
    weight, bias = self.uqvk.weight, self.uqvk.bias
    uq = torch.silu(torch.linear(self.input_norm.forward(own), weight.narrow(0, 0, $PAIR), bias.narrow(0, 0, $PAIR)))
    vk = torch.silu(torch.linear(self.input_norm.forward(states), weight.narrow(0, $PAIR, $PAIR), bias.narrow(0, $PAIR, $PAIR)))
    u, q = torch.chunk(uq, 2, -1)
    place = last.unsqueeze(1)
    return self.finish(own, self.attend(q, vk, time.gather(1, place), place, time), u).squeeze(1)
)",
                     {{"$TIME_BIAS", time_bias_script(options)},
                      {"$HEADS", script_number(options.heads)},
                      {"$WIDTH", script_number(options.hidden / options.heads)},
                      {"$HIDDEN", script_number(options.hidden)},
                      {"$PAIR", script_number(2 * options.hidden)},
                      {"$DIVISOR", script_number(static_cast<double>(options.max_length))}});
}

}  // namespace pinnerformer
