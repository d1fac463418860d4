// The checkpoints of a run: chosen and restored at its start, saved while it goes on.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "comm/ranks.h"
#include "dataloader/dataset/dataset.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/checkpoint_mirror.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/checkpoint/item_table_file.h"
#include "trainer/items/item_table.h"
#include "trainer/loop/metrics.h"
#include "trainer/loop/step_log.h"
#include "trainer/loop/training_data.h"
#include "trainer/model/model.h"
#include "trainer/objective/negative_sampler.h"
#include "trainer/optimizer/optimizer.h"
#include "trainer/options.h"

namespace pinnerformer {

// What a training changes from step to step, and a checkpoint holds.
struct TrainingState {
  PinnerFormer model{nullptr};
  Optimizer& optimizer;
  NegativeSampler& sampler;
  ItemTable* table = nullptr;  // null: items have no learned rows
};

// Every rank has one; the coordinator reads and writes. Every rank must make the same calls.
class RunCheckpoints {
 public:
  // `config` is the resolved configuration, stored in every checkpoint. References must outlive
  // this.
  RunCheckpoints(const TrainerOptions& options, std::string config, const Dataset& dataset,
                 int64_t epoch_users, TrainingState state, const Ranks& ranks);

  // Trainer::resume(). The progress of the checkpoint; nothing where the run begins.
  [[nodiscard]] std::optional<RunProgress> resume(
      const std::function<void(const std::string& stored_config)>& accept, const std::string& from);

  // Trainer::init_from().
  void init_from(const std::function<void(const std::string& stored_config)>& accept,
                 const std::string& from);

  // To be called once before the first save. Tells the log of the checkpoint that the run has.
  void start_writing(StepLog& log);
  // The step pays for waiting until the save before has ended, and for a copy into memory.
  void save(const RunProgress& progress, StepLog& log);
  // Waits until the last save is on the disk, and in the mirror or known not to get there.
  void finish(StepLog& log);
  // Whether `flag` is true on any rank. Throws, on all ranks, where a save has failed.
  [[nodiscard]] bool any_rank(bool flag, const char* name, StepLog& log);
  // Looks after a save under way. True where one has failed; then every rank must call the next.
  [[nodiscard]] bool save_failed(StepLog& log);
  // The error of the save; of another rank that it failed.
  [[noreturn]] void throw_save_error() const;

  [[nodiscard]] bool resumed() const { return resumed_; }
  // Whether the weights are those of a training: of this run, or of one to begin with.
  [[nodiscard]] bool have_trained_weights() const { return resumed_ || warm_; }
  [[nodiscard]] int64_t saved_step() const { return saved_step_; }  // of the newest one, or -1
  // How long a save takes; on the coordinator, from start_writing() on.
  [[nodiscard]] std::optional<double> save_seconds() const;

 private:
  [[nodiscard]] std::optional<std::string> choose(const std::string& from, MetricsLog& log) const;
  [[nodiscard]] RunProgress restore(const std::string& path, const Checkpoint& checkpoint);
  void require_same_rows(const std::string& path, const CheckpointInfo& info) const;
  [[nodiscard]] bool broadcast_state(RunProgress& progress, bool restored);
  [[nodiscard]] Checkpoint checkpoint_of(const RunProgress& progress, std::optional<double> loss);
  void finish_save(StepLog& log);
  void restore_from_mirror(const std::string& path, NewestCheckpoint& newest,
                           MetricsLog& log) const;
  void poll_writer(std::chrono::milliseconds patience, StepLog& log);
  void poll_mirror(std::chrono::milliseconds patience, StepLog& log);
  [[nodiscard]] bool coordinator() const;

  const TrainerOptions& options_;
  std::string config_;
  const Dataset& dataset_;
  int64_t epoch_users_;  // users of an epoch, over all ranks
  TrainingState state_;
  Ranks ranks_;
  std::string directory_;
  std::string contract_;                         // data.json, on the coordinator
  std::unique_ptr<CheckpointWriter> writer_;     // likewise
  std::unique_ptr<CheckpointMirror> mirror_;     // likewise, with checkpoint.mirror
  std::unique_ptr<ItemTableSaver> table_saver_;  // where there is a table
  std::exception_ptr save_error_;                // of a save that ended
  InitialWeights initial_;                       // on the coordinator
  std::string initial_note_;                     // likewise; for the log
  bool resumed_ = false;
  bool warm_ = false;  // init_from() was called
  int64_t saved_step_ = -1;
};

}  // namespace pinnerformer
