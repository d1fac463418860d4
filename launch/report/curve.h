// A quantity over the steps of a run, of any length, in bounded memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pinnerformer {

// The mean and the range of `values` neighbouring values.
struct CurvePoint {
  int64_t step = 0;  // of the last of them
  int64_t values = 0;
  double mean = 0, low = 0, high = 0;
};

// Holds at most `most_points` points: where there are more values, each point stands for as many
// neighbours, a power of two. No spike is lost: it stays in the range of its point.
class Curve {
 public:
  explicit Curve(size_t most_points = 1000);
  void add(int64_t step, double value);  // steps ascend; a value that is not finite is left out
  [[nodiscard]] const std::vector<CurvePoint>& points() const { return points_; }
  [[nodiscard]] bool empty() const { return points_.empty(); }

 private:
  void halve();
  size_t most_points_;
  int64_t values_per_point_ = 1;
  std::vector<CurvePoint> points_;
};

}  // namespace pinnerformer
