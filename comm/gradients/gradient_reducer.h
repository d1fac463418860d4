// Sums gradients over ranks while backward runs: flat buckets, reduced in plan order.
#pragma once
#include <torch/types.h>

#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/gradients/bucket_plan.h"
#include "comm/options.h"

namespace pinnerformer {

// Usage, each step:
//   reducer.prepare();      // clears the gradients
//   loss.backward();        // full buckets are reduced while earlier layers are differentiated
//   reducer.finish();       // every .grad now holds the sum over ranks
//
// With several backward passes per step, call reducer.last_pass() before the last one:
//   reducer.prepare(kSeveral); first.backward(); reducer.last_pass(); second.backward(); ...
//
// Once a gradient is ready, .grad is a view of its bucket. The reduction is a plain sum, so that
// the local loss must already be divided by its global weight. A parameter that the loss does not
// depend on contributes zeros. With comm.reduce_dtype = bf16 a bucket is rounded to bfloat16
// before it is reduced: half the bytes, about three digits.
class GradientReducer {
 public:
  // `params` in registration order, the same on every rank; float32. `comm` must outlive this.
  GradientReducer(std::vector<torch::Tensor> params, Communicator& comm,
                  const CommOptions& options);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  enum class Passes { kOne, kSeveral };
  void prepare(Passes passes = Passes::kOne);
  void last_pass() { reducing_ = true; }
  void finish();

  // Flat gradients, one tensor per bucket; between finish() and prepare() they hold the sums.
  [[nodiscard]] const std::vector<torch::Tensor>& buckets() const { return flat_; }
  [[nodiscard]] const std::vector<Bucket>& plan() const { return plan_; }

 private:
  class ReadyHook;
  void mark_ready(size_t param);
  void move_into_bucket(size_t param);
  void launch_ready();
  void launch(size_t bucket);

  std::vector<torch::Tensor> params_;
  Communicator& comm_;
  std::vector<Bucket> plan_;
  std::vector<size_t> bucket_of_;     // parameter -> bucket
  std::vector<torch::Tensor> views_;  // parameter -> its part of the bucket
  std::vector<torch::Tensor> flat_;   // [elements of the bucket]
  std::vector<torch::Tensor> wire_;   // the same in bfloat16, where they are reduced so
  bool reducing_ = true;              // false: gradients are only accumulated
  std::vector<size_t> missing_;       // gradients that a bucket still waits for
  std::vector<std::unique_ptr<Work>> works_;
  size_t launched_ = 0;  // buckets whose reduction has started, always a prefix of the plan
};

}  // namespace pinnerformer
