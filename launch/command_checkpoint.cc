// pinnerformer checkpoint inspect: what a checkpoint holds.
#include <c10/util/StringUtil.h>

#include <filesystem>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/errors.h"
#include "launch/cli.h"
#include "launch/command.h"
#include "launch/json_file.h"
#include "trainer/checkpoint.h"

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
  print(checkpoint, path);
  const CheckpointInfo& info = checkpoint.info;
  write_json_file(cli.json_file(), {{"step", info.step},
                                    {"epoch", info.position.epoch},
                                    {"epoch_consumed", info.position.consumed},
                                    {"samples", info.samples},
                                    {"world_size", info.world_size},
                                    {"dataset_fingerprint", info.dataset_fingerprint},
                                    {"parameters", elements(checkpoint.model)},
                                    {"model", describe(checkpoint.model)},
                                    {"training", describe(checkpoint.training)}});
  return kDone;
}

}  // namespace pinnerformer
