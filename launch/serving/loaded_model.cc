#include "launch/serving/loaded_model.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string_view>
#include <utility>

#include "comm/thread_communicator.h"
#include "configs/errors.h"
#include "configs/run_config.h"
#include "configs/typed_value.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/nearest_name.h"
#include "dataloader/base/printable.h"
#include "dataloader/base/slice.h"
#include "dataloader/sampling/batch.h"
#include "launch/cli/launcher_rank.h"
#include "launch/job/preflight.h"
#include "launch/job/stored_config.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/item_table_file.h"
#include "trainer/evaluation/prefix_batch.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

struct FoundCheckpoint {
  std::string path;
  std::vector<std::string> skipped;  // newer ones that are damaged, with the reason
};

bool is_run(const std::string& directory) { return fs::is_directory(directory + "/checkpoints"); }

bool is_checkpoint(const std::string& directory) {
  return fs::exists(directory + "/MANIFEST.json");
}

void require_run(const std::string& run) {
  if (fs::exists(run) && !fs::is_directory(run))
    throw UsageError("--run " + run + " is a file: expected the run directory of a training");
  if (!fs::is_directory(run))
    throw MissingInputError("the run directory " + run +
                            " does not exist; `pinnerformer train` makes it");
  if (!is_run(run) && fs::path(run + "/").parent_path().filename() == "checkpoints")
    throw UsageError("--run " + run +
                     " is a directory of checkpoints: give the run directory above");
  if (!is_run(run) && is_checkpoint(run))
    throw UsageError("--run " + run + " is a checkpoint: use --checkpoint " + run);
}

// RUN/checkpoints/step-000000500 for "500".
std::string checkpoint_of_step(const std::string& run, int64_t step) {
  require_run(run);
  const std::string path = checkpoint_path(run + "/checkpoints", step);
  if (fs::is_directory(path)) return path;
  std::string found;
  for (const std::string& other : list_checkpoints(run + "/checkpoints")) found += "\n  " + other;
  throw MissingInputError(
      path + " does not exist; the run has:" + (found.empty() ? " no checkpoint" : found));
}

std::string named_checkpoint(const std::string& given) {
  const std::string path = resolve_checkpoint_path(given);
  if (!fs::exists(path)) throw MissingInputError(path + " does not exist");
  if (!fs::is_directory(path))
    throw UsageError("--checkpoint " + path + " is a file: expected the directory of a checkpoint");
  if (is_run(path))
    throw UsageError("--checkpoint " + path + " is a run directory: use --run " + path +
                     " for its newest checkpoint, or name one of " + path + "/checkpoints");
  return path;
}

FoundCheckpoint require_whole(const NewestCheckpoint& newest, const std::string& run) {
  if (newest.path) return {*newest.path, newest.rejected};
  std::string reasons;
  if (!is_run(run)) reasons = ": expected a run directory in which `train` has saved a checkpoint";
  for (const std::string& reason : newest.rejected) reasons += "\n  " + reason;
  throw CheckpointError("no valid checkpoint in " + run + "/checkpoints" + reasons);
}

FoundCheckpoint newest_checkpoint(const std::string& run) {
  require_run(run);
  return require_whole(find_newest_checkpoint(run + "/checkpoints"), run);
}

// The best step that the newest checkpoint of the run names.
FoundCheckpoint best_checkpoint(const std::string& run) {
  FoundCheckpoint found = newest_checkpoint(run);
  const BestStep best = read_manifest(found.path, /*verify_files=*/false).best;
  if (best.step < 0)
    throw UsageError("--checkpoint best: " + run +
                     " has no validation (validate.every_steps was 0); omit --checkpoint for the "
                     "newest checkpoint, or give a step");
  found.path = checkpoint_of_step(run, best.step);
  return found;
}

// "20" for "20", "step-20" and "step-000000020".
std::string number_of_step(const std::string& checkpoint) {
  constexpr std::string_view kPrefix = "step-";
  return checkpoint.substr(checkpoint.starts_with(kPrefix) ? kPrefix.size() : 0);
}

FoundCheckpoint find_checkpoint(const LoadedModelOptions& options) {
  int64_t step = 0;
  if (!options.run.empty() && options.checkpoint == "best") return best_checkpoint(options.run);
  const bool by_step = assign_text(&step, number_of_step(options.checkpoint)) && step >= 0;
  if (!options.run.empty() && by_step) return {checkpoint_of_step(options.run, step), {}};
  if (!options.run.empty() && !options.checkpoint.empty())
    throw UsageError("--checkpoint " + options.checkpoint +
                     ": with --run, expected a step, such as 500, or best; without --checkpoint "
                     "the newest one is used");
  if (options.run.empty() && options.checkpoint.empty())
    throw UsageError(
        "give --run DIR for its newest checkpoint, --run DIR --checkpoint STEP for an older one, "
        "or --checkpoint DIR");
  if (!options.checkpoint.empty()) return {named_checkpoint(options.checkpoint), {}};
  return newest_checkpoint(options.run);
}

// Says on stderr, once for all ranks, when the newest checkpoint is not the one that is used.
void warn_of_skipped(const FoundCheckpoint& found) {
  if (!speaks_for_all_ranks()) return;
  for (const std::string& reason : found.skipped)
    std::cerr << "pinnerformer: skipped a damaged checkpoint: " + reason + "; using " + found.path +
                     "\n"
              << std::flush;
}

// The newest checkpoint of a run may be removed by its training before it has been read: then the
// one that is newest by then is taken.
NamedCheckpoint read_newest(const std::string& run) {
  require_run(run);
  NamedCheckpoint named;
  read_newest_checkpoint(run + "/checkpoints", [&](const NewestCheckpoint& newest) {
    const FoundCheckpoint found = require_whole(newest, run);
    named = {found.path, load_checkpoint(found.path, /*training=*/false, /*verify_files=*/false)};
    warn_of_skipped(found);
  });
  return named;
}

NamedCheckpoint read_checkpoint(const LoadedModelOptions& options) {
  if (options.checkpoint.empty() && !options.run.empty()) return read_newest(options.run);
  const std::string path = find_checkpoint(options).path;
  return {path, load_checkpoint(path, /*training=*/false)};
}

Dataset open_dataset(const RunConfig& config) try {
  return Dataset::open(config.data.path);
} catch (const MissingInputError& error) {
  throw MissingInputError(std::string(error.what()) +
                          " (data.path as the checkpoint has it, seen from " +
                          fs::current_path().string() + "; data.path=DIR names another place)");
}

}  // namespace

void add_model_options(CommandLine& cli, LoadedModelOptions* options,
                       std::vector<std::string>* runs) {
  const std::string help = "run directory; its newest valid checkpoint is used";
  if (runs == nullptr) {
    cli.add_option("run", "DIR", &options->run, help);
  } else {
    cli.add_option("run", "DIR", runs,
                   help + ". More than once: runs of other seeds, whose mean is shown");
  }
  cli.add_option("checkpoint", "STEP|best|DIR", &options->checkpoint,
                 "the checkpoint of this step of --run, that of its best validation, or the "
                 "directory of a checkpoint");
  cli.add_flag("print-config", &options->print_config,
               "print every key with its value and where the value came from, then stop");
  cli.add_words("key=value", &options->overrides,
                "change the stored configuration, e.g. data.path=DIR");
}

bool printed_config(const LoadedModelOptions& options) {
  if (!options.print_config) return false;
  print_once(
      describe_stored_config(find_checkpoint(options).path + "/config.yaml", options.overrides));
  return true;
}

LoadedModel::LoadedModel(const LoadedModelOptions& options, DataUse use)
    : LoadedModel(read_checkpoint(options), options, use) {}

LoadedModel::LoadedModel(NamedCheckpoint named, const LoadedModelOptions& options, DataUse use)
    : path_(std::move(named.path)),
      checkpoint_(std::move(named.content)),
      stored_config_(parse_config(checkpoint_.config)),
      config_(override_config(stored_config_, options.overrides)),
      dataset_(open_dataset(config_)),
      use_(use) {
  require_stored_config(config_, stored_config_, {"run.directory", "data.", "comm.", "evaluate."},
                        "use " + path_);
  require_data(use);
  action_index_ = torch::tensor(indices_of(dataset_.actions(), contract_.actions), torch::kInt64);
  surface_index_ =
      torch::tensor(indices_of(dataset_.surfaces(), contract_.surfaces), torch::kInt64);
}

void LoadedModel::require_data(DataUse use) {
  const bool same = is_training_data();
  if (!same && checkpoint_.data.empty())
    throw CheckpointError(path_ +
                          " has no data.json, an older program wrote it: it can be used with "
                          "the dataset it was trained on only, which " +
                          config_.data.path +
                          " is not. Name that one with data.path=DIR, or train anew");
  contract_ = checkpoint_.data.empty()
                  ? data_contract(dataset_)
                  : parse_data_contract(checkpoint_.data, path_ + "/data.json");
  require_contract(dataset_, contract_, path_);
  if (!same && use == DataUse::kTrainingData)
    throw CheckpointError(path_ + " was trained on another dataset (fingerprint " +
                          checkpoint_.info.dataset_fingerprint + ") than " + config_.data.path +
                          " (" + dataset_.fingerprint() +
                          "); name the right one with data.path=DIR");
}

EmbeddingSource LoadedModel::source() const {
  const fs::path path = fs::path(path_).lexically_normal();
  const fs::path directory = path.has_filename() ? path : path.parent_path();
  const bool in_run = directory.parent_path().filename() == "checkpoints";
  return {in_run ? directory.parent_path().parent_path().string() : "", directory.string(),
          checkpoint_.info.step, topic_ < 0 ? "" : contract_.topics[static_cast<size_t>(topic_)]};
}

std::string LoadedModel::source_note() const {
  return "checkpoint " + path_ + ", step " + std::to_string(checkpoint_.info.step) + "\n";
}

EmbeddingVersion LoadedModel::version() const {
  const auto& files = checkpoint_.info.files;
  const auto table = files.find(kItemTableFile);
  return {files.at(kModelFile).xxh3 + (table == files.end() ? "" : "-" + table->second.xxh3),
          contract_.content_version()};
}

ModelInputs LoadedModel::inputs() const {
  ModelInputs inputs = model_inputs(dataset_, config_.item);
  inputs.actions = std::ssize(contract_.actions);
  inputs.surfaces = std::ssize(contract_.surfaces);
  inputs.topics = std::ssize(contract_.topics);
  return inputs;
}

void LoadedModel::load_model(torch::Device device, Communicator& comm) {
  // Each rank chose the newest checkpoint by itself, and a training may have saved meanwhile.
  require_same_job(comm, {{"checkpoint", source_note() + "model " + version().model},
                          {"configuration", to_yaml(config_)},
                          {"dataset", dataset_.fingerprint()}});
  const ItemTableOptions& table = config_.item.table;
  if (table.placement != ItemPlacement::kNone)
    item_table_.emplace(path_, table, dataset_, contract_.integer_items);
  ModelInputs shapes = inputs();
  shapes.item_vectors = vectors_near(device, shapes.item_vectors, config_.data.device_vectors_mib);
  shapes.code_rows = vectors_near(device, shapes.code_rows, config_.data.device_vectors_mib);
  model_ = PinnerFormer(config_.model, shapes);
  const torch::NoGradGuard no_grad;
  load_model_state(model_, checkpoint_.model, path_);
  move_to_device(*model_, device);
  model_->eval();
  if (config_.model.prior_days.empty()) return;
  const PriorSpan span =
      use_ == DataUse::kTrainingData
          ? prior_span(dataset_, config_.split, config_.evaluate.daily_delay_days)
          : PriorSpan{dataset_.last_time(), 0};
  prior_.emplace(dataset_, config_.positives, span, config_.model.prior_days, comm);
}

int64_t LoadedModel::dimensions() const {
  return config_.model.output + (prior_ ? prior_->width() : 0);
}

int64_t LoadedModel::user_width() const { return config_.model.user_vectors * dimensions(); }

void LoadedModel::condition_on(const std::string& topic) {
  if (config_.model.condition != Condition::kTopic)
    throw ConfigError("--topic and model.condition = none: the model of " + path_ +
                      " was trained without topics; train with model.condition=topic");
  const auto found = std::ranges::find(contract_.topics, topic);
  if (found == contract_.topics.end())
    throw DataError("--topic " + printable(topic) + ": the model of " + path_ + " knows " +
                    std::to_string(contract_.topics.size()) + " topics and not this one; did you " +
                    "mean '" + printable(nearest_name(topic, contract_.topics)) + "'?");
  topic_ = found - contract_.topics.begin();
}

torch::Tensor LoadedModel::item_vectors() { return item_vectors(*make_single_communicator()); }

// Ranks share whole blocks, so that the vectors have the same bits for every number of ranks.
torch::Tensor LoadedModel::item_vectors(Communicator& comm) {
  constexpr int64_t kItemsAtOnce = 65536;
  const int64_t items = dataset_.items();
  const int64_t blocks = (items + kItemsAtOnce - 1) / kItemsAtOnce;
  torch::Tensor all = torch::empty({items, dimensions()});
  const auto first_of = [](int64_t block) { return block * kItemsAtOnce; };
  const auto count_of = [&](int64_t block) {
    return std::min(kItemsAtOnce, items - first_of(block));
  };
  const auto rows_of = [&](int64_t block) {
    return all.narrow(0, first_of(block), count_of(block));
  };
  const Slice mine = rank_slice(blocks, comm.rank(), comm.size());
  for (int64_t block = mine.first; block < mine.end(); ++block)
    rows_of(block).copy_(item_vectors(first_of(block), count_of(block)));
  // Block by block: one call could exceed the 2^31 numbers that MPI counts.
  for (int rank = 0; rank < comm.size(); ++rank) {
    const Slice theirs = rank_slice(blocks, rank, comm.size());
    for (int64_t block = theirs.first; block < theirs.end(); ++block)
      comm.broadcast(rows_of(block), rank, "item vectors")->wait();
  }
  return all;
}

torch::Tensor LoadedModel::item_vectors(int64_t first, int64_t count) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor items = torch::arange(first, first + count, torch::kInt64);
  const torch::Tensor vectors =
      model_->item_embedding(items.to(model_->device()), id_rows(items)).cpu();
  return prior_ ? prior_->append_to_items(vectors, items) : vectors;
}

void LoadedModel::translate(Batch* batch) const {
  const auto look_up = [](const torch::Tensor& index, const torch::Tensor& values) {
    return index.index_select(0, values.flatten()).view_as(values);
  };
  batch->action = look_up(action_index_, batch->action);
  batch->surface = look_up(surface_index_, batch->surface);
}

torch::Tensor LoadedModel::user_vectors(const std::vector<HistoryPrefix>& prefixes) {
  const torch::NoGradGuard no_grad;
  Batch batch = prefix_batch(prefixes, config_.model.max_length);
  translate(&batch);
  torch::Tensor topic;
  if (topic_ >= 0) topic = torch::full({batch.users()}, topic_, torch::kInt64).to(model_->device());
  const torch::Tensor vectors =
      model_->user_embedding(batch.to(model_->device()), id_rows(batch.item), topic).cpu();
  return prior_ ? prior_->append_to_users(vectors, prefixes, model_->scaled_prior_weights())
                : vectors;
}

torch::Tensor LoadedModel::id_rows(const torch::Tensor& items) const {
  return item_table_ ? item_table_->rows(items).to(model_->device()) : torch::Tensor();
}

torch::Tensor LoadedModel::unknown_id_row() const {
  return item_table_ ? item_table_->unknown_row() : torch::Tensor();
}

torch::Tensor LoadedModel::tower_rows(const torch::Tensor& items) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> parts;
  if (item_table_) parts.push_back(id_rows(items).cpu());
  if (config_.item.semantic_ids)
    parts.push_back(model_->code_sums(items.to(model_->device())).cpu());
  return parts.empty() ? torch::zeros({items.numel(), 0}) : torch::cat(parts, 1);
}

torch::Tensor LoadedModel::unknown_tower_row() const {
  std::vector<torch::Tensor> parts = {torch::zeros({0})};
  if (item_table_) parts.push_back(unknown_id_row());
  if (config_.item.semantic_ids) parts.push_back(torch::zeros({config_.model.output}));
  return torch::cat(parts);
}

std::string LoadedModel::unknown_items_note() const {
  if (!item_table_ || unknown_items() == 0) return "";
  return std::to_string(unknown_items()) + " of " + std::to_string(dataset_.items()) +
         " items have no learned row of their own and read the unknown row: " +
         std::to_string(item_table_->new_items()) + " were not in the training dataset, " +
         std::to_string(item_table_->untrained_items()) + " were in no step of training\n";
}

int64_t LoadedModel::unknown_items() const {
  return item_table_ ? item_table_->new_items() + item_table_->untrained_items() : 0;
}

namespace {

// Every event of each user, at the time of the newest one.
std::vector<HistoryPrefix> whole_histories(const std::vector<Timeline>& timelines) {
  std::vector<HistoryPrefix> prefixes;
  for (const Timeline& timeline : timelines)
    prefixes.push_back({&timeline, timeline.size(), timeline.time.back(), /*window=*/0});
  return prefixes;
}

// The first event of each timeline that its state has not seen.
std::vector<int64_t> first_new_events(const std::vector<Timeline>& timelines,
                                      const UserStates& states, int64_t max_length) {
  std::vector<int64_t> first;
  for (const Timeline& timeline : timelines) {
    const int64_t seen = states.time[std::ssize(first)].item<int64_t>();
    const auto later = std::ranges::upper_bound(timeline.time, seen);
    first.push_back(seen < 0 ? std::max<int64_t>(0, timeline.size() - max_length)
                             : later - timeline.time.begin());
  }
  return first;
}

// The next events of the users that have any left.
struct NextEvents {
  std::vector<int64_t> users;  // index of the timeline of each row
  std::vector<BatchRow> rows;
};

// Up to `most` events of each timeline from `next` on, which moves behind them.
NextEvents take_events(const std::vector<Timeline>& timelines, int64_t most,
                       std::vector<int64_t>& next) {
  NextEvents taken;
  for (size_t i = 0; i < timelines.size(); ++i) {
    const int64_t first = next[i];
    next[i] = std::min(first + most, timelines[i].size());
    if (first == next[i]) continue;
    taken.users.push_back(static_cast<int64_t>(i));
    taken.rows.push_back({&timelines[i], first, next[i], /*draw_key=*/0});
  }
  return taken;
}

}  // namespace

torch::Tensor LoadedModel::user_vectors(const std::vector<Timeline>& timelines) {
  return user_vectors(whole_histories(timelines));
}

// In rounds of up to max_length events of every user that has any left.
torch::Tensor LoadedModel::user_vectors(const std::vector<Timeline>& timelines,
                                        UserStates& states) {
  const torch::NoGradGuard no_grad;
  const int64_t most = config_.model.max_length;
  std::vector<int64_t> next = first_new_events(timelines, states, most);
  std::vector<int64_t> shape = {std::ssize(timelines), config_.model.output};
  if (config_.model.user_vectors > 1) shape.insert(shape.begin() + 1, config_.model.user_vectors);
  torch::Tensor vectors = torch::zeros(shape);
  const torch::Device device = model_->device();
  for (NextEvents round = take_events(timelines, most, next); !round.rows.empty();
       round = take_events(timelines, most, next)) {
    Batch batch = make_batch(round.rows);
    translate(&batch);
    const torch::Tensor chosen = torch::tensor(round.users, torch::kInt64);
    UserStates part{states.memory.index_select(0, chosen).to(device),
                    states.time.index_select(0, chosen).to(device)};
    vectors.index_copy_(0, chosen,
                        model_->go_on(batch.to(device), part, id_rows(batch.item)).cpu());
    states.memory.index_copy_(0, chosen, part.memory.cpu());
    states.time.index_copy_(0, chosen, part.time.cpu());
  }
  return prior_ ? prior_->append_to_users(vectors, whole_histories(timelines),
                                          model_->scaled_prior_weights())
                : vectors;
}

}  // namespace pinnerformer
