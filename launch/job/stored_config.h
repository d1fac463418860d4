// Which keys a checkpoint fixes: another value would make another model, or evaluate on users of
// the training.
#pragma once
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace pinnerformer {

// Throws ConfigError listing every key whose value differs, except keys that begin with one of
// `may_change` ("checkpoint."). `what` is the command's purpose: "go on with DIR".
void require_stored_config(const RunConfig& given, const RunConfig& stored,
                           const std::vector<std::string>& may_change, const std::string& what);

// Throws so where a run with the configuration `stored` would not go on with `given` as it began:
// all that the training computes is fixed, and where it validates what validations depend on.
void require_same_run(const RunConfig& given, const RunConfig& stored);

// Throws ConfigError listing every key whose value makes another model of `given` than of `stored`:
// weights of the one do not fit, or mean something else, in the other. `what` as above.
void require_same_model(const RunConfig& given, const RunConfig& stored, const std::string& what);

}  // namespace pinnerformer
