// The whole configuration of a run: defaults <- YAML file <- key=value words.
#pragma once
#include <string>
#include <vector>

#include "comm/options.h"
#include "dataloader/options.h"
#include "trainer/options.h"

namespace pinnerformer {

struct RunConfig : TrainerOptions {
  DataOptions data;
  PositiveOptions positives;
  SplitOptions split;
  CommOptions comm;
  EvaluateOptions evaluate;
};

// Reads `file` ("" for none), applies `overrides` ("train.steps=200") and checks every value and
// every contradiction between values. Throws ConfigError, or MissingConfigError without the file.
[[nodiscard]] RunConfig load_config(const std::string& file,
                                    const std::vector<std::string>& overrides);
// Parses text that to_yaml() of this or an earlier version wrote: the configuration of a run or of
// a checkpoint. Former keys are translated.
[[nodiscard]] RunConfig parse_config(const std::string& yaml);
// `config` with key=value words applied, checked again. For a configuration out of a checkpoint.
[[nodiscard]] RunConfig override_config(const RunConfig& config,
                                        const std::vector<std::string>& overrides);
// What training needs beyond a consistent configuration: data, a run directory, positives, users.
// Throws ConfigError. Apart from load_config() because evaluating or printing needs none of it.
void check_trainable(const RunConfig& config);
// Every key with its value, in a form that load_config() reads back to the same configuration.
[[nodiscard]] std::string to_yaml(const RunConfig& config);
// As to_yaml(), each line with where its value came from (default, FILE:LINE or command line) and
// what the key means.
[[nodiscard]] std::string describe_config(const std::string& file,
                                          const std::vector<std::string>& overrides);
// The same for a file that a run or a checkpoint stored.
[[nodiscard]] std::string describe_stored_config(const std::string& file,
                                                 const std::vector<std::string>& overrides);
// Keys whose values differ: "model.hidden: 64 here, 128 there".
[[nodiscard]] std::vector<std::string> config_differences(const RunConfig& here,
                                                          const RunConfig& there);

}  // namespace pinnerformer
