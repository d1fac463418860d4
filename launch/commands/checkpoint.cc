// pinnerformer checkpoint inspect|verify|diff|prune|copy: shows the content of a checkpoint,
// verifies its checksums, compares two; removes old ones, copies one.
#include "trainer/checkpoint/checkpoint.h"

#include <c10/util/StringUtil.h>

#include <filesystem>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "configs/config_keys.h"
#include "configs/run_config.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/paths.h"
#include "dataloader/base/printable.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/checkpoint_upkeep.h"
#include "launch/commands/registry.h"
#include "trainer/checkpoint/checkpoint_diff.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/item_table_file.h"
#include "trainer/checkpoint/stored_item_table.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

json describe(const NamedTensors& tensors) {
  json list = json::object();
  for (const auto& [name, tensor] : tensors)
    list[name] = {{"shape", tensor.sizes().vec()}, {"type", c10::toString(tensor.scalar_type())}};
  return list;
}

int64_t elements(const NamedTensors& tensors) {
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

void require_checkpoint(const std::string& path) {
  require_directory(path);
  require_no_other_kind(path);
  if (std::filesystem::is_directory(path + "/checkpoints"))
    throw UsageError(path + " is a run directory; name one of " + path + "/checkpoints/step-…");
}

std::string describe(const InitialWeights& initial) {
  if (initial.checkpoint.empty()) return "random weights";
  return "the weights of " + printable(initial.checkpoint) + ", step " +
         std::to_string(initial.step);
}

json to_json(const InitialWeights& initial) {
  if (initial.checkpoint.empty()) return {};
  return {{"checkpoint", initial.checkpoint}, {"step", initial.step}, {"model", initial.model}};
}

void print(const Checkpoint& checkpoint, const std::string& path) {
  const CheckpointInfo& info = checkpoint.info;
  std::cout << path << "\n"
            << "  step          " << info.step << "\n"
            << "  samples       " << info.samples << " users, epoch " << info.position.epoch
            << " + " << info.position.consumed << "\n"
            << "  loss          " << (info.loss ? std::to_string(*info.loss) : "not logged") << "\n"
            << "  world size    " << info.world_size << "\n"
            << "  dataset       " << info.dataset_fingerprint << "\n"
            << "  began with    " << describe(info.initial) << "\n"
            << "  parameters    " << elements(checkpoint.model) << "\n"
            << "  checksums     all files match the manifest\n";
  for (const auto& [name, digest] : info.files)
    std::cout << "  " << std::left << std::setw(22) << name << std::right << std::setw(12)
              << digest.bytes << " bytes\n";
  for (const auto& [name, tensor] : checkpoint.model)
    std::cout << "    " << std::left << std::setw(32) << printable(name) << c10::str(tensor.sizes())
              << "\n";
}

std::optional<ItemTableSummary> table_of(const Checkpoint& checkpoint, const std::string& path) {
  if (!checkpoint.info.files.contains(kItemTableFile)) return std::nullopt;
  return summarise_item_table(path, parse_config(checkpoint.config).item.table);
}

double trained_share(const ItemTableSummary& table) {
  return static_cast<double>(table.trained_rows) / static_cast<double>(table.rows);
}

void print(const ItemTableSummary& table) {
  std::cout << "  item table    " << table.rows << " rows of " << table.width << " for "
            << table.items << " items, " << table.collisions << " hash collisions\n"
            << "    trained     " << table.trained_rows << " rows, " << 100 * trained_share(table)
            << " %\n"
            << "    norms       mean " << table.mean_norm << ", largest " << table.largest_norm
            << " of these, unknown row " << table.unknown_norm << "\n";
  if (table.changed_rows > 0)
    std::cout << "    changed     " << table.changed_rows << " rows apart from the whole copy\n";
}

nlohmann::json to_json(const ItemTableSummary& table) {
  return {{"items", table.items},
          {"rows", table.rows},
          {"width", table.width},
          {"hash_collisions", table.collisions},
          {"trained_rows", table.trained_rows},
          {"trained_share", trained_share(table)},
          {"mean_norm", table.mean_norm},
          {"largest_norm", table.largest_norm},
          {"unknown_norm", table.unknown_norm},
          {"changed_rows", table.changed_rows}};
}

int inspect(const std::string& path, const std::string& json_file) {
  require_checkpoint(path);
  const Checkpoint checkpoint = load_checkpoint(path, /*training=*/true);
  const std::optional<ItemTableSummary> table = table_of(checkpoint, path);
  print(checkpoint, path);
  if (table) print(*table);
  const CheckpointInfo& info = checkpoint.info;
  json object{{"step", info.step},
              {"epoch", info.position.epoch},
              {"epoch_consumed", info.position.consumed},
              {"samples", info.samples},
              {"loss", info.loss ? json(*info.loss) : json()},
              {"world_size", info.world_size},
              {"dataset_fingerprint", info.dataset_fingerprint},
              {"initial_weights", to_json(info.initial)},
              {"parameters", elements(checkpoint.model)},
              {"model", describe(checkpoint.model)},
              {"training", describe(checkpoint.training)}};
  if (table) object["item_table"] = to_json(*table);
  write_json_file(json_file, object);
  return kDone;
}

// Checkpoints; or run directories and mirrors, for all checkpoints in them.
int verify(const std::vector<std::string>& paths, const std::string& json_file) {
  std::vector<std::string> checkpoints;
  for (const std::string& path : paths) {
    require_directory(path);
    require_no_other_kind(path);
    std::vector<std::string> found = list_checkpoints(path + "/checkpoints");
    if (found.empty()) found = list_checkpoints(path);
    checkpoints.insert(checkpoints.end(), found.begin(), found.end());
    if (found.empty()) checkpoints.push_back(path);
  }
  json result = json::object();
  std::string damaged;
  for (const std::string& path : checkpoints) {
    const std::vector<std::string> damage = checkpoint_damage(path);
    if (!damage.empty() && was_removed(path)) {
      std::cout << path << ": removed by its training meanwhile" << std::endl;
      continue;
    }
    std::cout << path << (damage.empty() ? ": whole" : ": DAMAGED") << std::endl;
    for (const std::string& reason : damage) std::cout << "  " << printable_lines(reason) << "\n";
    if (!damage.empty()) damaged += " " + path;
    result[path] = damage;
  }
  write_json_file(json_file, result);
  if (!damaged.empty())
    throw CheckpointError("damaged:" + damaged +
                          ". `train` skips these and goes on from the newest whole one");
  return kDone;
}

// The paths of a run and of its dataset do not change the model.
std::vector<std::string> differences_but_paths(const Checkpoint& first, const Checkpoint& second) {
  std::vector<std::string> found =
      config_differences(parse_config(first.config), parse_config(second.config));
  std::erase_if(
      found, [](const std::string& line) { return is_path_key(line.substr(0, line.find(':'))); });
  return found;
}

int diff(const std::string& first_path, const std::string& second_path,
         const std::string& json_file) {
  require_checkpoint(first_path);
  require_checkpoint(second_path);
  const Checkpoint first = load_checkpoint(first_path, /*training=*/true);
  const Checkpoint second = load_checkpoint(second_path, /*training=*/true);
  std::vector<std::string> lines = info_differences(first.info, second.info);
  if (first.data != second.data) lines.emplace_back("data.json differs");
  json result = {{"manifest", lines}, {"tensors", json::object()}};
  const auto config = differences_but_paths(first, second);
  result["config"] = config;
  lines.insert(lines.end(), config.begin(), config.end());
  for (const auto& [a, b] :
       {std::pair(&first.model, &second.model), std::pair(&first.training, &second.training)})
    for (const TensorDifference& tensor : tensor_differences(*a, *b)) {
      lines.push_back(pinnerformer::describe(tensor));
      result["tensors"][tensor.name] = {{"mismatch", tensor.mismatch},
                                        {"elements", tensor.elements},
                                        {"largest_absolute", tensor.largest_absolute},
                                        {"largest_relative", tensor.largest_relative}};
    }
  result["same"] = lines.empty();
  for (const std::string& line : lines) std::cout << printable_lines(line) << "\n";
  if (lines.empty()) std::cout << "the same, bit by bit\n";
  write_json_file(json_file, result);
  return lines.empty() ? kDone : kDiffers;
}

void require_paths(const std::string& action, size_t given) {
  const bool two = action == "diff" || action == "copy";
  const bool any_number = action == "verify" || action == "prune" || action == "copy";
  const size_t wanted = two ? 2 : 1;
  if (given < wanted || (given > wanted && !any_number))
    throw UsageError("checkpoint " + action + " wants " +
                     (two ? "two directories" : "a directory") + ", not " + std::to_string(given));
}

}  // namespace

int command_checkpoint(const Arguments& arguments) {
  std::string action;
  std::vector<std::string> paths;
  CheckpointOptions keep;
  bool dry_run = false;
  CommandLine cli(
      "checkpoint", "Inspects, verifies, compares, copies and removes checkpoints.",
      "pinnerformer checkpoint inspect build/quickstart/run/checkpoints/step-000000500");
  cli.add_word("inspect|verify|diff|prune|copy", &action,
               "what to do; `diff` exits with 1 where they differ");
  cli.add_words(
      "DIR", &paths,
      "inspect: one checkpoint; diff: two; verify: any number, or runs; prune: runs; copy: "
      "checkpoints or runs, then the directory to copy to; RUN/500 is the checkpoint of "
      "step 500");
  cli.add_option("keep-last", "N", &keep.keep_last, "prune: newest whole checkpoints to keep");
  cli.add_option("keep-every", "STEPS", &keep.keep_every,
                 "prune: keep those at multiples of it, too; 0: none");
  cli.add_flag("dry-run", &dry_run, "prune: say what would be removed");
  if (!cli.parse(arguments)) return kDone;
  for (std::string& path : paths) path = resolve_checkpoint_path(path);
  const std::vector<std::string> actions{"inspect", "verify", "diff", "prune", "copy"};
  require_known("action", action, actions);
  require_paths(action, paths.size());
  if (keep.keep_last < 1 || keep.keep_every < 0)
    throw UsageError("checkpoint prune: --keep-last is 1 or more, --keep-every 0 or more");
  if (dry_run && action != "prune")
    throw UsageError("checkpoint " + action + ": --dry-run is an option of prune");
  if (action == "inspect") return inspect(paths[0], cli.json_file());
  if (action == "verify") return verify(paths, cli.json_file());
  if (action == "prune") return prune_checkpoints(paths, keep, dry_run, cli.json_file());
  if (action == "copy") return copy_checkpoints(paths, cli.json_file());
  return diff(paths[0], paths[1], cli.json_file());
}

}  // namespace pinnerformer
