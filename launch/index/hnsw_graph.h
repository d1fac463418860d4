// A graph for approximate maximum inner product search: HNSW (Malkov and Yashunin 2018), by
// hnswlib.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "launch/index/hnsw_file.h"

namespace pinnerformer {

struct ScoredRow {
  int64_t row = 0;
  float score = 0;  // inner product with the query
  bool operator==(const ScoredRow&) const = default;
};

// The order of results: higher scores first, equal ones by row.
[[nodiscard]] inline bool better(const ScoredRow& a, const ScoredRow& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

struct HnswOptions {
  int64_t m = 32;                 // links of a vector: memory against recall
  int64_t ef_construction = 200;  // candidates while building: time against recall
  int64_t threads = 1;
  // Square of the largest norm of the vectors. Neighbours are chosen as if a further coordinate
  // gave all vectors this norm (Bachrach et al. 2014): by inner products alone, long vectors would
  // be everybody's neighbours and others hard to reach. 0 where all norms are equal.
  float largest_square = 0;
};

class HnswGraph {
 public:
  // Empty, for up to `rows` vectors of `width` numbers.
  HnswGraph(int64_t rows, int64_t width, const HnswOptions& options);
  // Reads the file that save() wrote. Throws what check_hnsw_file() throws.
  HnswGraph(const File& file, const HnswShape& shape);
  HnswGraph(HnswGraph&&) noexcept;
  HnswGraph& operator=(HnswGraph&&) noexcept;
  ~HnswGraph();

  // Adds rows [first, first + n); vectors [n, width], finite. With one thread, equal calls give
  // equal graphs.
  void add(int64_t first, std::span<const float> vectors);
  // Overwrites the file. Throws IoError where it did not become one that can be loaded: hnswlib
  // does not look whether its writes succeed.
  void save(const std::string& path) const;

  // Up to `count` rows, best first; searches with max(ef, count) candidates. For any thread.
  [[nodiscard]] std::vector<ScoredRow> search(const float* query, int64_t count) const;
  void set_ef(int64_t ef);
  // The best rows by comparison with all vectors, and none of `left_out` (ascending).
  [[nodiscard]] std::vector<ScoredRow> search_all(const float* query, int64_t count,
                                                  std::span<const int64_t> left_out = {}) const;
  [[nodiscard]] const float* vector(int64_t row) const;
  [[nodiscard]] int64_t rows() const { return shape_.rows; }
  [[nodiscard]] int64_t width() const { return shape_.width; }

 private:
  struct Library;
  HnswShape shape_;
  int64_t threads_ = 1;
  float largest_square_ = 0;
  std::unique_ptr<Library> library_;
};

// Calls work(i) for i in [0, count), on so many threads. The first exception is thrown again.
void run_on_threads(int64_t threads, int64_t count, const std::function<void(int64_t)>& work);

}  // namespace pinnerformer
