// The part of the trainer that survives it: what a checkpoint holds, saving it, going on from it.
#include <array>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "dataloader/base/errors.h"
#include "trainer/checkpoint/data_contract.h"
#include "trainer/loop/trainer.h"

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

}  // namespace

std::vector<AgreedItem> Trainer::layout() const {
  std::string shapes, buckets;
  for (const auto& entry : model_->named_parameters())
    shapes += c10::str(entry.key(), ": ", entry.value().sizes(), "\n");
  if (table_) shapes += c10::str("item table: ", table_->rows(), " x ", table_->width(), "\n");
  for (const Bucket& bucket : reducer_->plan())
    buckets += c10::str(bucket.params.size(), " parameters, ", bucket.bytes, " bytes\n");
  return {{"parameter shapes", shapes}, {"bucket plan", buckets}};
}

std::map<std::string, torch::Tensor> Trainer::training_state() {
  std::map<std::string, torch::Tensor> state = optimizer_->state();
  state.merge(sampler_.state());
  return state;
}

// The step pays for waiting until the save before has ended, and for a copy.
void Trainer::save() {
  check_last_step();
  enter("save");
  save_stall_.time([&] {
    wait_for_writer();
    const FileWriters tables = table_ ? table_saver_->next() : FileWriters();
    const std::string directory = options_.run.directory + "/checkpoints";
    if (coordinator()) {
      Checkpoint checkpoint;
      checkpoint.info = {
          step_, position_, samples_, ranks_.control->size(), data_.dataset->fingerprint(), {}};
      if (logged_since_save_ > 0)
        checkpoint.info.loss = loss_since_save_ / static_cast<double>(logged_since_save_);
      checkpoint.config = config_;
      checkpoint.data = contract_;
      checkpoint.model = model_state(model_);
      checkpoint.training = training_state();
      checkpoint.streamed = tables;
      writer_->start(checkpoint);
    } else {
      for (const auto& [name, take_part] : tables) static_cast<void>(take_part(""));
    }
    if (table_) table_saver_->saved(checkpoint_path(directory, step_));
  });
  saved_step_ = step_;
  loss_since_save_ = 0;
  logged_since_save_ = 0;
}

// On the coordinator: waits for the save in flight at most `patience`, and notes how it ended.
void Trainer::look_after_writer(std::chrono::milliseconds patience) try {
  if (!coordinator()) return;
  if (const auto save = writer_->finished(patience)) {
    std::array<char, 64> pace{};
    std::snprintf(pace.data(), pace.size(), " (%.1f MB in %.2f s)",
                  static_cast<double>(save->bytes) / 1e6, save->seconds);
    log_->note("saved " + save->path + pace.data());
  }
} catch (...) {
  save_error_ = std::current_exception();
}

// Whether `mine` is true on any rank. A save that failed behind the training ends all of them here.
bool Trainer::on_any_rank(bool mine, const char* name) {
  look_after_writer(std::chrono::milliseconds(0));
  torch::Tensor flags =
      torch::tensor({int64_t{mine}, int64_t{save_error_ != nullptr}}, torch::kInt64);
  ranks_.control->all_reduce(flags, name)->wait();
  if (save_error_) std::rethrow_exception(save_error_);
  if (flags[1].item<int64_t>() > 0)
    throw IoError("rank 0 could not write the checkpoint; its own message says why");
  return flags[0].item<int64_t>() > 0;
}

// In rounds of a second, so that the other ranks meet no deadline while a slow disk writes.
void Trainer::wait_for_writer() {
  do {
    look_after_writer(std::chrono::seconds(1));
  } while (on_any_rank(coordinator() && writer_->busy(), "checkpoint"));
}

bool Trainer::stop_agreed(const StopCondition& stop) {
  using Seconds = std::chrono::duration<double>;
  const auto now = StopCondition::Clock::now();
  const double step_seconds = Seconds(now - std::exchange(step_begin_, now)).count();
  bool mine = stop.requested && stop.requested();
  if (coordinator() && stop.deadline)
    mine |= Seconds(*stop.deadline - now).count() <=
            stop_reserve_seconds(step_seconds, writer_->expected_seconds());
  if (!on_any_rank(mine, "stop")) return false;
  if (log_) log_->note("asked to stop: ending with step " + std::to_string(step_));
  return true;
}

void Trainer::start_writer() {
  contract_ = to_json(data_contract(*data_.dataset));
  log_ = std::make_unique<MetricsLog>(options_.run.directory, step_, options_.train.steps);
  int64_t bytes = 0;
  for (const auto& state : {model_state(model_), training_state()})
    for (const auto& [name, tensor] : state) bytes += static_cast<int64_t>(tensor.nbytes());
  writer_ = std::make_unique<CheckpointWriter>(options_.run.directory + "/checkpoints",
                                               options_.checkpoint, bytes);
}

// The run's own newest checkpoint, else `from`. Damaged ones are set aside: they would count as
// kept, and the run is about to reach their steps again.
std::optional<std::string> Trainer::choose_checkpoint(const std::string& from, MetricsLog& log) {
  const std::string directory = options_.run.directory + "/checkpoints";
  const NewestCheckpoint newest = find_newest_checkpoint(directory);
  require_a_whole_one(newest, directory);
  for (const std::string& reason : newest.rejected) log.note("skipped a checkpoint: " + reason);
  for (const std::string& path : list_checkpoints(directory))
    if (!newest.path || path > *newest.path)
      log.note("it is kept as " + set_aside_checkpoint(path));
  if (from.empty()) return newest.path;
  if (!newest.path) {
    static_cast<void>(read_manifest(from, /*verify_files=*/true));
    return from;
  }
  namespace fs = std::filesystem;
  if (fs::exists(from) && fs::equivalent(fs::absolute(from).parent_path(), directory)) {
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

void Trainer::resume(const std::function<void(const std::string&)>& accept,
                     const std::string& from) {
  std::string source;  // on the coordinator
  if (coordinator()) {
    MetricsLog log(options_.run.directory, INT64_MAX, options_.train.steps);
    if (const auto path = choose_checkpoint(from, log)) {
      const Checkpoint checkpoint = load_checkpoint(*path, /*training=*/true,
                                                    /*verify_files=*/false);  // just done
      if (accept) accept(checkpoint.config);
      source = *path;
      restore(source, checkpoint);
      resumed_ = true;
      // One of another run is this run's beginning, not yet a checkpoint of its own.
      const auto own = list_checkpoints(options_.run.directory + "/checkpoints");
      if (!own.empty() && own.back() == source) saved_step_ = step_;
      log.note("resumed from " + source);
    }
  }
  share_state();
  if (table_ && resumed_) load_item_table(source, *table_, *ranks_.control);
}

void Trainer::check_rows(const std::string& path, const CheckpointInfo& info) {
  const bool stored = info.files.contains(kItemTableFile);
  if (stored != (table_ != nullptr))
    throw CheckpointError(path + (stored ? " has an item table" : " has no item table") +
                          ", and this run has " + (stored ? "none" : "one") +
                          " (item.id_table.placement); give a fresh run.directory");
  if (table_) check_item_table(path, *table_);
}

void Trainer::restore(const std::string& path, const Checkpoint& checkpoint) {
  if (checkpoint.info.dataset_fingerprint != data_.dataset->fingerprint())
    throw CheckpointError("the checkpoint of step " + std::to_string(checkpoint.info.step) +
                          " was trained on another dataset (fingerprint " +
                          checkpoint.info.dataset_fingerprint + ") than " +
                          data_.dataset->directory() + " (" + data_.dataset->fingerprint() +
                          "); give a fresh run.directory or the dataset it was trained on");
  check_rows(path, checkpoint.info);
  load_model_state(model_, checkpoint.model,
                   "the checkpoint of step " + std::to_string(checkpoint.info.step));
  optimizer_->load_state(checkpoint.training);
  sampler_.load_state(checkpoint.training);
  step_ = checkpoint.info.step;
  samples_ = checkpoint.info.samples;
  position_ = checkpoint.info.position;
}

// Every rank takes the coordinator's state: only that one needs to see the checkpoint's disk.
void Trainer::share_state() {
  Communicator& control = *ranks_.control;
  torch::Tensor numbers = torch::tensor(
      {step_, samples_, position_.epoch, position_.consumed, saved_step_, int64_t{resumed_}},
      torch::kInt64);
  control.broadcast(numbers, 0, "training position")->wait();
  auto state = model_state(model_);
  state.merge(training_state());
  for (auto& [name, tensor] : state) {
    torch::Tensor host = tensor.cpu().contiguous();
    control.broadcast(host, 0, name)->wait();
    tensor.copy_(host);
  }
  if (coordinator()) return;
  sampler_.load_state(state);
  const auto* values = numbers.data_ptr<int64_t>();
  step_ = values[0];
  samples_ = values[1];
  position_ = {values[2], values[3]};
  saved_step_ = values[4];
  resumed_ = values[5] != 0;
}

}  // namespace pinnerformer
