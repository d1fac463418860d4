#include "trainer/loop/step_flops.h"

#include <string>

namespace pinnerformer {
namespace {

bool is_table(const std::string& name) {
  return name == "action.weight" || name == "surface.weight" || name == "position.weight" ||
         name == "condition.weight" || name == "item_code.weight";
}

// Of a matrix of the last block the share that every position meets. Only positions with pairs meet
// the rest.
double share_of_all(const std::string& name) {
  if (name == "qkv.weight") return 2.0 / 3;   // keys and values
  if (name == "uqvk.weight") return 1.0 / 2;  // values and keys
  if (name == "write.weight") return 1;       // the state of a position holds all before it
  return 0;
}

}  // namespace

StepFlops::StepFlops(PinnerFormer& model, const ModelOptions& options)
    : options_(options),
      items_at_positions_(options.user_head == UserHead::kResidual ||
                          !model->named_parameters().contains("item_expand.weight")) {
  const std::string last = "block" + std::to_string(options.layers - 1) + ".";
  for (const auto& entry : model->named_parameters()) {
    const std::string& name = entry.key();
    if (entry.value().dim() != 2 || is_table(name)) continue;
    const auto elements = static_cast<double>(entry.value().numel());
    if (name.starts_with("item_")) {
      of_item_ += elements;
    } else if (name.starts_with(last)) {
      const double of_all = share_of_all(name.substr(last.size()));
      of_position_ += elements * of_all;
      of_pair_position_ += elements * (1 - of_all);
    } else if (name.starts_with("head_")) {
      (options.condition == Condition::kNone ? of_pair_position_ : of_pair_) += elements;
    } else {
      of_position_ += elements;
    }
  }
}

double StepFlops::of(const RankStepShape& shape) const {
  constexpr double kMultiplyAndAdd = 2, kForwardAndBackward = 3;
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const double tokens = number(shape.users) * number(shape.length);
  const double items =
      number(shape.pool_share + shape.pairs) + (items_at_positions_ ? tokens : 0.0);
  // Two products of S x S x H a user and layer, half of each; a recurrence has none.
  const double attention = is_recurrent(options_.block)
                               ? 0
                               : tokens * number(shape.length * options_.hidden * options_.layers);
  const double logits =
      number(shape.pairs) * number(shape.columns) * number(options_.output * options_.user_vectors);
  return kForwardAndBackward * kMultiplyAndAdd *
         (of_position_ * tokens + of_pair_position_ * number(shape.positions) +
          of_pair_ * number(shape.pairs) + of_item_ * items + attention + logits);
}

}  // namespace pinnerformer
