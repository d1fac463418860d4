// hnswlib's own functions for wide registers depend on the compiler's target; ours do not.
#include "launch/index/hnsw_graph.h"

#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>

#include "dataloader/base/errors.h"
#include "launch/index/inner_product.h"

namespace pinnerformer {
namespace {

struct Measure {
  int64_t width = 0;
  float largest_square = 0;  // while vectors are added: see HnswOptions
};

// The coordinate that brings a vector to the largest norm.
float padding(const float* vector, const Measure& measure) {
  const float square = inner_product(vector, vector, measure.width);
  return std::sqrt(std::max(measure.largest_square - square, 0.F));
}

// hnswlib looks for the least distance.
float distance(const void* first, const void* second, const void* parameter) {
  const auto& measure = *static_cast<const Measure*>(parameter);
  const auto* a = static_cast<const float*>(first);
  const auto* b = static_cast<const float*>(second);
  const float product = inner_product(a, b, measure.width);
  if (measure.largest_square == 0) return -product;
  return -product - padding(a, measure) * padding(b, measure);
}

class InnerProducts : public hnswlib::SpaceInterface<float> {
 public:
  explicit InnerProducts(int64_t width) : measure_{width} {}
  size_t get_data_size() override { return static_cast<size_t>(measure_.width) * sizeof(float); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return distance; }
  void* get_dist_func_param() override { return &measure_; }
  void set_largest_square(float square) { measure_.largest_square = square; }

 private:
  Measure measure_;
};

}  // namespace

struct HnswGraph::Library {
  Library(int64_t rows, int64_t width, const HnswOptions& options)
      : space(width),
        graph(&space, static_cast<size_t>(rows), static_cast<size_t>(options.m),
              static_cast<size_t>(options.ef_construction)) {}
  Library(const std::string& path, int64_t width) : space(width), graph(&space, path) {}
  InnerProducts space;
  hnswlib::HierarchicalNSW<float> graph;
};

HnswGraph::HnswGraph(int64_t rows, int64_t width, const HnswOptions& options)
    : shape_{rows, width, options.m},
      threads_(options.threads),
      largest_square_(options.largest_square),
      library_(std::make_unique<Library>(rows, width, options)) {}

HnswGraph::HnswGraph(const File& file, const HnswShape& shape) : shape_(shape) {
  check_hnsw_file(file, shape);
  // The file that was checked, also where another one has taken its name by now.
  const std::string opened = "/proc/self/fd/" + std::to_string(file.descriptor());
  try {
    library_ = std::make_unique<Library>(opened, shape.width);
  } catch (const std::runtime_error& error) {
    throw IoError("cannot load " + file.path() + ": hnswlib: " + error.what());
  }
}

HnswGraph::HnswGraph(HnswGraph&&) noexcept = default;
HnswGraph& HnswGraph::operator=(HnswGraph&&) noexcept = default;
HnswGraph::~HnswGraph() = default;

void HnswGraph::add(int64_t first, std::span<const float> vectors) {
  const int64_t count = std::ssize(vectors) / shape_.width;
  library_->space.set_largest_square(largest_square_);
  run_on_threads(threads_, count, [&](int64_t i) {
    library_->graph.addPoint(vectors.data() + i * shape_.width, static_cast<size_t>(first + i));
  });
  library_->space.set_largest_square(0);
}

void HnswGraph::save(const std::string& path) const {
  library_->graph.saveIndex(path);
  try {
    check_hnsw_file(File::open(path), shape_);
  } catch (const DataError& error) {
    throw IoError("cannot write " + path + ", is the disk full? " + error.what());
  }
}

std::vector<ScoredRow> HnswGraph::search(const float* query, int64_t count) const {
  auto found = library_->graph.searchKnn(query, static_cast<size_t>(std::min(count, shape_.rows)));
  std::vector<ScoredRow> best;
  for (; !found.empty(); found.pop())
    best.push_back({static_cast<int64_t>(found.top().second), -found.top().first});
  std::ranges::sort(best, better);
  return best;
}

void HnswGraph::set_ef(int64_t ef) { library_->graph.setEf(static_cast<size_t>(ef)); }

std::vector<ScoredRow> HnswGraph::search_all(const float* query, int64_t count,
                                             std::span<const int64_t> left_out) const {
  std::vector<ScoredRow> best;  // a heap, the worst of the best on top
  const auto& graph = library_->graph;
  for (hnswlib::tableint i = 0; i < graph.cur_element_count; ++i) {
    const auto row = static_cast<int64_t>(graph.getExternalLabel(i));
    const auto* vector =
        static_cast<const float*>(static_cast<const void*>(graph.getDataByInternalId(i)));
    const ScoredRow found{row, inner_product(query, vector, shape_.width)};
    const bool full = std::ssize(best) == count;
    if (full && !better(found, best.front())) continue;
    if (std::ranges::binary_search(left_out, row)) continue;
    if (full) {
      std::ranges::pop_heap(best, better);
      best.pop_back();
    }
    best.push_back(found);
    std::ranges::push_heap(best, better);
  }
  std::ranges::sort(best, better);
  return best;
}

const float* HnswGraph::vector(int64_t row) const {
  const auto& graph = library_->graph;
  const hnswlib::tableint at = graph.label_lookup_.at(static_cast<size_t>(row));
  return static_cast<const float*>(static_cast<const void*>(graph.getDataByInternalId(at)));
}

void run_on_threads(int64_t threads, int64_t count, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next = 0;
  std::exception_ptr failure;
  std::mutex failure_lock;
  const auto run = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::scoped_lock lock(failure_lock);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int64_t t = 1; t < std::min(threads, count); ++t) others.emplace_back(run);
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pinnerformer
