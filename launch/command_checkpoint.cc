// pinnerformer checkpoint inspect: what a checkpoint holds.
#include <c10/util/StringUtil.h>

#include <filesystem>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "configs/run_config.h"
#include "dataloader/errors.h"
#include "launch/cli.h"
#include "launch/command.h"
#include "launch/json_file.h"
#include "trainer/checkpoint.h"
#include "trainer/item_table_file.h"

namespace pinnerformer {
namespace {

nlohmann::json describe(const std::map<std::string, torch::Tensor>& tensors) {
  nlohmann::json list = nlohmann::json::object();
  for (const auto& [name, tensor] : tensors)
    list[name] = {{"shape", tensor.sizes().vec()}, {"type", c10::toString(tensor.scalar_type())}};
  return list;
}

int64_t elements(const std::map<std::string, torch::Tensor>& tensors) {
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

void print(const Checkpoint& checkpoint, const std::string& path) {
  const CheckpointInfo& info = checkpoint.info;
  std::cout << path << "\n"
            << "  step          " << info.step << "\n"
            << "  samples       " << info.samples << " users, epoch " << info.position.epoch << " + "
            << info.position.consumed << "\n"
            << "  world size    " << info.world_size << "\n"
            << "  dataset       " << info.dataset_fingerprint << "\n"
            << "  parameters    " << elements(checkpoint.model) << "\n"
            << "  checksums     all files match the manifest\n";
  for (const auto& [name, digest] : info.files)
    std::cout << "  " << std::left << std::setw(22) << name << std::right << std::setw(12)
              << digest.bytes << " bytes\n";
  for (const auto& [name, tensor] : checkpoint.model)
    std::cout << "    " << std::left << std::setw(32) << name << c10::str(tensor.sizes()) << "\n";
}

std::optional<ItemTableSummary> table_of(const Checkpoint& checkpoint, const std::string& path) {
  if (!checkpoint.info.files.contains(kItemTableFile)) return std::nullopt;
  return summarise_item_table(path, parse_config(checkpoint.config).item.id_table);
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

}  // namespace

int command_checkpoint(const Arguments& arguments) {
  std::string action, path;
  CommandLine cli("checkpoint", "Shows what a checkpoint holds, after comparing its checksums.",
                  "pinnerformer checkpoint inspect build/quickstart/run/checkpoints/step-000000500");
  cli.add_word("inspect", &action, "what to do");
  cli.add_word("DIR", &path, "the checkpoint");
  if (!cli.parse(arguments)) return kDone;
  const std::vector<std::string> actions{"inspect"};
  require_known("action", action, actions);

  if (!std::filesystem::is_directory(path)) throw MissingInputError(path + " does not exist");
  if (std::filesystem::is_directory(path + "/checkpoints"))
    throw UsageError(path + " is a run directory; name one of " + path + "/checkpoints/step-…");
  const Checkpoint checkpoint = load_checkpoint(path, /*training=*/true);
  const std::optional<ItemTableSummary> table = table_of(checkpoint, path);
  print(checkpoint, path);
  if (table) print(*table);
  const CheckpointInfo& info = checkpoint.info;
  nlohmann::json object{{"step", info.step},
                        {"epoch", info.position.epoch},
                        {"epoch_consumed", info.position.consumed},
                        {"samples", info.samples},
                        {"world_size", info.world_size},
                        {"dataset_fingerprint", info.dataset_fingerprint},
                        {"parameters", elements(checkpoint.model)},
                        {"model", describe(checkpoint.model)},
                        {"training", describe(checkpoint.training)}};
  if (table) object["item_table"] = to_json(*table);
  write_json_file(cli.json_file(), object);
  return kDone;
}

}  // namespace pinnerformer
