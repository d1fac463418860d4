// Tensors of a checkpoint on their way back into a model or an optimizer.
#pragma once
#include <torch/types.h>

#include <map>
#include <string>

namespace pinnerformer {

// Copies state[name] into `target`. Throws CheckpointError where it is missing, or has another
// shape or element type. `source` names the checkpoint in the message.
void restore_tensor(const std::map<std::string, torch::Tensor>& state, const std::string& name,
                    torch::Tensor& target, const std::string& source);

}  // namespace pinnerformer
