#include "trainer/model/transformer_block.h"

#include "trainer/model/causal_attention.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/model/layer_norm.h"
#include "trainer/model/script_text.h"

namespace pinnerformer {
TransformerBlock::TransformerBlock(const ModelOptions& options, int64_t site)
    : heads_(options.heads), dropout_(options.dropout), site_(site) {
  const int64_t width = options.hidden;
  attention_norm_ = register_module("attention_norm", make_layer_norm(width));
  qkv_ = register_module("qkv", Linear(width, 3 * width));
  projection_ = register_module("projection", Linear(width, width));
  ffn_norm_ = register_module("ffn_norm", make_layer_norm(width));
  expand_ = register_module("expand", Linear(width, 4 * width));
  contract_ = register_module("contract", Linear(4 * width, width));
  if (options.block != BlockKind::kLigr) return;
  attention_gate_ = register_module("attention_gate", Linear(width, width));
  ffn_gate_ = register_module("ffn_gate", Linear(width, width));
  swish_ = register_module("swish", Linear(width, 4 * width));
}

torch::Tensor TransformerBlock::attend(const torch::Tensor& queries,
                                       const torch::Tensor& keys_values) {
  const int64_t users = queries.size(0), length = queries.size(1), width = queries.size(2);
  const auto by_head = [&](const torch::Tensor& t) {
    return t.view({users, length, heads_, width / heads_}).transpose(1, 2);
  };
  const auto parts = keys_values.split(width, -1);
  const torch::Tensor mixed =  // [B, heads, S, H / heads]
      causal_attention(by_head(queries), by_head(parts[0]), by_head(parts[1]));
  return mixed.transpose(1, 2).reshape({users, length, width});
}

torch::Tensor TransformerBlock::attention(const torch::Tensor& input) {
  const int64_t width = input.size(2);
  const auto parts = qkv_(input).split({width, 2 * width}, -1);
  return projection_(attend(parts[0], parts[1]));
}

// Keys and values of all positions, queries of the wanted ones only.
torch::Tensor TransformerBlock::attention_at(const torch::Tensor& input,
                                             const torch::Tensor& positions) {
  const int64_t width = input.size(2);
  const auto weight = qkv_->weight.split({width, 2 * width});
  const auto bias = qkv_->bias.split({width, 2 * width});
  const torch::Tensor keys_values = linear(input, weight[1], bias[1]);
  const torch::Tensor wanted = linear(rows_at(input, positions), weight[0], bias[0]);
  const torch::Tensor queries = spread_rows(wanted, positions, input.size(0), input.size(1));
  return projection_(rows_at(attend(queries, keys_values), positions));
}

torch::Tensor TransformerBlock::add(const torch::Tensor& states, const torch::Tensor& branch,
                                    const DropoutRows& rows, int64_t offset) {
  if (!is_training()) return states + branch;
  return add_dropped(states, branch, rows.draw_key, site_ + offset, dropout_, rows.first_element);
}

torch::Tensor TransformerBlock::feed_forward(const torch::Tensor& input) {
  if (!swish_) return contract_(torch::gelu(expand_(input)));
  return contract_(torch::silu(swish_(input)) * expand_(input));
}

torch::Tensor TransformerBlock::add_branches(const torch::Tensor& input,
                                             const torch::Tensor& attended,
                                             const DropoutRows& rows) {
  const auto gated = [](Linear& gate, const torch::Tensor& x, const torch::Tensor& branch) {
    return gate ? torch::sigmoid(gate(x)) * branch : branch;
  };
  const torch::Tensor middle = add(input, gated(attention_gate_, input, attended), rows, 0);
  const torch::Tensor ffn = feed_forward(ffn_norm_(middle));
  return add(middle, gated(ffn_gate_, middle, ffn), rows, 1);
}

torch::Tensor TransformerBlock::forward(const torch::Tensor& states, const Sequences& sequences) {
  return add_branches(states, attention(attention_norm_(states)), dropout_rows(sequences));
}

torch::Tensor TransformerBlock::forward_at(const torch::Tensor& states, const Sequences& sequences,
                                           const torch::Tensor& positions) {
  return add_branches(rows_at(states, positions), attention_at(attention_norm_(states), positions),
                      dropout_rows_at(sequences, positions, states.size(1), states.size(2)));
}

std::string transformer_script(const ModelOptions& options) {
  const bool ligr = options.block == BlockKind::kLigr;
  const std::string finish = ligr ? R"(
    middle = states + torch.sigmoid(self.attention_gate.forward(states)) * attended
    normed = self.ffn_norm.forward(middle)
    ffn = self.contract.forward(torch.silu(self.swish.forward(normed)) * self.expand.forward(normed))
    return middle + torch.sigmoid(self.ffn_gate.forward(middle)) * ffn
)"
                                  : R"(
    middle = states + attended
    normed = self.ffn_norm.forward(middle)
    return middle + self.contract.forward(torch.gelu(self.expand.forward(normed)))
)";
  return fill_script(R"(
def by_head(self, rows: Tensor) -> Tensor:
    return rows.reshape([rows.size(0), rows.size(1), $HEADS, $WIDTH]).transpose(1, 2)

def finish(self, states: Tensor, mixed: Tensor) -> Tensor:
    attended = self.projection.forward(mixed.transpose(1, 2).reshape(states.size()))$FINISH
def forward(self, states: Tensor, time: Tensor) -> Tensor:
    q, k, v = torch.chunk(self.qkv.forward(self.attention_norm.forward(states)), 3, -1)
    mixed = torch.scaled_dot_product_attention(self.by_head(q), self.by_head(k), self.by_head(v), None, 0.0, True)
    return self.finish(states, mixed)

def newest(self, states: Tensor, time: Tensor, valid: Tensor, last: Tensor) -> Tensor:
    own = states.gather(1, last.reshape([-1, 1, 1]).expand([-1, -1, $HIDDEN]))
    q = torch.linear(self.attention_norm.forward(own), self.qkv.weight.narrow(0, 0, $HIDDEN), self.qkv.bias.narrow(0, 0, $HIDDEN))
    kv = torch.linear(self.attention_norm.forward(states), self.qkv.weight.narrow(0, $HIDDEN, $KV), self.qkv.bias.narrow(0, $HIDDEN, $KV))
    k, v = torch.chunk(kv, 2, -1)
    mask = valid.unsqueeze(1).unsqueeze(1)
    mixed = torch.scaled_dot_product_attention(self.by_head(q), self.by_head(k), self.by_head(v), mask)
    return self.finish(own, mixed).squeeze(1)
)",
                     {{"$FINISH", finish},
                      {"$HEADS", script_number(options.heads)},
                      {"$WIDTH", script_number(options.hidden / options.heads)},
                      {"$HIDDEN", script_number(options.hidden)},
                      {"$KV", script_number(2 * options.hidden)}});
}

}  // namespace pinnerformer
