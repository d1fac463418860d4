#include "comm/gradients/gradient_reducer.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace pinnerformer {

namespace autograd = torch::autograd;

namespace {

// A small first bucket is sent early; nothing hides the reduction of the last one. On CPUs the last
// one stays whole: there the sums share the cores with backward, and the norm of the gradients adds
// up bucket by bucket, so that another plan would round it otherwise.
BucketCaps caps_of(const CommOptions& options, int ranks, bool gpus) {
  constexpr double kMiB = 1024 * 1024, kSmallMib = 1;
  const double mib = bucket_mib_for(options, ranks, gpus);
  const int64_t other = std::llround(mib * kMiB);
  const int64_t small = std::llround(std::min(kSmallMib, mib) * kMiB);
  return {.first = small, .other = other, .last = gpus ? small : other};
}

}  // namespace

// Note [Bucket order]
// MPI and NCCL match collectives by order alone, but ranks may finish gradients in different
// orders. So the reduction of a full bucket starts only after those of all buckets before it in the
// plan, and finish() starts the rest in plan order.

class GradientReducer::ReadyHook : public autograd::PostAccumulateGradHook {
 public:
  ReadyHook(GradientReducer& reducer, size_t param) : reducer_(reducer), param_(param) {}
  void operator()(const autograd::Variable&) override { reducer_.mark_ready(param_); }

 private:
  GradientReducer& reducer_;
  size_t param_;
};

GradientReducer::GradientReducer(std::vector<torch::Tensor> params, Communicator& comm,
                                 const CommOptions& options)
    : params_(std::move(params)), comm_(comm), bucket_of_(params_.size()), views_(params_.size()) {
  std::vector<int64_t> bytes;
  for (const torch::Tensor& param : params_) {
    TORCH_CHECK(param.scalar_type() == torch::kFloat32, "gradients are float32, a parameter is ",
                param.scalar_type());
    bytes.push_back(static_cast<int64_t>(param.nbytes()));
  }
  const bool gpus = !params_.empty() && !params_.front().is_cpu();
  plan_ = plan_buckets(bytes, caps_of(options, comm.size(), gpus));
  for (size_t b = 0; b < plan_.size(); ++b) {
    const int64_t elements = plan_[b].bytes / static_cast<int64_t>(sizeof(float));
    flat_.push_back(torch::zeros({elements}, params_[plan_[b].params[0]].options()));
    if (options.reduce_dtype == ReduceDtype::kBf16) wire_.push_back(flat_[b].to(torch::kBFloat16));
    int64_t offset = 0;
    for (const size_t p : plan_[b].params) {
      torch::Tensor& param = params_[p];
      views_[p] = flat_[b].narrow(0, offset, param.numel()).view(param.sizes());
      param.mutable_grad() = views_[p];
      offset += param.numel();
      bucket_of_[p] = b;
      autograd::impl::set_post_acc_grad_hooks(param, std::make_unique<ReadyHook>(*this, p));
    }
  }
  works_.resize(plan_.size());
}

GradientReducer::~GradientReducer() {
  for (torch::Tensor& param : params_) autograd::impl::set_post_acc_grad_hooks(param, nullptr);
}

void GradientReducer::prepare(Passes passes) {
  reducing_ = passes == Passes::kOne;
  launched_ = 0;
  missing_.clear();
  for (const Bucket& bucket : plan_) missing_.push_back(bucket.params.size());
  if (reducing_) {
    for (torch::Tensor& param : params_) param.mutable_grad().reset();
  } else {
    for (torch::Tensor& flat : flat_) flat.zero_();
    for (size_t p = 0; p < params_.size(); ++p) params_[p].mutable_grad() = views_[p];
  }
}

// Note [One pass]
// With a single backward pass, .grad is unset before it, and backward stores its own tensor there.
// Copying that into the bucket moves less memory than adding it to zeros in the bucket.
void GradientReducer::move_into_bucket(size_t param) {
  torch::Tensor& grad = params_[param].mutable_grad();
  if (grad.is_same(views_[param])) return;
  if (grad.defined()) {
    views_[param].copy_(grad);
  } else {
    views_[param].zero_();
  }
  grad = views_[param];
}

void GradientReducer::mark_ready(size_t param) {
  if (!reducing_) return;
  move_into_bucket(param);
  --missing_[bucket_of_[param]];
  launch_ready();
  // MPI progresses only when polled: polling one request advances all.
  if (launched_ > 0) static_cast<void>(works_[launched_ - 1]->done());
}

void GradientReducer::launch_ready() {
  while (launched_ < plan_.size() && missing_[launched_] == 0) {
    launch(launched_);
    ++launched_;
  }
}

void GradientReducer::launch(size_t bucket) {
  if (!wire_.empty()) wire_[bucket].copy_(flat_[bucket]);
  works_[bucket] = comm_.all_reduce(wire_.empty() ? flat_[bucket] : wire_[bucket],
                                    "gradient bucket " + std::to_string(bucket));
}

void GradientReducer::finish() {
  reducing_ = true;
  for (size_t p = 0; p < params_.size(); ++p)
    move_into_bucket(p);  // zeros for those without a gradient
  missing_.assign(plan_.size(), 0);
  launch_ready();
  for (size_t b = 0; b < works_.size(); ++b) {
    works_[b]->wait();
    works_[b].reset();
    if (!wire_.empty()) flat_[b].copy_(wire_[b]);
  }
}

}  // namespace pinnerformer
