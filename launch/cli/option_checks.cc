#include "launch/cli/option_checks.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

#include "configs/typed_value.h"
#include "dataloader/base/time_text.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {
namespace {

constexpr int64_t kYear2100 = 4102444800;  // seconds since 1970

// 20231220 is a date, not a second of August 1970.
bool is_date_number(int64_t number) { return number >= 19'000'101 && number <= 21'001'231; }

}  // namespace

int64_t time_option(const std::string& name, const std::string& text) {
  const std::string given = "--" + name + " " + text;
  const std::optional<int64_t> seconds = parse_utc(text);
  if (!seconds)
    throw UsageError(given +
                     ": expected a time such as 2024-05-31, 2024-05-31T23:59:59Z or seconds since "
                     "1970, in UTC");
  if (*seconds >= kYear2100)
    throw UsageError(given + " is after 2100: is it in milliseconds? Expected seconds since 1970");
  int64_t number = 0;
  if (text.size() == 8 && assign_text(&number, text) && is_date_number(number))
    throw UsageError(given + ": a date is written " + text.substr(0, 4) + "-" + text.substr(4, 2) +
                     "-" + text.substr(6) + "; a plain number is seconds since 1970");
  return *seconds;
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
