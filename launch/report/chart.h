// Charts as static SVG, made here so that a page needs no script. Colours come from the page's
// style sheet (classes s0 ... s7), so that they fit a dark and a light page.
#pragma once
#include <string>
#include <vector>

#include "launch/report/curve.h"
#include "launch/report/markup.h"

namespace pinnerformer {

// Whose colour a line or a point has: its number among the runs or methods.
[[nodiscard]] std::string color_class(size_t number);

struct NamedCurve {
  std::string name;
  size_t color = 0;
  const Curve* curve = nullptr;
};

struct ChartHead {
  std::string title;
  std::string unit;        // "" for none
  bool from_zero = false;  // the axis of values begins at 0
};

// Values over steps. The mean as a line and, where a point stands for several values, their range
// as a band. Nothing where no curve has a point.
[[nodiscard]] Markup line_chart(const ChartHead& head, const std::vector<NamedCurve>& curves);

// NaN: not known.
struct Estimate {
  double value = 0;
  double low = 0, high = 0;  // its 95 % interval
};

struct NamedEstimate {
  std::string name;
  size_t color = 0;
  Estimate estimate;
};

// A point with its interval for every row, one below the other, each with its value.
[[nodiscard]] Markup interval_chart(const ChartHead& head, const std::vector<NamedEstimate>& rows,
                                    const char* format);

struct NamedValue {
  std::string name;
  size_t color = 0;
  double value = 0;  // at least 0
  std::string hint;  // appears beside the pointer; "" for none
};

// A bar from 0 for every row, one below the other, each with its value. All bars have one scale.
[[nodiscard]] Markup bar_chart(const ChartHead& head, const std::vector<NamedValue>& rows,
                               const char* format);

struct EstimatedSeries {
  std::string name;
  size_t color = 0;
  std::vector<Estimate> estimates;  // one per category
};

// Points with intervals in categories side by side, those of a series joined by a line.
[[nodiscard]] Markup category_chart(const ChartHead& head,
                                    const std::vector<std::string>& categories,
                                    const std::vector<EstimatedSeries>& series);

struct SharePart {
  std::string name;
  std::string style;  // class of the style sheet
  double amount = 0;  // at least 0
};

struct ShareRow {
  std::string name;
  std::vector<SharePart> parts;
};

// One bar of full width per row, cut into the shares of its parts.
[[nodiscard]] Markup share_chart(const ChartHead& head, const std::vector<ShareRow>& rows);

struct LegendEntry {
  std::string name;
  std::string style;
};
[[nodiscard]] Markup legend(const std::vector<LegendEntry>& entries);

}  // namespace pinnerformer
