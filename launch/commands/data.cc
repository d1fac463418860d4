// pinnerformer data: describes a dataset, or checks it against the format.
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/inspect/dataset_summary.h"
#include "dataloader/inspect/dataset_validate.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"

namespace pinnerformer {
namespace {

void inspect(const std::string& directory, const PositiveOptions& positives,
             const std::string& json_file) {
  const Dataset dataset = Dataset::open(directory);
  const DatasetSummary summary = summarize_dataset(dataset, PositiveRule(positives, dataset));
  std::cout << dataset_summary_text(summary);
  write_json_file(json_file, nlohmann::ordered_json::parse(dataset_summary_json(summary)));
}

void validate(const std::string& directory, const std::string& json_file) {
  const ValidatedDataset result = validate_dataset(directory);
  std::cout << directory << " is valid: " << result.users << " users, " << result.items
            << " items, " << result.events << " events, " << result.bytes
            << " bytes match their checksums\n";
  write_json_file(json_file, {{"valid", true},
                              {"users", result.users},
                              {"items", result.items},
                              {"events", result.events},
                              {"bytes", result.bytes},
                              {"fingerprint", result.fingerprint}});
}

}  // namespace

int command_data(const Arguments& arguments) {
  std::string what;
  std::string directory;
  CommandLine cli("data", "Shows what is in a dataset, or checks every promise of its format.",
                  "pinnerformer data inspect dataset positives.actions=click,like");
  cli.add_word("inspect|validate", &what, "what to do");
  cli.add_word("DIR", &directory, "the dataset");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  const std::vector<std::string> known = {"inspect", "validate"};
  require_known("data command", what, known);
  if (what == "inspect") {
    inspect(directory, cli.config().positives, cli.json_file());
  } else {
    validate(directory, cli.json_file());
  }
  return kDone;
}

}  // namespace pinnerformer
