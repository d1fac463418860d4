// Text that is already HTML. Other text becomes Markup through text() alone, which escapes it, so
// that no title or id can reach a page as HTML.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

namespace pinnerformer {

class Markup {
 public:
  Markup() = default;
  // `html` is written in this program, never read from a file.
  [[nodiscard]] static Markup trusted(std::string html);

  Markup& operator+=(const Markup& more) {
    html_ += more.html_;
    return *this;
  }
  [[nodiscard]] bool empty() const { return html_.empty(); }
  [[nodiscard]] const std::string& html() const { return html_; }

 private:
  std::string html_;
};

[[nodiscard]] inline Markup operator+(Markup first, const Markup& second) {
  return first += second;
}

struct Attribute {
  std::string_view name;
  std::string value;  // escaped
};
using Attributes = std::initializer_list<Attribute>;

// `content` as visible text: HTML's characters are escaped, control characters, marks of direction
// and bytes that are no UTF-8 shown as \x1b; more than 1,000 bytes are cut.
[[nodiscard]] Markup text(std::string_view content);
// The same whole and with its line ends, such as commands.
[[nodiscard]] Markup lines(std::string_view content);

// <name attributes>content</name>
[[nodiscard]] Markup element(std::string_view name, Attributes attributes,
                             const Markup& content = {});
[[nodiscard]] inline Markup element(std::string_view name, const Markup& content) {
  return element(name, {}, content);
}

// A number as it is shown, with its exact value in the element's attribute: <data value="...">.
// "–" where it is not finite.
[[nodiscard]] Markup number(double value, const char* format);
// 12,345
[[nodiscard]] Markup count(int64_t value);

// The same as plain text.
[[nodiscard]] std::string number_text(double value, const char* format);
[[nodiscard]] std::string count_text(int64_t value);

}  // namespace pinnerformer
