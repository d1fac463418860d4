#include "trainer/loop/metrics.h"

#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/published_file.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// False for a line cut short by a crash, too.
bool is_record_up_to(const std::string& line, int64_t last_step) {
  const json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!record.is_object()) return false;
  const auto step = record.find("step");
  return step != record.end() && step->is_number_integer() && step->get<int64_t>() <= last_step;
}

// Keeps the records of steps up to `last_step`. By rename: a crash here must not cost the old ones.
void drop_records_after(const std::string& path, int64_t last_step) {
  constexpr int64_t kMostBytes = int64_t{4} << 30;
  std::istringstream from(read_whole_file(path, kMostBytes));
  PublishedFile kept(path);
  for (std::string line; std::getline(from, line);) {
    if (!is_record_up_to(line, last_step)) continue;
    line += '\n';
    kept.file().append(line.data(), std::ssize(line));
  }
  kept.publish();
}

// A pipe would block, and a link may lead to a file of somebody else.
void require_plain(const fs::path& path) {
  const fs::file_type type = fs::symlink_status(path).type();
  if (type == fs::file_type::regular || type == fs::file_type::not_found) return;
  throw IoError("cannot write " + path.string() +
                ": expected a regular file, or none; move it away, or give another run.directory");
}

}  // namespace

MetricsLog::MetricsLog(const std::string& directory, int64_t resumed_step, int64_t total_steps)
    : directory_(directory), total_steps_(total_steps), bar_(resumed_step, total_steps) {
  const fs::path json_path = fs::path(directory) / "metrics.jsonl";
  const fs::path text_path = fs::path(directory) / "log.txt";
  for (const fs::path& path : {json_path, text_path}) require_plain(path);
  if (fs::exists(json_path)) drop_records_after(json_path, resumed_step);
  json_.open(json_path, std::ios::app);
  text_.open(text_path, std::ios::app);
  if (!json_ || !text_) throw IoError("cannot write " + json_path.string() + " and log.txt");
}

void MetricsLog::record(const StepRecord& r) {
  nlohmann::ordered_json object{{"step", r.step},
                                {"epoch", r.epoch},
                                {"loss", r.loss},
                                {"temperature", r.temperature},
                                {"learning_rate", r.learning_rate},
                                {"grad_norm", r.grad_norm},
                                {"users_per_second", r.users_per_second},
                                {"step_ms", r.step_ms},
                                {"data_wait_ms", r.data_wait_ms},
                                {"comm_wait_ms", r.comm_wait_ms},
                                {"save_stall_ms", r.save_stall_ms},
                                {"memory_mib", r.memory_mib},
                                {"world_size", r.world_size},
                                {"skipped_users", r.skipped_users},
                                {"nonfinite_steps", r.nonfinite_steps}};
  if (r.gpu_memory_mib) object["gpu_memory_mib"] = *r.gpu_memory_mib;
  if (r.mfu) object["mfu"] = *r.mfu;
  if (const auto& validation = r.validation)
    object["validation"] = {{"recall_at_10", validation->recall_at_10},
                            {"recall_at_50", validation->recall_at_50},
                            {"ndcg_at_10", validation->ndcg_at_10},
                            {"positives", validation->positives}};
  json_ << object.dump() << std::endl;
  if (!json_) throw IoError("writing " + directory_ + "/metrics.jsonl failed: is the disk full?");
  note(console_line(r, total_steps_));
}

void MetricsLog::note(const std::string& line) {
  bar_.erase();
  std::cout << line << std::endl;
  text_ << line << std::endl;
}

double resident_memory_mib() {
  std::ifstream statm("/proc/self/statm");
  double total_pages = 0, resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0);
}

}  // namespace pinnerformer
