#include "launch/report/svg.h"

#include <array>
#include <cstdio>

namespace pinnerformer {
namespace {

std::string places_text(const Places& places) {
  std::string points;
  for (const auto& [x, y] : places)
    points += (points.empty() ? "" : " ") + place(x) + "," + place(y);
  return points;
}

Markup hint_element(std::string_view hint) {
  return hint.empty() ? Markup() : element("title", text(hint));
}

}  // namespace

std::string place(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

Markup svg_image(double width, double height, std::string_view label, const Markup& content) {
  const std::string size = "0 0 " + place(width) + " " + place(height);
  if (label.empty())  // a decoration
    return element("svg", {{"viewBox", size}, {"aria-hidden", "true"}}, content);
  return element("svg", {{"viewBox", size}, {"role", "img"}, {"aria-label", std::string(label)}},
                 content);
}

Markup svg_line(const std::string& style, double x1, double y1, double x2, double y2) {
  return element("line", {{"class", style},
                          {"x1", place(x1)},
                          {"y1", place(y1)},
                          {"x2", place(x2)},
                          {"y2", place(y2)}});
}

Markup svg_polyline(const std::string& style, const Places& places) {
  return element("path", {{"class", style}, {"d", "M" + places_text(places)}});
}

Markup svg_polygon(const std::string& style, const Places& places) {
  return element("path", {{"class", style}, {"d", "M" + places_text(places) + "Z"}});
}

Markup svg_circle(const std::string& style, double x, double y, double radius,
                  std::string_view hint) {
  return element("circle",
                 {{"class", style}, {"cx", place(x)}, {"cy", place(y)}, {"r", place(radius)}},
                 hint_element(hint));
}

Markup svg_rectangle(const std::string& style, double x, double y, double width, double height,
                     std::string_view hint) {
  return element("rect",
                 {{"class", style},
                  {"x", place(x)},
                  {"y", place(y)},
                  {"width", place(width)},
                  {"height", place(height)}},
                 hint_element(hint));
}

Markup svg_text(const std::string& style, double x, double y, std::string_view content) {
  return element("text", {{"class", style}, {"x", place(x)}, {"y", place(y)}}, text(content));
}

}  // namespace pinnerformer
