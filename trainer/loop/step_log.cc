#include "trainer/loop/step_log.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <utility>

#include "comm/communicator.h"
#include "trainer/optimizer/lr_schedule.h"

namespace pinnerformer {

StepLog::StepLog(const TrainerOptions& options, const Ranks& ranks, std::string config)
    : options_(options),
      ranks_(ranks),
      config_(std::move(config)),
      timers_(ranks.device),
      loss_sum_(torch::zeros({}, ranks.device)) {}

void StepLog::open(int64_t step) {
  step_ = step;
  if (ranks_.control->rank() != 0) return;
  log_ = std::make_unique<MetricsLog>(options_.run.directory, step, options_.train.steps);
  monitor_ = std::make_unique<RunMonitor>(
      options_.metrics, MonitoredRun{options_.run.directory, config_, step, options_.train.steps},
      [this](const std::string& text) { log_->note(text); });
}

void StepLog::finish() {
  if (monitor_) monitor_->finish();
  monitor_.reset();
}

void StepLog::note(const std::string& line) {
  if (log_) log_->note(line);
}

void StepLog::add(const TrainingBatch& batch, const StepResult& result) {
  loss_sum_ += result.loss;
  grad_norm_ = result.grad_norm;
  ++steps_;
  empty_steps_ += result.has_pairs ? 0 : 1;
  users_ += batch.global_slots;
  flops_ += result.flops;
  ++step_;
  if (log_) log_->show_progress(step_);
}

void StepLog::add_save(const SavedCheckpoint& checkpoint) {
  if (monitor_) monitor_->saved(checkpoint);
}

void StepLog::add_skipped_users(const StepPlan& plan) {
  if (!plan.note.empty()) note(plan.note);
  skipped_users_ += plan.skipped_users;
}

void StepLog::record(const RunProgress& progress, double temperature) {
  torch::Tensor loss_sum = loss_sum_.cpu();
  ranks_.control->all_reduce(loss_sum, "loss")->wait();
  recorded_loss_ += loss_sum.item<double>();
  recorded_steps_ += steps_with_loss();
  if (log_) {
    const StepRecord record = make_record(progress, temperature, loss_sum.item<double>());
    log_->record(record);
    if (monitor_) monitor_->record(record);
  }
  validation_.reset();
  restart();
}

StepRecord StepLog::make_record(const RunProgress& progress, double temperature, double loss_sum) {
  const auto steps = static_cast<double>(steps_);
  const double elapsed_ms = timers_.clock.elapsed_ms();
  StepRecord record;
  record.step = progress.step;
  record.epoch = progress.position.epoch;
  record.loss = loss_sum / static_cast<double>(steps_with_loss());  // NaN: of no step
  record.temperature = temperature;
  record.learning_rate =
      learning_rate_at(progress.step - 1, options_.train.steps, options_.optimizer);
  record.grad_norm = grad_norm_.item<double>();
  record.users_per_second = 1000 * static_cast<double>(users_) / elapsed_ms;
  record.step_ms = elapsed_ms / steps;
  record.data_wait_ms = timers_.data_wait.spent_ms() / steps;
  record.comm_wait_ms = timers_.comm_wait.spent_ms() / steps;
  record.save_stall_ms = timers_.save_stall.spent_ms();
  record.memory_mib = resident_memory_mib();
  record.gpu_memory_mib = device_memory_mib(ranks_.device);
  if (const double peak = options_.metrics.peak_tflops * 1e12; peak > 0)
    record.mfu = flops_ / (elapsed_ms / 1000) / peak;
  record.world_size = ranks_.control->size();
  record.skipped_users = skipped_users_;
  record.nonfinite_steps = skipped_steps_;
  if (validation_)
    record.validation = {{validation_->metrics.recall_at_10, validation_->metrics.recall_at_50,
                          validation_->metrics.ndcg_at_10, validation_->positives}};
  record.best_step = progress.best.step;
  record.best_recall_at_10 = progress.best.recall_at_10;
  return record;
}

void StepLog::restart() {
  loss_sum_.zero_();
  steps_ = users_ = skipped_users_ = skipped_steps_ = empty_steps_ = 0;
  flops_ = 0;
  for (Stopwatch* watch : {&timers_.clock, &timers_.data_wait, &timers_.save_stall}) watch->reset();
  timers_.comm_wait.reset();
}

std::optional<double> StepLog::take_mean_loss() {
  if (recorded_steps_ == 0) return std::nullopt;
  const double mean = recorded_loss_ / static_cast<double>(recorded_steps_);
  recorded_loss_ = 0;
  recorded_steps_ = 0;
  return mean;
}

std::optional<double> device_memory_mib(torch::Device device) {
  if (device.is_cpu()) return std::nullopt;
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  if (allocator == nullptr) return std::nullopt;
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = allocator->getDeviceStats(device.index());
  return static_cast<double>(stats.reserved_bytes[kAll].peak) / (1024.0 * 1024.0);
}

}  // namespace pinnerformer
