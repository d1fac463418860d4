#include "trainer/stored_tensor.h"

#include "trainer/errors.h"

namespace pinnerformer {

void restore_tensor(const std::map<std::string, torch::Tensor>& state, const std::string& name,
                    torch::Tensor& target, const std::string& source) {
  const auto text_of = [](const torch::Tensor& tensor) {
    return c10::str(tensor.scalar_type(), " ", tensor.sizes());
  };
  const auto found = state.find(name);
  const bool missing = found == state.end();
  if (missing || found->second.sizes() != target.sizes() ||
      found->second.scalar_type() != target.scalar_type())
    throw CheckpointError(source + " is of another model: '" + name + "' has shape " +
                          (missing ? "none" : text_of(found->second)) + " there, " +
                          text_of(target) +
                          " here. Give the model's own configuration or a fresh run.directory");
  target.copy_(found->second);
}

}  // namespace pinnerformer
