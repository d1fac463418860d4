// The fingerprints of the two kinds of dataset files: one definition for the writer, which stores
// them, and for `data validate`, which compares.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pinnerformer {

// Numeric datasets that have checksums. Those that a file lacks are skipped.
[[nodiscard]] const std::vector<std::string>& users_file_columns();
[[nodiscard]] const std::vector<std::string>& items_file_columns();

// Adds /checksum/... for each of the columns the file has.
void write_checksums(const std::string& path, const std::vector<std::string>& columns);

// From the stored checksums and the strings of a file; items.h5 also from its list of parts.
[[nodiscard]] uint64_t users_file_fingerprint(const std::string& path);
[[nodiscard]] uint64_t items_file_fingerprint(const std::string& path);

}  // namespace pinnerformer
