#include "comm/packed_transfer.h"

namespace pinnerformer {
namespace {

// As LibTorch's allocators align: kernels may read several elements at once.
constexpr int64_t kAlignment = 512;

int64_t aligned_bytes(const torch::Tensor& tensor) {
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// The bytes from `begin` on as a tensor of the type and the sizes of `like`.
torch::Tensor part(const torch::Tensor& bytes, int64_t begin, const torch::Tensor& like) {
  return bytes.narrow(0, begin, static_cast<int64_t>(like.nbytes()))
      .view(like.scalar_type())
      .view(like.sizes());
}

}  // namespace

void PackedTransfer::add(torch::Tensor& tensor) {
  if (!tensor.defined()) return;
  TORCH_CHECK(tensor.is_cpu(), "a tensor to pack is on ", tensor.device());
  tensors_.push_back(&tensor);
}

void PackedTransfer::run() {
  if (device_.is_cpu()) return;
  int64_t bytes = 0;
  for (const torch::Tensor* tensor : tensors_) bytes += aligned_bytes(*tensor);
  // Pinned memory is taken back into LibTorch's cache when the copy is over, not before.
  const torch::Tensor host = torch::empty(
      {bytes}, torch::TensorOptions().dtype(torch::kUInt8).pinned_memory(device_.is_cuda()));
  int64_t begin = 0;
  for (const torch::Tensor* tensor : tensors_) {
    part(host, begin, *tensor).copy_(*tensor);
    begin += aligned_bytes(*tensor);
  }
  const torch::Tensor packed = host.to(device_, /*non_blocking=*/true);
  begin = 0;
  for (torch::Tensor* tensor : tensors_) {
    const int64_t end = begin + aligned_bytes(*tensor);
    *tensor = part(packed, begin, *tensor);
    begin = end;
  }
  tensors_.clear();
}

}  // namespace pinnerformer
