// Small datasets for tests: a directory that removes itself and rows in memory that become files.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace pinnerformer {

inline constexpr int64_t kDay = 86400;  // seconds

// A directory that exists as long as the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Writes `content` to `path` and returns `path`.
std::string write_file(const std::string& path, const std::string& content);
[[nodiscard]] std::string content_of(const std::string& path);

// One event with external names; rows may come in any order.
struct EventRow {
  int64_t user = 0;
  int64_t item = 0;
  std::string action = "view";
  std::string surface = "home";
  int64_t time = 0;                                          // seconds since 1970 UTC
  float duration = std::numeric_limits<float>::quiet_NaN();  // seconds
};

// What a fixture dataset has besides its events.
struct FixtureItems {
  int64_t count = 0;                // items 0 .. count - 1 exist; 0: largest item of the events + 1
  torch::Tensor vectors;            // [count, C] of any float type, or undefined: no vectors
  std::vector<std::string> titles;  // empty, or one per item
  std::vector<int32_t> topics;      // empty, or one per item; names become "topic0", ...
  bool float32_vectors = false;
};

// Writes `rows` as the dataset DIRECTORY/dataset and returns its path. External ids are integers;
// item row = item id. Rows of one user are sorted by time, equal times keep their order.
std::string write_dataset(const std::string& directory, const std::vector<EventRow>& rows,
                          const FixtureItems& items = {}, int64_t part_events = int64_t{1} << 26);

}  // namespace pinnerformer
