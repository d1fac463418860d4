#include "trainer/optimizer/optimizer.h"

#include <ATen/ops/_fused_adamw.h>

#include <utility>

#include "trainer/stored_tensor.h"

namespace pinnerformer {

Optimizer::Optimizer(std::vector<NamedParameter> params, const OptimizerOptions& options)
    : options_(options), params_(std::move(params)) {
  TORCH_CHECK(!params_.empty(), "nothing to optimise");
  steps_ = torch::zeros({}, params_[0].value.options().requires_grad(false));
  matrices_.weight_decay = options.weight_decay;
  for (const NamedParameter& param : params_) {
    first_moments_.push_back(torch::zeros_like(param.value, {}).detach());
    second_moments_.push_back(torch::zeros_like(param.value, {}).detach());
    Group& group = param.value.dim() >= 2 ? matrices_ : others_;
    group.params.push_back(param.value);
    group.first_moments.push_back(first_moments_.back());
    group.second_moments.push_back(second_moments_.back());
    group.steps.push_back(steps_);
  }
}

torch::Tensor Optimizer::step(const std::vector<torch::Tensor>& flat_gradients,
                              double learning_rate, const torch::Tensor& nan_to_skip) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> norms;
  for (const torch::Tensor& flat : flat_gradients) norms.push_back(flat.norm());
  torch::Tensor norm = torch::stack(norms).norm();
  if (nan_to_skip.defined()) norm = norm + nan_to_skip;
  const torch::Tensor finite = norm.isfinite();
  // The fused update divides gradients by `divisor`. Gradients that are not finite are left as they
  // are, so that the cause can be found.
  std::optional<torch::Tensor> divisor;
  if (options_.clip_norm > 0) divisor = ((norm + 1e-6) / options_.clip_norm).clamp_min(1.0);
  const torch::Tensor not_finite = finite.logical_not().to(torch::kFloat32);
  steps_.add_(1 - not_finite);
  update(matrices_, learning_rate, divisor, not_finite);
  update(others_, learning_rate, divisor, not_finite);
  return norm;
}

void Optimizer::update(Group& group, double learning_rate,
                       const std::optional<torch::Tensor>& divisor,
                       const torch::Tensor& not_finite) {
  if (group.params.empty()) return;
  std::vector<torch::Tensor> grads;
  for (const torch::Tensor& param : group.params) grads.push_back(param.grad());
  at::_fused_adamw_(group.params, grads, group.first_moments, group.second_moments,
                    /*max_exp_avg_sqs=*/{}, group.steps, learning_rate, options_.beta1,
                    options_.beta2, group.weight_decay, options_.epsilon, /*amsgrad=*/false,
                    /*maximize=*/false, /*grad_scale=*/divisor, /*found_inf=*/not_finite);
}

std::map<std::string, torch::Tensor> Optimizer::state() const {
  std::map<std::string, torch::Tensor> state{{"adam.steps", steps_}};
  for (size_t i = 0; i < params_.size(); ++i) {
    state["adam.m." + params_[i].name] = first_moments_[i];
    state["adam.v." + params_[i].name] = second_moments_[i];
  }
  return state;
}

void Optimizer::load_state(const std::map<std::string, torch::Tensor>& state,
                           const std::string& source) {
  for (auto& [name, tensor] : this->state()) restore_tensor(state, name, tensor, source);
}

}  // namespace pinnerformer
