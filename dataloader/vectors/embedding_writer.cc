#include "dataloader/vectors/embedding_writer.h"

#include "dataloader/base/errors.h"

namespace pinnerformer {

torch::Tensor stored_numbers(const torch::Tensor& vectors, ElementType type,
                             const std::string& group, int64_t first) {
  const bool half = type == ElementType::kFloat16;
  torch::Tensor numbers = vectors.to(half ? torch::kFloat16 : torch::kFloat32).contiguous();
  if (numbers.isfinite().all().item<bool>()) return numbers;
  const bool overflow = vectors.isfinite().all().item<bool>();
  throw DataError("vectors of " + group.substr(1) + "s, rows " + std::to_string(first) + " to " +
                  std::to_string(first + vectors.size(0) - 1) +
                  (overflow ? ": a number is too large for float16; use --dtype float32"
                            : ": the model made a number that is not finite; use an earlier "
                              "checkpoint"));
}

}  // namespace pinnerformer
