#include "trainer/model/lru_block.h"

#include <cmath>
#include <numbers>

#include "trainer/model/keyed_dropout.h"
#include "trainer/model/layer_norm.h"
#include "trainer/model/linear_recurrence.h"
#include "trainer/model/script_text.h"

namespace pinnerformer {
namespace {

// Of |w| at the start, as LRURec has them: a state forgets half in 3 to 69 events.
constexpr double kLeastRadius = 0.8, kMostRadius = 0.99;

}  // namespace

LruBlock::LruBlock(const ModelOptions& options, int64_t site)
    : dropout_(options.dropout), site_(site) {
  const int64_t width = options.hidden, inner = (8 * width + 2) / 3;
  input_norm_ = register_module("input_norm", make_layer_norm(width));
  write_ = register_module("write", Linear(width, 2 * width));
  read_ = register_module("read", Linear(2 * width, width));
  ffn_norm_ = register_module("ffn_norm", make_layer_norm(width));
  swish_ = register_module("swish", Linear(width, inner));
  expand_ = register_module("expand", Linear(width, inner));
  contract_ = register_module("contract", Linear(inner, width));
  register_recurrence(width);
}

// Uniform in the ring of the complex plane. The scale makes the variance of h that of the input.
void LruBlock::register_recurrence(int64_t channels) {
  constexpr double kLeast = kLeastRadius * kLeastRadius, kMost = kMostRadius * kMostRadius;
  const torch::Tensor squared = torch::rand({channels}) * (kMost - kLeast) + kLeast;  // |w|^2
  const torch::Tensor angle = torch::rand({channels}) * (2 * std::numbers::pi);
  log_decay_ = register_parameter("log_decay", torch::log(-0.5 * torch::log(squared)));
  log_angle_ = register_parameter("log_angle", torch::log(angle.clamp_min(1e-6)));
  log_scale_ = register_parameter("log_scale", 0.5 * torch::log1p(-squared));
}

torch::Tensor LruBlock::recurrence(const torch::Tensor& states, const torch::Tensor& before) {
  const torch::Tensor radius = torch::exp(-torch::exp(log_decay_)), angle = torch::exp(log_angle_);
  const torch::Tensor weight = torch::cat({radius * torch::cos(angle), radius * torch::sin(angle)});
  const torch::Tensor written = write_(input_norm_(states)).to(torch::kFloat32);
  return linear_recurrence(written * torch::exp(log_scale_).repeat({2}), weight, before);
}

torch::Tensor LruBlock::drop(const torch::Tensor& branch, const DropoutRows& rows, int64_t offset) {
  if (!is_training()) return branch;
  return keyed_dropout(branch, rows.draw_key, site_ + offset, dropout_, rows.first_element);
}

torch::Tensor LruBlock::add_branches(const torch::Tensor& states, const torch::Tensor& memory,
                                     const DropoutRows& rows) {
  const torch::Tensor middle = states + drop(read_(memory), rows, 0);
  const torch::Tensor normed = ffn_norm_(middle);
  return middle + drop(contract_(torch::silu(swish_(normed)) * expand_(normed)), rows, 1);
}

torch::Tensor LruBlock::forward(const torch::Tensor& states, const Sequences& sequences) {
  return add_branches(states, recurrence(states, {}), dropout_rows(sequences));
}

torch::Tensor LruBlock::forward_at(const torch::Tensor& states, const Sequences& sequences,
                                   const torch::Tensor& positions) {
  return add_branches(rows_at(states, positions), rows_at(recurrence(states, {}), positions),
                      dropout_rows_at(sequences, positions, states.size(1), states.size(2)));
}

torch::Tensor LruBlock::go_on(const torch::Tensor& states, const Sequences& sequences,
                              torch::Tensor& state) {
  const torch::Tensor memory = recurrence(states, state);
  const torch::Tensor last =
      (sequences.length - 1).view({-1, 1, 1}).expand({-1, 1, memory.size(2)});
  state = memory.gather(1, last).squeeze(1);
  return add_branches(states, memory, dropout_rows(sequences));
}

std::string lru_script(const ModelOptions& options) {
  return fill_script(
      R"(
def written(self, states: Tensor) -> Tensor:
    return self.write.forward(self.input_norm.forward(states)) * torch.exp(self.log_scale).repeat([2])

def factor(self) -> Tuple[Tensor, Tensor]:
    radius = torch.exp(-torch.exp(self.log_decay))
    angle = torch.exp(self.log_angle)
    return radius * torch.cos(angle), radius * torch.sin(angle)

def scan(self, written: Tensor) -> Tensor:
    a, b = torch.chunk(written, 2, -1)
    c, d = self.factor()
    length = written.size(1)
    step = 1
    while step < length:
        p = torch.constant_pad_nd(a.narrow(1, 0, length - step), [0, 0, step, 0], 0.0)
        q = torch.constant_pad_nd(b.narrow(1, 0, length - step), [0, 0, step, 0], 0.0)
        a, b = a + c * p - d * q, b + c * q + d * p
        c, d = c * c - d * d, 2.0 * c * d
        step = step * 2
    return torch.cat([a, b], -1)

def finish(self, states: Tensor, memory: Tensor) -> Tensor:
    middle = states + self.read.forward(memory)
    normed = self.ffn_norm.forward(middle)
    return middle + self.contract.forward(torch.silu(self.swish.forward(normed)) * self.expand.forward(normed))

def forward(self, states: Tensor, time: Tensor) -> Tensor:
    return self.finish(states, self.scan(self.written(states)))

def newest(self, states: Tensor, time: Tensor, valid: Tensor, last: Tensor) -> Tensor:
    own = states.gather(1, last.reshape([-1, 1, 1]).expand([-1, -1, $HIDDEN]))
    memory = self.scan(self.written(states)).gather(1, last.reshape([-1, 1, 1]).expand([-1, -1, $STATE]))
    return self.finish(own, memory).squeeze(1)

def go_on(self, states: Tensor, last: Tensor, before: Tensor) -> Tuple[Tensor, Tensor]:
    c, d = self.factor()
    x, y = torch.chunk(before, 2, -1)
    carried = torch.cat([c * x - d * y, c * y + d * x], -1).unsqueeze(1)
    carried = torch.constant_pad_nd(carried, [0, 0, 0, states.size(1) - 1], 0.0)
    memory = self.scan(self.written(states) + carried)
    newest = memory.gather(1, last.reshape([-1, 1, 1]).expand([-1, -1, $STATE])).squeeze(1)
    return self.finish(states, memory), newest
)",
      {{"$HIDDEN", script_number(options.hidden)}, {"$STATE", script_number(2 * options.hidden)}});
}

}  // namespace pinnerformer
