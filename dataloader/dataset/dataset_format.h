// Names of the dataset format, version 1 (docs/data_format.md), shared by its writer and readers.
#pragma once
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

namespace pinnerformer {

constexpr const char* kDatasetFormat = "pinnerformer-dataset";
constexpr int64_t kDatasetVersion = 1;
constexpr const char* kItemsFile = "items.h5";
// Name in the vocabularies for an event without an action or a surface.
constexpr const char* kUnknownName = "unknown";

constexpr int64_t kWidestVector = 65536;

// Semantic ids of the items, and the centres that their codes stand for.
constexpr const char* kCodesColumn = "/item/semantic_id";
constexpr const char* kCodebooksColumn = "/semantic_id/codebook";
constexpr int64_t kMostCodeLevels = 16;
constexpr int64_t kMostCodesOfLevel = 8192;

// Seconds since 1970 that a dataset may hold: sums and differences of them cannot overflow.
[[nodiscard]] constexpr bool is_storable_time(int64_t seconds) {
  constexpr int64_t kYear10000 = 253'402'300'800;
  return seconds > -kYear10000 && seconds < kYear10000;
}
constexpr const char* kStorableTimes = "seconds since 1970, up to the year 9999";

// users-00000-of-00003.h5
[[nodiscard]] inline std::string part_file_name(int64_t part, int64_t parts) {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "users-%05lld-of-%05lld.h5", static_cast<long long>(part),
                static_cast<long long>(parts));
  return name.data();
}

// "/event/item" -> "/checksum/event/item"
[[nodiscard]] inline std::string checksum_name(const std::string& dataset) {
  return "/checksum" + dataset;
}

}  // namespace pinnerformer
