#include "launch/report/markup.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "dataloader/base/printable.h"

namespace pinnerformer {
namespace {

constexpr size_t kMostBytes = 1000;

// `content` is printable.
std::string escaped(std::string_view content) {
  std::string safe;
  for (const char c : content) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

}  // namespace

Markup Markup::trusted(std::string html) {
  Markup markup;
  markup.html_ = std::move(html);
  return markup;
}

Markup text(std::string_view content) {
  return Markup::trusted(escaped(printable(content, kMostBytes)));
}
Markup lines(std::string_view content) {
  return Markup::trusted(escaped(printable_lines(content)));
}

Markup element(std::string_view name, Attributes attributes, const Markup& content) {
  std::string html = "<" + std::string(name);
  for (const Attribute& attribute : attributes)
    html += " " + std::string(attribute.name) + "=\"" +
            escaped(printable(attribute.value, attribute.value.size())) + "\"";
  html += ">" + content.html() + "</" + std::string(name) + ">";
  return Markup::trusted(std::move(html));
}

std::string number_text(double value, const char* format) {
  if (!std::isfinite(value)) return "–";
  std::array<char, 64> shown{};
  std::snprintf(shown.data(), shown.size(), format, value);
  return shown.data();
}

Markup number(double value, const char* format) {
  if (!std::isfinite(value)) return text("–");
  return element("data", {{"value", number_text(value, "%.17g")}},
                 text(number_text(value, format)));
}

std::string count_text(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = digits.starts_with('-') ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
  return digits;
}

Markup count(int64_t value) {
  return element("data", {{"value", std::to_string(value)}}, text(count_text(value)));
}

}  // namespace pinnerformer
