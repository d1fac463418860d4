// pinnerformer synth: a dataset with a known structure, of any size.
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/dataset/dataset_writer.h"
#include "dataloader/import/synthetic.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"

namespace pinnerformer {
namespace {

void check(const SyntheticOptions& options) {
  require_directory_name("out", options.out);
  require_at_least("users", options.users, 1);
  require_at_least("events-per-user", options.events_per_user, 1);
  require_at_least("topics", options.topics, 1);
  require_at_least("items", options.items, options.topics);
  require_at_least("days", options.days, 1);
  require_at_least("vector-width", options.vector_width, 0);
  const auto share = [](const char* name, double value) {
    if (value < 0 || value > 1)
      throw UsageError(std::string("--") + name + " is a share from 0 to 1, not " +
                       std::to_string(value));
  };
  share("exploration", options.exploration);
  share("drift", options.drift_per_day);
  if (holds_dataset(options.out) && !options.overwrite)
    throw UsageError(options.out + " already holds a dataset; give --overwrite to replace it");
}

}  // namespace

int command_synth(const Arguments& arguments) {
  SyntheticOptions options;
  CommandLine cli("synth",
                  "Writes a dataset with lasting interests, one-topic sessions and slow drift.",
                  "pinnerformer synth --users 4000 --items 8000 --out build/synth");
  cli.add_required("out", "DIR", &options.out, "directory to write");
  cli.add_option("users", "U", &options.users, "number of users");
  cli.add_option("items", "I", &options.items, "number of items");
  cli.add_option("events-per-user", "E", &options.events_per_user, "mean events of a user");
  cli.add_option("topics", "N", &options.topics, "number of topics");
  cli.add_option("exploration", "SHARE", &options.exploration,
                 "share of sessions about a random topic");
  cli.add_option("drift", "SHARE", &options.drift_per_day,
                 "probability per day that a user replaces an interest");
  cli.add_option("days", "N", &options.days, "number of days that the events span");
  cli.add_option("vector-width", "C", &options.vector_width,
                 "width of the content vectors; 0: none");
  cli.add_option("seed", "N", &options.seed, "seed of all random draws");
  cli.add_flag("overwrite", &options.overwrite, "replace an existing dataset");
  if (!cli.parse(arguments)) return kDone;
  check(options);
  write_synthetic_dataset(options);
  std::cout << "wrote " << options.users << " users and " << options.items << " items to "
            << options.out << "\n";
  write_json_file(cli.json_file(),
                  {{"out", options.out}, {"users", options.users}, {"items", options.items}});
  return kDone;
}

}  // namespace pinnerformer
