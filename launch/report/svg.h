// Shapes of the charts. Places are in the units of the drawing, which the page scales to its width.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/report/markup.h"

namespace pinnerformer {

using Places = std::vector<std::pair<double, double>>;

[[nodiscard]] std::string place(double value);  // rounded to .1
// An image of this size; `label` is read to who cannot see it. "": a decoration.
[[nodiscard]] Markup svg_image(double width, double height, std::string_view label,
                               const Markup& content);
[[nodiscard]] Markup svg_line(const std::string& style, double x1, double y1, double x2, double y2);
[[nodiscard]] Markup svg_polyline(const std::string& style, const Places& places);
[[nodiscard]] Markup svg_polygon(const std::string& style, const Places& places);
// `hint` appears beside the pointer.
[[nodiscard]] Markup svg_circle(const std::string& style, double x, double y, double radius,
                                std::string_view hint);
[[nodiscard]] Markup svg_rectangle(const std::string& style, double x, double y, double width,
                                   double height, std::string_view hint);
[[nodiscard]] Markup svg_text(const std::string& style, double x, double y,
                              std::string_view content);

}  // namespace pinnerformer
