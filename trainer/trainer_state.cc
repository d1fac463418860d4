// The part of the trainer that survives it: what a checkpoint holds, saving it, going on from it.
#include <utility>

#include "trainer/data_contract.h"
#include "trainer/item_table_file.h"
#include "trainer/trainer.h"

namespace pinnerformer {
namespace {

// To begin again at step 0 would throw a run away without a word.
void require_a_whole_one(const NewestCheckpoint& found, const std::string& directory) {
  if (found.path || found.rejected.empty()) return;
  std::string reasons;
  for (const std::string& reason : found.rejected) reasons += "\n  " + reason;
  throw CheckpointError("every checkpoint in " + directory +
                        " is damaged: copy one back from a backup, or start again from step 0 with "
                        "a fresh run.directory (or after moving these away):" + reasons);
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

void Trainer::save() {
  check_last_step();
  enter("save");
  const FileWriters tables =
      table_ ? item_table_writers(*table_, vocabulary_of(*data_.dataset), *ranks_.control) : FileWriters();
  if (coordinator()) {
    const std::string directory = options_.run.directory + "/checkpoints";
    Checkpoint checkpoint;
    checkpoint.info = {step_, position_, samples_, ranks_.control->size(),
                       data_.dataset->fingerprint(), {}};
    checkpoint.config = config_;
    checkpoint.data = to_json(data_contract(*data_.dataset));
    checkpoint.model = model_state(model_);
    checkpoint.training = training_state();
    checkpoint.streamed = tables;
    const std::string path = save_checkpoint(directory, checkpoint);
    remove_old_checkpoints(directory, options_.checkpoint.keep_last);
    log_->note("saved " + path);
  } else {
    for (const auto& [name, take_part] : tables) static_cast<void>(take_part(""));
  }
  // Ranks that ran ahead would otherwise count the save as their wait for gradients.
  ranks_.control->barrier("checkpoint");
}

void Trainer::resume(const std::function<void(const std::string&)>& accept) {
  std::string path;  // of the checkpoint, on the coordinator
  if (coordinator()) {
    const std::string directory = options_.run.directory + "/checkpoints";
    const NewestCheckpoint newest = find_newest_checkpoint(directory);
    require_a_whole_one(newest, directory);
    MetricsLog log(options_.run.directory, newest.path ? INT64_MAX : 0, options_.train.steps);
    for (const std::string& reason : newest.rejected) log.note("skipped a checkpoint: " + reason);
    // Out of the way: they would count as kept, and the run is about to reach their steps again.
    for (const std::string& other : list_checkpoints(directory))
      if (!newest.path || other > *newest.path)
        log.note("it is kept as " + set_aside_checkpoint(other));
    if (newest.path) {
      const Checkpoint checkpoint = load_checkpoint(*newest.path, /*training=*/true,
                                                    /*verify_files=*/false);  // just done
      if (accept) accept(checkpoint.config);
      path = *newest.path;
      restore(path, checkpoint);
      resumed_ = true;
      log.note("resumed from " + path);
    }
  }
  share_state();
  if (table_ && resumed_) load_item_table(path, *table_, *ranks_.control);
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
  torch::Tensor numbers =
      torch::tensor({step_, samples_, position_.epoch, position_.consumed, int64_t{resumed_}},
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
  resumed_ = values[4] != 0;
}

}  // namespace pinnerformer
