#include "launch/report/curve.h"

#include <algorithm>
#include <cmath>

namespace pinnerformer {
namespace {

void merge(CurvePoint& point, const CurvePoint& later) {
  const auto values = static_cast<double>(point.values + later.values);
  point.mean += (later.mean - point.mean) * static_cast<double>(later.values) / values;
  point.low = std::min(point.low, later.low);
  point.high = std::max(point.high, later.high);
  point.values += later.values;
  point.step = later.step;
}

}  // namespace

Curve::Curve(size_t most_points) : most_points_(std::max<size_t>(2, most_points)) {}

void Curve::add(int64_t step, double value) {
  if (!std::isfinite(value)) return;
  const CurvePoint point{.step = step, .values = 1, .mean = value, .low = value, .high = value};
  if (!points_.empty() && points_.back().values < values_per_point_) {
    merge(points_.back(), point);
    return;
  }
  if (points_.size() == most_points_) halve();
  if (!points_.empty() && points_.back().values < values_per_point_)
    merge(points_.back(), point);
  else
    points_.push_back(point);
}

void Curve::halve() {
  values_per_point_ *= 2;
  size_t kept = 0;
  for (size_t i = 0; i < points_.size(); i += 2) {
    CurvePoint point = points_[i];
    if (i + 1 < points_.size()) merge(point, points_[i + 1]);
    points_[kept++] = point;
  }
  points_.resize(kept);
}

}  // namespace pinnerformer
