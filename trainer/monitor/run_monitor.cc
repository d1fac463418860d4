#include "trainer/monitor/run_monitor.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/published_file.h"
#include "trainer/monitor/metrics_server.h"
#include "trainer/monitor/prometheus_file.h"
#include "trainer/monitor/run_figures.h"
#include "trainer/monitor/tensorboard_log.h"
#include "trainer/monitor/unix_time.h"

namespace pinnerformer {
namespace {

// Counts this start of the run in RUN/starts and returns how many there were before. A file that
// holds no number counts as none. Throws IoError or DataError where it cannot be read or replaced.
int64_t count_start(const std::string& run_directory) {
  constexpr int64_t kMostBytes = 64, kMost = 1'000'000'000;
  const std::string path = run_directory + "/starts";
  int64_t before = 0;
  if (std::filesystem::exists(path)) {
    const std::string text = read_whole_file(path, kMostBytes);
    std::from_chars(text.data(), text.data() + text.size(), before);
    before = std::clamp<int64_t>(before, 0, kMost);
  }
  publish_text(path, std::to_string(before + 1) + "\n");
  return before;
}

}  // namespace

class RunMonitor::Outlets {
 public:
  Outlets(const MetricsOptions& options, MonitoredRun run,
          std::function<void(const std::string&)> warn)
      : file_(options.prometheus_file), warn_(std::move(warn)) {
    if (options.tensorboard)
      tensorboard_.emplace(run.directory, run.resumed_step, printable_lines(run.config));
    if (options.prometheus_port > 0) listen(options);
    if (!for_prometheus()) return;
    figures_.run = std::move(run.directory);
    figures_.total_steps = run.total_steps;
    figures_.start_time = unix_time();
    try {
      figures_.restarts = count_start(figures_.run);
    } catch (const std::runtime_error& error) {
      warn_(std::string("warning: restarts are not counted: ") + error.what());
    }
    publish();
  }

  void record(const StepRecord& record) {
    if (tensorboard_) tensorboard_->record(record);
    figures_.add(record, unix_time());
    publish();
  }
  void saved(const SavedCheckpoint& checkpoint) {
    figures_.checkpoint = checkpoint;
    publish();
  }
  void finish() {
    figures_.running = false;
    publish();
  }

 private:
  [[nodiscard]] bool for_prometheus() const { return server_ != nullptr || !file_.empty(); }

  void listen(const MetricsOptions& options) try {
    server_ = std::make_unique<MetricsServer>(options.prometheus_address, options.prometheus_port);
  } catch (const IoError& error) {
    warn_(std::string("warning: metrics.prometheus_port: ") + error.what() +
          "; the training goes on, and Prometheus cannot see it there. Stop the other program, or "
          "choose another port");
  }

  void publish() {
    if (!for_prometheus()) return;
    const std::string text = prometheus_text(figures_);
    if (server_) server_->set_text(text);
    if (!file_.empty()) write(text);
  }

  // Tries again with every record: a full disk may have room again.
  void write(const std::string& text) try {
    replace_prometheus_file(file_, text);
    file_failed_ = false;
  } catch (const IoError& error) {
    if (!std::exchange(file_failed_, true))
      warn_(std::string("warning: metrics.prometheus_file: ") + error.what() +
            "; the training goes on, and Prometheus sees what was written last");
  }

  std::string file_;
  bool file_failed_ = false;
  std::function<void(const std::string&)> warn_;
  RunFigures figures_;
  std::optional<TensorboardLog> tensorboard_;
  std::unique_ptr<MetricsServer> server_;
};

RunMonitor::RunMonitor(const MetricsOptions& options, MonitoredRun run,
                       std::function<void(const std::string&)> warn)
    : outlets_(std::make_unique<Outlets>(options, std::move(run), std::move(warn))) {}
RunMonitor::~RunMonitor() = default;

void RunMonitor::record(const StepRecord& record) { outlets_->record(record); }
void RunMonitor::saved(const SavedCheckpoint& checkpoint) { outlets_->saved(checkpoint); }
void RunMonitor::finish() { outlets_->finish(); }

}  // namespace pinnerformer
