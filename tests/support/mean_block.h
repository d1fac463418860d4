// A block for docs/adding_an_encoder.md: x' = x + W mean of LayerNorm(x) over the events so far.
#pragma once
#include <string>

#include "trainer/model/encoder_block.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/model/layer_norm.h"
#include "trainer/model/linear.h"
#include "trainer/options.h"

namespace pinnerformer {

class MeanBlock : public EncoderBlock {
 public:
  MeanBlock(const ModelOptions& options, int64_t site) : dropout_(options.dropout), site_(site) {
    norm_ = register_module("norm", make_layer_norm(options.hidden));
    output_ = register_module("output", Linear(options.hidden, options.hidden));
  }

  torch::Tensor forward(const torch::Tensor& states, const Sequences& sequences) override {
    return add(states, means(states), dropout_rows(sequences));
  }

  torch::Tensor forward_at(const torch::Tensor& states, const Sequences& sequences,
                           const torch::Tensor& positions) override {
    return add(rows_at(states, positions), rows_at(means(states), positions),
               dropout_rows_at(sequences, positions, states.size(1), states.size(2)));
  }

 private:
  torch::Tensor means(const torch::Tensor& states) {  // [B, S, H], of the events so far
    const torch::Tensor events = torch::arange(1, states.size(1) + 1, states.options());
    return norm_(states).cumsum(1) / events.unsqueeze(1);
  }
  torch::Tensor add(const torch::Tensor& states, const torch::Tensor& means,
                    const DropoutRows& rows) {
    const torch::Tensor branch = output_(means);
    if (!is_training()) return states + branch;
    return states + keyed_dropout(branch, rows.draw_key, site_, dropout_, rows.first_element);
  }

  double dropout_;
  int64_t site_;
  torch::nn::LayerNorm norm_{nullptr};
  Linear output_{nullptr};
};

// The same in TorchScript, for the export.
inline std::string mean_script(const ModelOptions&) {
  return R"(
def forward(self, states: Tensor, time: Tensor) -> Tensor:
    events = torch.arange(1, states.size(1) + 1, device=states.device).unsqueeze(1)
    return states + self.output.forward(torch.cumsum(self.norm.forward(states), 1) / events)

def newest(self, states: Tensor, time: Tensor, valid: Tensor, last: Tensor) -> Tensor:
    return self.forward(states, time)[torch.arange(last.size(0), device=last.device), last]
)";
}

}  // namespace pinnerformer
