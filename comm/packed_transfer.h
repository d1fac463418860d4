// Many small tensors of the host that go to a device in one copy.
#pragma once
#include <torch/types.h>

#include <vector>

namespace pinnerformer {

// Usage:
//   PackedTransfer transfer(device);
//   transfer.add(batch.item);     // ... and others: CPU tensors, kept as references
//   transfer.run();               // each of them is now a tensor of the device
//
// To a GPU the tensors travel in one buffer of pinned memory, in the order of the current stream
// and without making the host wait. There they are parts of one tensor, so that none of them may be
// changed in place. Where the device is the CPU nothing is copied.
class PackedTransfer {
 public:
  explicit PackedTransfer(torch::Device device) : device_(device) {}

  // `tensor` must outlive run(). An undefined one stays undefined.
  void add(torch::Tensor& tensor);
  void run();

 private:
  torch::Device device_;
  std::vector<torch::Tensor*> tensors_;
};

}  // namespace pinnerformer
