#include "trainer/loop/step_profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <set>
#include <utility>

#include "dataloader/base/published_file.h"

namespace pinnerformer {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

constexpr int64_t kStepsBefore = 3;

}  // namespace

StepProfile::StepProfile(ProfileRequest request, torch::Device device, StepLog& log)
    : request_(std::move(request)), device_(device), log_(log) {}

StepProfile::~StepProfile() {
  if (recording_) static_cast<void>(profiler::disableProfiler());
}

void StepProfile::end_step() {
  if (request_.steps == 0) return;
  ++taken_;
  if (taken_ == kStepsBefore) start();
  if (taken_ == kStepsBefore + request_.steps) write();
}

void StepProfile::finish() {
  if (request_.steps == 0) return;
  if (taken_ <= kStepsBefore) {
    log_.note("no step was profiled: the first " + std::to_string(kStepsBefore) +
              " are left out, and the training had no others");
  } else if (recording_) {
    write();
  }
}

void StepProfile::start() {
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO,
                                                     /*report_input_shapes=*/true);
  std::set<ActivityType> activities = {ActivityType::CPU};
  if (device_.is_cuda()) activities.insert(ActivityType::CUDA);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(
      config, activities,
      {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE});
  recording_ = true;
}

void StepProfile::write() {
  recording_ = false;
  const auto result = profiler::disableProfiler();
  PublishedFile file(request_.path);
  result->save(file.path());
  file.publish();
  log_.note("wrote a trace of " + std::to_string(taken_ - kStepsBefore) + " step(s) to " +
            request_.path + ": open it at https://ui.perfetto.dev");
}

}  // namespace pinnerformer
