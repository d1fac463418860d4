#include "launch/cli/option_checks.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "dataloader/base/time_text.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {
int64_t time_option(const std::string& name, const std::string& text) {
  if (const std::string problem = time_problem(text); !problem.empty())
    throw UsageError("--" + name + " " + problem);
  return *parse_utc(text);
}

void require_hdf5_ending(const std::string& name, const std::string& file) {
  constexpr auto kOthers =
      std::to_array<std::string_view>({".npy", ".npz", ".csv", ".tsv", ".txt", ".json", ".parquet",
                                       ".gz", ".zst", ".safetensors", ".yaml"});
  const std::string ending = std::filesystem::path(file).extension();
  if (std::ranges::find(kOthers, ending) != kOthers.end())
    throw UsageError("--" + name + " " + file + ": the file is HDF5, not " + ending +
                     "; give it the ending .h5");
}

}  // namespace pinnerformer
