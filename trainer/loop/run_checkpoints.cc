#include "trainer/loop/run_checkpoints.h"

#include <sys/stat.h>

#include <array>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "comm/communicator.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/paths.h"
#include "trainer/checkpoint/checkpoint_copy.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/data_contract.h"
#include "trainer/checkpoint/stored_item_table.h"
#include "trainer/checkpoint/warm_start.h"
#include "trainer/loop/training_step.h"
#include "trainer/monitor/unix_time.h"

namespace pinnerformer {
namespace {

// To begin again at step 0 would throw a run away without a word.
void require_a_whole_one(const NewestCheckpoint& found, const std::string& directory) {
  if (found.path || found.rejected.empty()) return;
  std::string reasons;
  for (const std::string& reason : found.rejected) reasons += "\n  " + reason;
  throw CheckpointError("every checkpoint in " + directory +
                        " is damaged: copy one back from a backup, or start again from step 0 with "
                        "a fresh run.directory (or after moving these away):" +
                        reasons);
}

// What the log says of a run that began with the weights of a checkpoint.
std::string describe_start(const InitialWeights& initial, const StoredItemTable* table,
                           int64_t rows) {
  std::string text =
      "begins with the weights of " + initial.checkpoint + ", step " + std::to_string(initial.step);
  if (table != nullptr)
    text += ", and " + std::to_string(rows) +
            " of its item rows; items without one: " + std::to_string(table->new_items()) +
            " new, " + std::to_string(table->untrained_items()) + " that it never trained";
  return text;
}

// Its directory got its present name, and with it its time, when it was whole.
SavedCheckpoint earlier_save(const std::string& directory, int64_t step) {
  struct stat status {};
  const bool found = ::stat(checkpoint_path(directory, step).c_str(), &status) == 0;
  return {.step = step, .time = found ? static_cast<double>(status.st_mtime) : 0};
}

}  // namespace

RunCheckpoints::RunCheckpoints(const TrainerOptions& options, std::string config,
                               const Dataset& dataset, int64_t epoch_users, TrainingState state,
                               const Ranks& ranks)
    : options_(options),
      config_(std::move(config)),
      dataset_(dataset),
      epoch_users_(epoch_users),
      state_(std::move(state)),
      ranks_(ranks),
      directory_(options.run.directory + "/checkpoints") {
  if (state_.table != nullptr)
    table_saver_ =
        std::make_unique<ItemTableSaver>(*state_.table, vocabulary_of(dataset_),
                                         options_.checkpoint.table_full_every, *ranks_.control);
}

bool RunCheckpoints::coordinator() const { return ranks_.control->rank() == 0; }

std::optional<RunProgress> RunCheckpoints::resume(
    const std::function<void(const std::string&)>& accept, const std::string& from) {
  std::string source;  // on the coordinator
  RunProgress progress;
  if (coordinator()) {
    MetricsLog log(options_.run.directory, INT64_MAX, options_.train.steps);
    if (const auto path = choose(from, log)) {
      const Checkpoint checkpoint = load_checkpoint(*path, /*training=*/true,
                                                    /*verify_files=*/false);  // just done
      if (accept) accept(checkpoint.config);
      source = *path;
      progress = restore(source, checkpoint);
      // One of another run is this run's beginning, not yet a checkpoint of its own.
      const auto own = list_checkpoints(directory_);
      if (!own.empty() && own.back() == source)
        saved_step_ = progress.step;
      else
        progress.best = {};  // a step of the other run
      log.note("resumed from " + source);
    }
  }
  resumed_ = broadcast_state(progress, /*restored=*/!source.empty());
  if (!resumed_) return std::nullopt;
  if (state_.table != nullptr) load_item_table(source, *state_.table, *ranks_.control);
  return progress;
}

// The run's own newest checkpoint, else `from`. Damaged ones are set aside: they would count as
// kept, and the run is about to reach their steps again.
std::optional<std::string> RunCheckpoints::choose(const std::string& from, MetricsLog& log) const {
  NewestCheckpoint newest = find_newest_checkpoint(directory_);
  const NewestCheckpoint mirrored = find_newest_checkpoint(options_.checkpoint.mirror);
  if (!mirrored.path) require_a_whole_one(newest, directory_);
  for (const std::string& reason : newest.rejected) log.note("skipped a checkpoint: " + reason);
  for (const std::string& path : list_checkpoints(directory_))
    if (!newest.path || path > *newest.path)
      log.note("it is kept as " + set_aside_checkpoint(path));
  if (mirrored.path) restore_from_mirror(*mirrored.path, newest, log);
  if (from.empty()) return newest.path;
  if (!newest.path) {
    static_cast<void>(read_manifest(from, /*verify_files=*/true));
    return from;
  }
  namespace fs = std::filesystem;
  const fs::path directory_of_from = fs::absolute(without_trailing_slashes(from)).parent_path();
  if (fs::exists(from) && fs::equivalent(directory_of_from, directory_)) {
    if (!fs::equivalent(from, *newest.path))
      throw CheckpointError(
          from + " is not the newest checkpoint of its run, " + *newest.path +
          " is: going on from it would reach the same steps again. Give a fresh " +
          "run.directory, or move the newer checkpoints away");
  } else {
    log.note(options_.run.directory + " has a checkpoint of its own: " + from + " is not used");
  }
  return newest.path;
}

// Copies the mirror's newest checkpoint back where the run has lost it: its disk was replaced, or
// its own copy is damaged. The run then goes on as if it had been there.
void RunCheckpoints::restore_from_mirror(const std::string& path, NewestCheckpoint& newest,
                                         MetricsLog& log) const {
  namespace fs = std::filesystem;
  const auto name = [](const std::string& checkpoint) { return fs::path(checkpoint).filename(); };
  if (newest.path && name(path) <= name(*newest.path)) return;
  newest.path = copy_checkpoint(path, directory_);
  log.note("copied back from checkpoint.mirror: " + path);
}

void RunCheckpoints::require_same_rows(const std::string& path, const CheckpointInfo& info) const {
  const bool stored = info.files.contains(kItemTableFile), here = state_.table != nullptr;
  if (stored != here)
    throw CheckpointError(path + (stored ? " has an item table" : " has no item table") +
                          ", and this run has " + (stored ? "none" : "one") +
                          " (item.table.placement); give a fresh run.directory");
  if (here) check_item_table(path, *state_.table);
}

RunProgress RunCheckpoints::restore(const std::string& path, const Checkpoint& checkpoint) {
  if (checkpoint.info.dataset_fingerprint != dataset_.fingerprint())
    throw CheckpointError("the checkpoint of step " + std::to_string(checkpoint.info.step) +
                          " was trained on another dataset (fingerprint " +
                          checkpoint.info.dataset_fingerprint + ") than " + dataset_.directory() +
                          " (" + dataset_.fingerprint() +
                          "); give a fresh run.directory or the dataset it was trained on");
  require_same_rows(path, checkpoint.info);
  check_position(checkpoint.info, epoch_users_, path);
  const std::string source = "the checkpoint of step " + std::to_string(checkpoint.info.step);
  initial_ = checkpoint.info.initial;
  load_model_state(state_.model, checkpoint.model, source);
  state_.optimizer.load_state(checkpoint.training, source);
  state_.sampler.load_state(checkpoint.training, source);
  return {checkpoint.info.step, checkpoint.info.samples, checkpoint.info.position,
          checkpoint.info.best};
}

// Every rank takes the coordinator's state, so that only that one must see the checkpoint's disk.
// Returns the coordinator's `restored`.
bool RunCheckpoints::broadcast_state(RunProgress& progress, bool restored) {
  Communicator& control = *ranks_.control;
  torch::Tensor numbers = torch::tensor(
      {progress.step, progress.samples, progress.position.epoch, progress.position.consumed,
       saved_step_, int64_t{restored}, progress.best.step,
       std::bit_cast<int64_t>(progress.best.recall_at_10), progress.best.validations_since},
      torch::kInt64);
  control.broadcast(numbers, 0, "training position")->wait();
  auto state = model_state(state_.model);
  state.merge(state_.optimizer.state());
  for (auto& [name, tensor] : state) {
    torch::Tensor host = tensor.cpu().contiguous();
    control.broadcast(host, 0, name)->wait();
    tensor.copy_(host);
  }
  state_.sampler.share_state(control);
  const auto* values = numbers.data_ptr<int64_t>();
  if (!coordinator()) {
    progress = {values[0],
                values[1],
                {values[2], values[3]},
                {values[6], std::bit_cast<double>(values[7]), values[8]}};
    saved_step_ = values[4];
  }
  return values[5] != 0;
}

void RunCheckpoints::init_from(const std::function<void(const std::string&)>& accept,
                               const std::string& from) {
  if (resumed_) return;
  warm_ = true;
  std::optional<StoredItemTable> stored;
  if (coordinator()) {
    const Checkpoint source = load_checkpoint(from, /*training=*/false);
    if (accept) accept(source.config);
    const DataContract contract = warm_start_contract(source, from, dataset_);
    load_model_state(
        state_.model,
        warm_start_weights(source, contract, dataset_, model_state(state_.model), from), from);
    if (state_.table != nullptr) {
      if (options_.item.table.hash_buckets > 0) require_same_id_type(dataset_, contract, from);
      stored.emplace(from, options_.item.table, dataset_, contract.integer_items);
    }
    initial_ = {std::filesystem::absolute(from).lexically_normal(), source.info.step,
                source.info.files.at(kModelFile).xxh3};
  }
  RunProgress beginning;
  static_cast<void>(broadcast_state(beginning, /*restored=*/false));
  const StoredItemTable* table = stored ? &*stored : nullptr;
  const int64_t rows =
      state_.table == nullptr ? 0 : warm_start_rows(table, *state_.table, *ranks_.control);
  if (coordinator()) initial_note_ = describe_start(initial_, table, rows);
}

void RunCheckpoints::start_writing(StepLog& log) {
  if (!coordinator()) return;
  if (!initial_note_.empty()) log.note(initial_note_);
  if (saved_step_ >= 0) log.add_save(earlier_save(directory_, saved_step_));
  DataContract contract = data_contract(dataset_);
  if (options_.model.condition == Condition::kTopic) contract.topics = dataset_.topic_names();
  if (options_.item.semantic_ids) contract.codebooks = codebooks_version(dataset_);
  contract_ = to_json(contract);
  int64_t bytes = 0;
  for (const auto& state : {model_state(state_.model), state_.optimizer.state()})
    for (const auto& [name, tensor] : state) bytes += static_cast<int64_t>(tensor.nbytes());
  writer_ = std::make_unique<CheckpointWriter>(directory_, options_.checkpoint, bytes);
  if (options_.checkpoint.mirror.empty()) return;
  mirror_ = std::make_unique<CheckpointMirror>(options_.checkpoint);
  if (saved_step_ >= 0) mirror_->add(checkpoint_path(directory_, saved_step_));
}

std::optional<double> RunCheckpoints::save_seconds() const {
  return writer_ ? std::optional(writer_->expected_seconds()) : std::nullopt;
}

void RunCheckpoints::save(const RunProgress& progress, StepLog& log) {
  enter_phase(ranks_, progress.step, "save");
  const std::optional<double> loss = log.take_mean_loss();
  log.timers().save_stall.time([&] {
    finish_save(log);
    const TableWriters tables = table_saver_ ? table_saver_->next() : TableWriters();
    auto counts = state_.sampler.gather_state(*ranks_.control);
    if (coordinator()) {
      Checkpoint checkpoint = checkpoint_of(progress, loss);
      checkpoint.training.merge(counts);
      checkpoint.streamed = tables.now;
      checkpoint.deferred = tables.later;
      writer_->start(checkpoint);
    } else {
      for (const auto& [name, take_part] : tables.now) static_cast<void>(take_part(""));
    }
    if (table_saver_) table_saver_->saved(checkpoint_path(directory_, progress.step));
  });
  saved_step_ = progress.step;
}

Checkpoint RunCheckpoints::checkpoint_of(const RunProgress& progress, std::optional<double> loss) {
  Checkpoint checkpoint;
  checkpoint.info.step = progress.step;
  checkpoint.info.position = progress.position;
  checkpoint.info.samples = progress.samples;
  checkpoint.info.world_size = ranks_.control->size();
  checkpoint.info.dataset_fingerprint = dataset_.fingerprint();
  checkpoint.info.loss = loss;
  checkpoint.info.best = progress.best;
  checkpoint.info.initial = initial_;
  checkpoint.config = config_;
  checkpoint.data = contract_;
  checkpoint.model = model_state(state_.model);
  checkpoint.training = state_.optimizer.state();
  return checkpoint;
}

// Polls in rounds of a second, so that the other ranks meet no deadline while a slow disk writes.
void RunCheckpoints::finish_save(StepLog& log) {
  do {
    poll_writer(std::chrono::seconds(1), log);
  } while (any_rank(writer_ && writer_->busy(), "checkpoint", log));
}

void RunCheckpoints::finish(StepLog& log) {
  finish_save(log);
  do {
    poll_mirror(std::chrono::seconds(1), log);
  } while (any_rank(mirror_ && mirror_->busy(), "copy of the checkpoint", log));
}

bool RunCheckpoints::any_rank(bool flag, const char* name, StepLog& log) {
  torch::Tensor flags = torch::tensor({int64_t{flag}, int64_t{save_failed(log)}}, torch::kInt64);
  ranks_.control->all_reduce(flags, name)->wait();
  if (flags[1].item<int64_t>() > 0) throw_save_error();
  return flags[0].item<int64_t>() > 0;
}

bool RunCheckpoints::save_failed(StepLog& log) {
  poll_writer(std::chrono::milliseconds(0), log);
  poll_mirror(std::chrono::milliseconds(0), log);
  return save_error_ != nullptr;
}

void RunCheckpoints::throw_save_error() const {
  if (save_error_) std::rethrow_exception(save_error_);
  throw IoError("rank 0 could not write the checkpoint; its own message says why");
}

void RunCheckpoints::poll_mirror(std::chrono::milliseconds patience, StepLog& log) {
  if (!mirror_) return;
  for (const std::string& line : mirror_->advance(patience)) log.note(line);
}

// On the coordinator: waits for the save under way at most `patience`, and notes how it ended.
void RunCheckpoints::poll_writer(std::chrono::milliseconds patience, StepLog& log) try {
  if (!writer_) return;
  if (const auto save = writer_->finished(patience)) {
    std::array<char, 64> pace{};
    std::snprintf(pace.data(), pace.size(), " (%.1f MB in %.2f s)",
                  static_cast<double>(save->bytes) / 1e6, save->seconds);
    log.note("saved " + save->path + pace.data());
    log.add_save({saved_step_, unix_time(), save->bytes, save->seconds});
    if (mirror_) mirror_->add(save->path);
  }
} catch (...) {
  save_error_ = std::current_exception();
}

}  // namespace pinnerformer
