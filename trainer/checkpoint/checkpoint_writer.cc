#include "trainer/checkpoint/checkpoint_writer.h"

#include <utility>

#include "dataloader/base/retry.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;
using Tensors = std::map<std::string, torch::Tensor>;

// Copies `live` to `copy` and reuses its memory: allocating it would take longer than the copy.
void copy_tensors(const Tensors& live, Tensors& copy) {
  for (const auto& [name, tensor] : live) {
    torch::Tensor& host = copy[name];
    if (!host.defined() || host.sizes() != tensor.sizes())
      host =
          torch::empty(tensor.sizes(),
                       torch::TensorOptions(tensor.scalar_type()).pinned_memory(!tensor.is_cpu()));
    host.copy_(tensor.detach());
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string directory, CheckpointOptions options, int64_t bytes)
    : directory_(std::move(directory)), options_(options) {
  constexpr double kSlowDisk = 100e6;  // bytes per second
  expected_seconds_ = static_cast<double>(bytes) / kSlowDisk;
}

void CheckpointWriter::start(const Checkpoint& checkpoint) {
  TORCH_CHECK(!busy(), "a save is still in flight");
  const torch::NoGradGuard no_grad;
  copy_.info = checkpoint.info;
  copy_.config = checkpoint.config;
  copy_.data = checkpoint.data;
  copy_tensors(checkpoint.model, copy_.model);
  copy_tensors(checkpoint.training, copy_.training);
  copy_.deferred = checkpoint.deferred;
  if (!checkpoint.streamed.empty()) {
    draft_.emplace(directory_, checkpoint.info.step);
    for (const auto& [name, write] : checkpoint.streamed)
      draft_->add(name, write(draft_->path_of(name)));
  }
  in_flight_ = std::async(std::launch::async, [this] { return write(); });
}

FinishedSave CheckpointWriter::write() {
  const Clock::time_point begin = Clock::now();
  FinishedSave save;
  save.path = retry_passing_errors([&] {
    return draft_ ? finish_checkpoint(*draft_, copy_) : save_checkpoint(directory_, copy_);
  });
  draft_.reset();
  for (const auto& [name, digest] : read_manifest(save.path, /*verify_files=*/false).files)
    save.bytes += digest.bytes;
  remove_old_checkpoints(directory_, options_);
  save.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return save;
}

std::optional<FinishedSave> CheckpointWriter::finished(std::chrono::milliseconds patience) {
  if (!busy() || in_flight_.wait_for(patience) != std::future_status::ready) return std::nullopt;
  FinishedSave save = in_flight_.get();
  expected_seconds_ = save.seconds;
  return save;
}

}  // namespace pinnerformer
