// The record of a logged step: one JSON line in metrics.jsonl, the same as text in log.txt and on
// the console. Rank 0 only.
#pragma once
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace pinnerformer {

// On the validation users, after the step of its record.
struct ValidationRecord {
  double recall_at_10 = 0, recall_at_50 = 0, ndcg_at_10 = 0;
  int64_t positives = 0;
};

struct StepRecord {
  int64_t step = 0;
  int64_t epoch = 0;
  double loss = 0;  // mean over the steps since the last record
  double temperature = 0;
  double learning_rate = 0;
  double grad_norm = 0;  // before clipping
  double users_per_second = 0;
  double step_ms = 0;        // mean over the steps since the last record, as the waits below
  double data_wait_ms = 0;   // the step waited for the loader
  double comm_wait_ms = 0;   // the step waited for other ranks
  double save_stall_ms = 0;  // all steps since the last record together waited for checkpoints
  double memory_mib = 0;     // resident memory of this rank
  int world_size = 1;
  int64_t skipped_users = 0;  // of bad blocks, since the last record
  std::optional<ValidationRecord> validation = std::nullopt;
};

class MetricsLog {
 public:
  // Appends to `directory`/metrics.jsonl and log.txt, after dropping records of steps beyond
  // `resumed_step`: those steps will be taken again. Throws IoError.
  MetricsLog(const std::string& directory, int64_t resumed_step, int64_t total_steps);

  void record(const StepRecord& record);
  // A line for people: console and log.txt.
  void note(const std::string& line);

 private:
  std::string directory_;
  int64_t total_steps_;
  std::ofstream json_;
  std::ofstream text_;
};

// Resident memory of this process in MiB.
[[nodiscard]] double resident_memory_mib();

}  // namespace pinnerformer
