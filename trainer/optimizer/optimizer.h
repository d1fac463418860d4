// Fused AdamW over all dense parameters, with clipping by the global norm.
#pragma once
#include <torch/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/options.h"

namespace pinnerformer {

struct NamedParameter {
  std::string name;
  torch::Tensor value;
};

// Weight decay acts on matrices only (two or more dimensions). A step whose gradient norm is not
// finite leaves weights and moments as they were.
class Optimizer {
 public:
  Optimizer(std::vector<NamedParameter> params, const OptimizerOptions& options);

  // `flat_gradients` together hold all gradients, which are clipped in place.
  // Returns the global norm before clipping, a scalar tensor (reading it waits for the device).
  // `nan_to_skip`, a scalar, is added to the norm where it is defined: NaN leaves the step out.
  torch::Tensor step(const std::vector<torch::Tensor>& flat_gradients, double learning_rate,
                     const torch::Tensor& nan_to_skip = {});

  // "adam.m.NAME", "adam.v.NAME" and "adam.steps".
  [[nodiscard]] std::map<std::string, torch::Tensor> state() const;
  // Throws CheckpointError where a tensor is missing or has another shape; `source` names the
  // checkpoint.
  void load_state(const std::map<std::string, torch::Tensor>& state, const std::string& source);

 private:
  struct Group {
    double weight_decay = 0;
    std::vector<torch::Tensor> params, first_moments, second_moments, steps;
  };
  void update(Group& group, double learning_rate, const std::optional<torch::Tensor>& divisor,
              const torch::Tensor& not_finite);

  OptimizerOptions options_;
  std::vector<NamedParameter> params_;
  std::vector<torch::Tensor> first_moments_, second_moments_;
  torch::Tensor steps_;  // float32 scalar, steps taken
  Group matrices_, others_;
};

}  // namespace pinnerformer
