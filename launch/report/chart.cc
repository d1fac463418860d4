#include "launch/report/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "launch/report/scale.h"
#include "launch/report/svg.h"

namespace pinnerformer {
namespace {

constexpr size_t kColors = 8;
constexpr double kRowHeight = 24;

// The least and the largest of the values that were seen.
struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void add(const Estimate& estimate) {
    add(estimate.value);
    add(estimate.low);
    add(estimate.high);
  }
  [[nodiscard]] bool empty() const { return low > high; }
};

Scale value_scale(Range range, bool from_zero, double from, double to) {
  if (!from_zero || range.low < 0) return fitted_scale(range.low, range.high, from, to);
  Scale scale = fitted_scale(0, std::max(range.high, 1e-9), from, to);
  scale.low = 0;
  return scale;
}

// Text that begins at most so many units wide would leave its place otherwise.
std::string shortened(const std::string& name, size_t most) {
  if (name.size() <= most) return name;
  size_t end = most - 1;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
  return name.substr(0, end) + "…";
}

Markup figure(const ChartHead& head, const Markup& content) {
  Markup caption = text(head.title);
  if (!head.unit.empty())
    caption += text(" ") + element("span", {{"class", "unit"}}, text(head.unit));
  return element("figure", {{"class", "chart"}}, element("figcaption", caption) + content);
}

struct Area {
  double left, right, top, bottom;
};

Markup horizontal_grid(const Scale& y, const Area& area) {
  Markup grid;
  const std::vector<double> values = ticks(y, 5);
  for (const double value : values) {
    grid += svg_line("grid", area.left, y(value), area.right, y(value));
    grid += svg_text("tick end", area.left - 8, y(value) + 4, tick_text(value, values));
  }
  return grid;
}

Markup vertical_grid(const Scale& x, const Area& area, int count) {
  Markup grid;
  const std::vector<double> values = ticks(x, count);
  for (const double value : values) {
    grid += svg_line("grid", x(value), area.top, x(value), area.bottom);
    grid += svg_text("tick middle", x(value), area.bottom + 18, tick_text(value, values));
  }
  return grid;
}

Markup step_axis(const Scale& x, const Area& area) {
  Markup axis = svg_line("axis", area.left, area.bottom, area.right, area.bottom);
  const std::vector<double> values = ticks(x, 6);
  for (const double value : values)
    axis += svg_text("tick middle", x(value), area.bottom + 18, tick_text(value, values));
  return axis + svg_text("tick end", area.right, area.bottom + 34, "step");
}

std::string point_hint(const NamedCurve& curve, const CurvePoint& point) {
  std::string hint =
      curve.name + ", step " + count_text(point.step) + ": " + number_text(point.mean, "%.5g");
  if (point.values > 1)
    hint += " (" + number_text(point.low, "%.5g") + " to " + number_text(point.high, "%.5g") +
            " in " + count_text(point.values) + " records)";
  return hint;
}

Markup curve_shapes(const NamedCurve& curve, const Scale& x, const Scale& y) {
  const std::vector<CurvePoint>& points = curve.curve->points();
  const std::string color = color_class(curve.color);
  Places line, band;
  for (const CurvePoint& point : points) {
    line.emplace_back(x(static_cast<double>(point.step)), y(point.mean));
    band.emplace_back(line.back().first, y(point.high));
  }
  for (auto point = points.rbegin(); point != points.rend(); ++point)
    band.emplace_back(x(static_cast<double>(point->step)), y(point->low));
  Markup shapes;
  const bool has_band =
      std::ranges::any_of(points, [](const CurvePoint& point) { return point.values > 1; });
  if (has_band) shapes += svg_polygon("band " + color, band);
  shapes += svg_polyline("line " + color, line);
  // Few points are shown, of many every so-manieth answers to the pointer.
  constexpr size_t kMostShown = 30;
  constexpr size_t kMostHints = 80;
  const std::string style = (points.size() <= kMostShown ? "dot " : "hint ") + color;
  const size_t every = (points.size() + kMostHints - 1) / kMostHints;
  for (size_t i = 0; i < points.size(); i += every)
    shapes += svg_circle(style, line[i].first, line[i].second,
                         points.size() <= kMostShown ? 2.5 : 6, point_hint(curve, points[i]));
  return shapes;
}

Markup error_bar(const std::string& color, bool upright, double at, double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high)) return {};
  return upright ? svg_line("error " + color, at, low, at, high)
                 : svg_line("error " + color, low, at, high, at);
}

std::string estimate_hint(const std::string& name, const Estimate& estimate) {
  std::string hint = name + ": " + number_text(estimate.value, "%.4f");
  if (std::isfinite(estimate.low) && std::isfinite(estimate.high))
    hint += " (" + number_text(estimate.low, "%.4f") + " to " + number_text(estimate.high, "%.4f") +
            ")";
  return hint;
}

// Series stand side by side within a category, so that their intervals do not cover each other.
Markup series_shapes(const EstimatedSeries& series, double offset, const Scale& x, const Scale& y) {
  const std::string color = color_class(series.color);
  Markup bars, dots;
  Places line;
  for (size_t i = 0; i < series.estimates.size(); ++i) {
    const Estimate& estimate = series.estimates[i];
    if (!std::isfinite(estimate.value)) continue;
    const double at = x(static_cast<double>(i)) + offset;
    line.emplace_back(at, y(estimate.value));
    bars += error_bar(color, /*upright=*/true, at, y(estimate.low), y(estimate.high));
    dots +=
        svg_circle("dot " + color, at, y(estimate.value), 4, estimate_hint(series.name, estimate));
  }
  if (line.size() < 2) return bars + dots;
  return svg_polyline("link " + color, line) + bars + dots;
}

}  // namespace

std::string color_class(size_t number) { return "s" + std::to_string(number % kColors); }

Markup line_chart(const ChartHead& head, const std::vector<NamedCurve>& curves) {
  constexpr double kWidth = 560, kHeight = 260;
  constexpr Area kArea{64, kWidth - 24, 10, kHeight - 42};
  Range steps, values;
  for (const NamedCurve& curve : curves)
    for (const CurvePoint& point : curve.curve->points()) {
      steps.add(static_cast<double>(point.step));
      values.add(point.low);
      values.add(point.high);
    }
  if (values.empty()) return {};
  const Scale x{
      .low = std::min(0.0, steps.low), .high = steps.high, .from = kArea.left, .to = kArea.right};
  const Scale y = value_scale(values, head.from_zero, kArea.bottom, kArea.top);
  Markup content = horizontal_grid(y, kArea) + step_axis(x, kArea);
  for (const NamedCurve& curve : curves)
    if (!curve.curve->empty()) content += curve_shapes(curve, x, y);
  return figure(head, svg_image(kWidth, kHeight, head.title + " over steps", content));
}

Markup interval_chart(const ChartHead& head, const std::vector<NamedEstimate>& rows,
                      const char* format) {
  constexpr double kWidth = 720, kLabels = 210, kValues = 70;
  constexpr size_t kMostLetters = 30;
  Range values;
  for (const NamedEstimate& row : rows) values.add(row.estimate);
  if (values.empty()) return {};
  const Area area{kLabels, kWidth - kValues, 6, 6 + kRowHeight * static_cast<double>(rows.size())};
  const Scale x = value_scale(values, head.from_zero, area.left, area.right);
  Markup content = vertical_grid(x, area, 6);
  double y = area.top + kRowHeight / 2;
  for (const NamedEstimate& row : rows) {
    const std::string color = color_class(row.color);
    content += svg_text("label end", area.left - 12, y + 4, shortened(row.name, kMostLetters));
    content += svg_text("value end", kWidth - 4, y + 4, number_text(row.estimate.value, format));
    if (std::isfinite(row.estimate.value)) {
      content += error_bar(color, /*upright=*/false, y, x(row.estimate.low), x(row.estimate.high));
      content += svg_circle("dot " + color, x(row.estimate.value), y, 5,
                            estimate_hint(row.name, row.estimate));
    }
    y += kRowHeight;
  }
  return figure(head, svg_image(kWidth, area.bottom + 26, head.title, content));
}

Markup bar_chart(const ChartHead& head, const std::vector<NamedValue>& rows, const char* format) {
  constexpr double kWidth = 720, kLabels = 210, kValues = 70, kBar = 14;
  constexpr size_t kMostLetters = 30;
  Range values;
  for (const NamedValue& row : rows) values.add(row.value);
  if (values.empty()) return {};
  const Area area{kLabels, kWidth - kValues, 6, 6 + kRowHeight * static_cast<double>(rows.size())};
  const Scale x = value_scale(values, /*from_zero=*/true, area.left, area.right);
  Markup content = vertical_grid(x, area, 6);
  double y = area.top + kRowHeight / 2;
  for (const NamedValue& row : rows) {
    content += svg_text("label end", area.left - 12, y + 4, shortened(row.name, kMostLetters));
    content += svg_text("value end", kWidth - 4, y + 4, number_text(row.value, format));
    if (row.value > 0)
      content += svg_rectangle("fill " + color_class(row.color), area.left, y - kBar / 2,
                               x(row.value) - area.left, kBar, row.hint);
    y += kRowHeight;
  }
  return figure(head, svg_image(kWidth, area.bottom + 26, head.title, content));
}

Markup category_chart(const ChartHead& head, const std::vector<std::string>& categories,
                      const std::vector<EstimatedSeries>& series) {
  constexpr double kWidth = 720, kHeight = 290;
  constexpr Area kArea{64, kWidth - 14, 10, kHeight - 34};
  Range values;
  for (const EstimatedSeries& one : series)
    for (const Estimate& estimate : one.estimates) values.add(estimate);
  if (values.empty() || categories.empty()) return {};
  const auto count = static_cast<double>(categories.size());
  const Scale x{.low = -0.5, .high = count - 0.5, .from = kArea.left, .to = kArea.right};
  const Scale y = value_scale(values, head.from_zero, kArea.bottom, kArea.top);
  Markup content = horizontal_grid(y, kArea);
  content += svg_line("axis", kArea.left, kArea.bottom, kArea.right, kArea.bottom);
  const double width = (kArea.right - kArea.left) / count;
  for (size_t i = 0; i < categories.size(); ++i)
    content += svg_text("tick middle", x(static_cast<double>(i)), kArea.bottom + 18,
                        shortened(categories[i], static_cast<size_t>(std::max(4.0, width / 6.5))));
  const double apart =
      std::min(14.0, 0.7 * width / std::max(1.0, static_cast<double>(series.size())));
  for (size_t i = 0; i < series.size(); ++i)
    content += series_shapes(
        series[i], apart * (static_cast<double>(i) - (static_cast<double>(series.size()) - 1) / 2),
        x, y);
  return figure(head, svg_image(kWidth, kHeight, head.title, content));
}

Markup share_chart(const ChartHead& head, const std::vector<ShareRow>& rows) {
  constexpr double kWidth = 720, kLabels = 160, kBar = 18, kRoomForText = 44;
  constexpr size_t kMostLetters = 22;
  Markup content;
  double y = 4;
  for (const ShareRow& row : rows) {
    double total = 0;
    for (const SharePart& part : row.parts) total += part.amount;
    if (!(total > 0)) continue;
    content += svg_text("label end", kLabels - 12, y + 14, shortened(row.name, kMostLetters));
    double x = kLabels;
    for (const SharePart& part : row.parts) {
      const double width = (kWidth - kLabels) * part.amount / total;
      const std::string share = number_text(100 * part.amount / total, "%.1f %%");
      content += svg_rectangle(part.style, x, y, width, kBar, part.name + ": " + share);
      if (width > kRoomForText) content += svg_text("share middle", x + width / 2, y + 13, share);
      x += width;
    }
    y += kRowHeight + 4;
  }
  if (content.empty()) return {};
  return figure(head, svg_image(kWidth, y, head.title, content));
}

Markup legend(const std::vector<LegendEntry>& entries) {
  Markup items;
  for (const LegendEntry& entry : entries) {
    const Markup sample = svg_image(14, 14, "", svg_rectangle(entry.style, 1, 1, 12, 12, ""));
    items += element("li", sample + text(entry.name));
  }
  return element("ul", {{"class", "legend"}}, items);
}

}  // namespace pinnerformer
