// Checks of option values that several commands share. All throw UsageError.
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

// Seconds since 1970 (UTC) of the option --NAME. Refuses a time after 2100, which is usually in
// milliseconds, and a number of eight digits that is a date.
[[nodiscard]] int64_t time_option(const std::string& name, const std::string& text);

// Refuses the name of an HDF5 file to write whose ending belongs to another format.
void require_hdf5_ending(const std::string& name, const std::string& file);

}  // namespace pinnerformer
