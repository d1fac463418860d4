#include "trainer/monitor/tensorboard_log.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/published_file.h"
#include "trainer/monitor/event_file.h"
#include "trainer/monitor/unix_time.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "events.out.tfevents.";
constexpr const char* kSuffix = ".pinnerformer";

// The second in the name of one of our files: ten digits, so that names sort as the numbers do.
std::optional<int64_t> second_of(const std::string& name) {
  constexpr size_t kDigits = 10;
  const std::string prefix = kPrefix;
  if (name.size() != prefix.size() + kDigits + std::string(kSuffix).size() ||
      !name.starts_with(prefix) || !name.ends_with(kSuffix))
    return std::nullopt;
  int64_t second = 0;
  for (const char digit : name.substr(prefix.size(), kDigits)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    second = second * 10 + (digit - '0');
  }
  return second;
}

std::string name_of_second(int64_t second) {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "%s%010lld%s", kPrefix, static_cast<long long>(second),
                kSuffix);
  return name.data();
}

// By rename: a crash here must not cost the old events. The temporary file lies outside of the
// directory, where TensorBoard would take it for one more event file.
void drop_events_after(const fs::path& path, int64_t last_step) {
  constexpr int64_t kMostBytes = int64_t{4} << 30;
  const std::string content = read_whole_file(path, kMostBytes);
  const EventList kept = events_up_to(content, last_step);
  if (kept.content.size() == content.size()) return;
  if (kept.count <= 1) {  // the version alone
    fs::remove(path);
    return;
  }
  PublishedFile file(path, path.parent_path().string() + "-kept");
  file.file().append(kept.content.data(), std::ssize(kept.content));
  file.publish();
}

// TensorBoard reads the files in the order of their names, so the next one has a later second.
std::string next_file(const fs::path& directory, int64_t resumed_step) {
  int64_t newest = -1;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const auto second = second_of(entry.path().filename());
    if (!second) continue;
    newest = std::max(newest, *second);
    files.push_back(entry.path());
  }
  for (const fs::path& path : files) drop_events_after(path, resumed_step);
  const auto now = static_cast<int64_t>(unix_time());
  return directory / name_of_second(std::max(now, newest + 1));
}

// A block of code in Markdown, as it stands.
std::string code_block(const std::string& text) {
  std::string block = "    ";
  for (const char letter : text) block += letter == '\n' ? "\n    " : std::string(1, letter);
  return block;
}

std::vector<std::pair<std::string, double>> scalars_of(const StepRecord& r) {
  std::vector<std::pair<std::string, double>> values = {
      {"train/loss", r.loss},
      {"train/learning_rate", r.learning_rate},
      {"train/gradient_norm", r.grad_norm},
      {"train/temperature", r.temperature},
      {"train/epoch", static_cast<double>(r.epoch)},
      {"train/nonfinite_steps", static_cast<double>(r.nonfinite_steps)},
      {"train/skipped_users", static_cast<double>(r.skipped_users)},
      {"speed/users_per_second", r.users_per_second},
      {"speed/step_ms", r.step_ms},
      {"speed/data_wait_ms", r.data_wait_ms},
      {"speed/comm_wait_ms", r.comm_wait_ms},
      {"speed/save_stall_ms", r.save_stall_ms},
      {"speed/memory_mib", r.memory_mib}};
  if (r.gpu_memory_mib) values.emplace_back("speed/gpu_memory_mib", *r.gpu_memory_mib);
  if (r.mfu) values.emplace_back("speed/mfu", *r.mfu);
  if (const auto& validation = r.validation) {
    values.emplace_back("validation/recall_at_10", validation->recall_at_10);
    values.emplace_back("validation/recall_at_50", validation->recall_at_50);
    values.emplace_back("validation/ndcg_at_10", validation->ndcg_at_10);
  }
  return values;
}

}  // namespace

TensorboardLog::TensorboardLog(const std::string& run_directory, int64_t resumed_step,
                               const std::string& config) try {
  const fs::path directory = fs::path(run_directory) / "tensorboard";
  fs::create_directories(directory);
  path_ = next_file(directory, resumed_step);
  file_.open(path_, std::ios::binary | std::ios::app);
  const double now = unix_time();
  write(version_event(now));
  // Both belong to the first step that is taken again, and go with it if the run resumes earlier.
  write(start_event(now, resumed_step + 1));
  write(text_event(now, resumed_step + 1, "configuration/text_summary", code_block(config)));
} catch (const fs::filesystem_error& error) {
  throw IoError(std::string("cannot write TensorBoard's event files: ") + error.what() +
                "; metrics.tensorboard=false trains without them");
}

void TensorboardLog::record(const StepRecord& record) {
  write(scalars_event(unix_time(), record.step, scalars_of(record)));
}

void TensorboardLog::write(const std::string& event) {
  file_ << framed(event) << std::flush;
  if (!file_) throw IoError("writing " + path_ + " failed: is the disk full?");
}

}  // namespace pinnerformer
