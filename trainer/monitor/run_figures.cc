#include "trainer/monitor/run_figures.h"

#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>

#include "dataloader/base/printable.h"

namespace pinnerformer {
namespace {

std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

std::string escaped_label(const std::string& text) {
  constexpr size_t kLongestPath = 4096;
  std::string escaped;
  for (const char letter : printable(text, kLongestPath)) {
    if (letter == '"' || letter == '\\') escaped += '\\';
    escaped += letter;
  }
  return escaped;
}

struct Sample {
  std::string labels;  // beyond `run`: ",cutoff=\"10\""
  double value = 0;
};

class MetricsText {
 public:
  explicit MetricsText(const std::string& run) : run_(escaped_label(run)) {}

  void gauge(const std::string& name, const std::string& help, double value) {
    add(name, help, "gauge", {{"", value}});
  }
  void gauge(const std::string& name, const std::string& help,
             std::initializer_list<Sample> samples) {
    add(name, help, "gauge", samples);
  }
  void counter(const std::string& name, const std::string& help, double value) {
    add(name, help, "counter", {{"", value}});
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void add(const std::string& name, const std::string& help, const std::string& type,
           std::initializer_list<Sample> samples) {
    const std::string metric = "pinnerformer_" + name;
    text_ += "# HELP " + metric + " " + help + "\n# TYPE " + metric + " " + type + "\n";
    for (const auto& [labels, value] : samples)
      text_ += metric + "{run=\"" + run_ + "\"" + labels + "} " + value_text(value) + "\n";
  }

  std::string run_;
  std::string text_;
};

double count(int64_t value) { return static_cast<double>(value); }

void add_step(MetricsText& text, const StepRecord& r, double time) {
  constexpr double kSecondsPerMs = 1e-3, kBytesPerMib = 1 << 20;
  text.gauge("record_timestamp_seconds", "Time of the newest logged step.", time);
  text.gauge("step", "Optimizer steps taken.", count(r.step));
  text.gauge("epoch", "Passes over the users begun.", count(r.epoch));
  text.gauge("loss_nats", "Mean loss of the steps since the last logged one.", r.loss);
  text.gauge("temperature", "Learned temperature of the softmax.", r.temperature);
  text.gauge("learning_rate", "Learning rate of the newest step.", r.learning_rate);
  text.gauge("gradient_norm", "Global norm of the gradient before clipping.", r.grad_norm);
  text.gauge("users_per_second", "Users trained on in a second, over all ranks.",
             r.users_per_second);
  text.gauge("step_seconds", "Mean wall time of a step.", r.step_ms * kSecondsPerMs);
  text.gauge("data_wait_seconds", "Of a step: rank 0 waited for its loader.",
             r.data_wait_ms * kSecondsPerMs);
  text.gauge("comm_wait_seconds", "Of a step: rank 0 waited for other ranks.",
             r.comm_wait_ms * kSecondsPerMs);
  text.gauge("resident_memory_bytes", "Resident memory of rank 0.", r.memory_mib * kBytesPerMib);
  if (r.gpu_memory_mib)
    text.gauge("gpu_memory_bytes", "Most memory that rank 0 has held on its GPU.",
               *r.gpu_memory_mib * kBytesPerMib);
  if (r.mfu)
    text.gauge("mfu_ratio", "Model FLOP of rank 0 in a second, of metrics.peak_tflops.", *r.mfu);
  text.gauge("ranks", "Ranks of the training.", r.world_size);
}

void add_checkpoint(MetricsText& text, const SavedCheckpoint& saved) {
  text.gauge("checkpoint_step", "Step of the newest checkpoint.", count(saved.step));
  text.gauge("checkpoint_timestamp_seconds", "Time at which the newest checkpoint was on the disk.",
             saved.time);
  if (saved.bytes)
    text.gauge("checkpoint_bytes", "Size of the newest checkpoint.", count(*saved.bytes));
  if (saved.seconds)
    text.gauge("checkpoint_write_seconds", "Time that writing the newest checkpoint took.",
               *saved.seconds);
}

void add_validation(MetricsText& text, const ValidationRecord& validation, int64_t step) {
  text.gauge("validation_step", "Step of the newest validation.", count(step));
  text.gauge(
      "validation_recall_ratio", "Share of the positives among the first `cutoff` items.",
      {{R"(,cutoff="10")", validation.recall_at_10}, {R"(,cutoff="50")", validation.recall_at_50}});
  text.gauge("validation_ndcg_ratio", "NDCG of the first `cutoff` items.",
             {{R"(,cutoff="10")", validation.ndcg_at_10}});
  text.gauge("validation_positives", "Positives of the validation users.",
             count(validation.positives));
}

}  // namespace

void RunFigures::add(const StepRecord& next, double now) {
  record = next;
  record_time = now;
  save_stall_seconds += next.save_stall_ms / 1000;
  skipped_users += next.skipped_users;
  nonfinite_steps += next.nonfinite_steps;
  if (!next.validation) return;
  validation = next.validation;
  validation_step = next.step;
}

std::string prometheus_text(const RunFigures& figures) {
  MetricsText text(figures.run);
  text.gauge("running", "1 while the training runs or after it failed, 0 once it has ended.",
             figures.running ? 1 : 0);
  text.gauge("start_timestamp_seconds", "Time at which this process began to train.",
             figures.start_time);
  text.counter("restarts_total", "Starts of this run before the present one.",
               count(figures.restarts));
  text.gauge("planned_steps", "Steps of the whole run (train.steps).", count(figures.total_steps));
  text.counter("checkpoint_stall_seconds_total", "Time that steps have waited for checkpoints.",
               figures.save_stall_seconds);
  text.counter("skipped_users_total", "Users of damaged blocks that were passed over.",
               count(figures.skipped_users));
  text.counter("nonfinite_steps_total", "Steps left out because their gradient was not finite.",
               count(figures.nonfinite_steps));
  if (const auto& record = figures.record) {
    add_step(text, *record, figures.record_time);
    if (record->best_step >= 0) {
      text.gauge("best_validation_step", "Step of the best validation of the run.",
                 count(record->best_step));
      text.gauge("best_validation_recall_ratio", "Recall at `cutoff` of the best validation.",
                 {{R"(,cutoff="10")", record->best_recall_at_10}});
    }
  }
  if (figures.checkpoint) add_checkpoint(text, *figures.checkpoint);
  if (figures.validation) add_validation(text, *figures.validation, figures.validation_step);
  return text.text();
}

}  // namespace pinnerformer
