// Numbers go through <charconv>: the same in every locale, and the shortest text that reads back.
#include "configs/typed_value.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <type_traits>
#include <utility>

namespace pinnerformer {
namespace {

constexpr std::string_view kSpaces = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

// In any capitals: "True" is what Python writes.
bool assign(bool& value, std::string_view written) {
  std::string text(written);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  constexpr std::array<std::string_view, 3> yes = {"true", "yes", "on"};
  constexpr std::array<std::string_view, 3> no = {"false", "no", "off"};
  const bool is_yes = std::find(yes.begin(), yes.end(), text) != yes.end();
  if (!is_yes && std::find(no.begin(), no.end(), text) == no.end()) return false;
  value = is_yes;
  return true;
}

template <class Number>
bool assign_number(Number& value, std::string_view text) {
  Number parsed{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return false;
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(parsed)) return false;
  }
  value = parsed;
  return true;
}

bool assign(int64_t& value, std::string_view text) { return assign_number(value, text); }
bool assign(double& value, std::string_view text) { return assign_number(value, text); }

bool assign(std::string& value, std::string_view text) {
  value = text;
  return true;
}

// Where the word at the beginning of the text ends; a comma behind a backslash is part of the word.
size_t end_of_word(std::string_view text) {
  size_t comma = text.find(',');
  while (comma != std::string_view::npos && comma > 0 && text[comma - 1] == '\\')
    comma = text.find(',', comma + 1);
  return comma;
}

std::string unescaped(std::string_view word) {
  std::string plain(trimmed(word));
  for (size_t at = plain.find("\\,"); at != std::string::npos; at = plain.find("\\,", at + 1))
    plain.erase(at, 1);
  return plain;
}

// The words of "a,b" or "[a, b]"; nothing where a bracket is missing.
std::optional<std::vector<std::string>> split_list(std::string_view text) {
  std::string_view rest = trimmed(text);
  if (rest.starts_with('[') != rest.ends_with(']')) return std::nullopt;
  if (rest.starts_with('[')) rest = trimmed(rest.substr(1, rest.size() - 2));
  std::vector<std::string> words;
  while (!rest.empty()) {
    const size_t comma = end_of_word(rest);
    words.push_back(unescaped(rest.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
    if (rest.empty()) words.emplace_back();  // "a," is a list with an empty word, and refused later
  }
  return words;
}

bool assign(std::vector<std::string>& value, std::string_view text) {
  std::optional<std::vector<std::string>> words = split_list(text);
  if (words) value = *std::move(words);
  return words.has_value();
}

bool assign_numbers(std::vector<int64_t>& value, const std::vector<std::string>& words) {
  std::vector<int64_t> numbers(words.size());
  for (size_t i = 0; i < words.size(); ++i)
    if (!assign(numbers[i], words[i])) return false;
  value = std::move(numbers);
  return true;
}

bool assign(std::vector<int64_t>& value, std::string_view text) {
  const std::optional<std::vector<std::string>> words = split_list(text);
  return words && assign_numbers(value, *words);
}

bool assign_names(const ChoiceRef& choice, const std::vector<std::string>& words) {
  std::vector<size_t> positions;
  for (const std::string& word : words) {
    const auto found = std::ranges::find(choice.names(), word);
    const auto position = static_cast<size_t>(found - choice.names().begin());
    if (found == choice.names().end() || std::ranges::count(positions, position) > 0) return false;
    positions.push_back(position);
  }
  choice.set(positions);
  return true;
}

bool assign(const ChoiceRef& choice, std::string_view text) {
  if (!choice.is_list()) return assign_names(choice, {std::string(text)});
  const std::optional<std::vector<std::string>> words = split_list(text);
  return words && assign_names(choice, *words);
}

template <class Number>
std::string number_text(Number value) {
  std::array<char, 32> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), result.ptr};
}

bool is_plain(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) != 0 ||
         std::string_view("_-./>").find(letter) != std::string_view::npos;
}

// Whether YAML reads the word as a string without quotes.
bool needs_no_quotes(const std::string& text) {
  bool ignored = false;
  if (text.empty() || assign(ignored, text)) return false;
  if (text == "null" || text == "Null" || text == "NULL") return false;
  const char first = text.front();
  return (first == '/' || std::isalnum(static_cast<unsigned char>(first)) != 0) &&
         std::all_of(text.begin(), text.end(), is_plain);
}

std::string escaped(char letter) {
  if (letter == '"' || letter == '\\') return std::string("\\") + letter;
  if (letter >= 0 && letter < ' ') {  // a control character would be folded or refused
    constexpr std::string_view digits = "0123456789abcdef";
    const auto code = static_cast<size_t>(letter);
    return std::string("\\x") + digits[code / 16] + digits[code % 16];
  }
  return {letter};
}

std::string quoted_where_needed(const std::string& text) {
  if (needs_no_quotes(text)) return text;
  std::string quoted = "\"";
  for (const char letter : text) quoted += escaped(letter);
  return quoted + '"';
}

std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(int64_t value) { return number_text(value); }
std::string text_of(double value) { return number_text(value); }
std::string text_of(const std::string& value) { return quoted_where_needed(value); }
std::string text_of(const std::vector<std::string>& value) {
  std::string text;
  for (const std::string& word : value) {
    text += (text.empty() ? "" : ", ") + quoted_where_needed(word);
  }
  return "[" + text + "]";
}
std::string text_of(const std::vector<int64_t>& value) {
  std::string text;
  for (const int64_t number : value) text += (text.empty() ? "" : ", ") + number_text(number);
  return "[" + text + "]";
}
std::string text_of(const ChoiceRef& choice) {
  std::string text;
  for (const size_t position : choice.get())
    text += (text.empty() ? "" : ", ") + std::string(choice.names()[position]);
  return choice.is_list() ? "[" + text + "]" : text;
}

std::string expected_names(const ChoiceRef& choice) {
  std::string text = choice.is_list() ? "a list of different words of " : "one of ";
  for (const std::string_view name : choice.names())
    text += (name == choice.names().front() ? "" : ", ") + std::string(name);
  return text;
}

// A pointer or a ChoiceRef as what it refers to.
template <class Value>
Value& target(Value* value) {
  return *value;
}
const ChoiceRef& target(const ChoiceRef& choice) { return choice; }

}  // namespace

bool assign_text(const ValueRef& value, std::string_view text) {
  return std::visit([&](const auto& ref) { return assign(target(ref), text); }, value);
}

bool assign_list(const ValueRef& value, const std::vector<std::string>& words) {
  if (!is_list(value)) return false;
  if (const auto* choice = std::get_if<ChoiceRef>(&value)) return assign_names(*choice, words);
  if (auto* const* numbers = std::get_if<std::vector<int64_t>*>(&value))
    return assign_numbers(**numbers, words);
  *std::get<std::vector<std::string>*>(value) = words;
  return true;
}

bool is_list(const ValueRef& value) {
  if (const auto* choice = std::get_if<ChoiceRef>(&value)) return choice->is_list();
  return std::holds_alternative<std::vector<std::string>*>(value) ||
         std::holds_alternative<std::vector<int64_t>*>(value);
}

std::string value_text(const ValueRef& value) {
  return std::visit([](const auto& ref) { return text_of(target(ref)); }, value);
}

std::string type_name(const ValueRef& value) {
  if (const auto* choice = std::get_if<ChoiceRef>(&value)) return expected_names(*choice);
  constexpr std::array<const char*, std::variant_size_v<ValueRef> - 1> names = {
      "true or false", "a whole number",        "a number",
      "text",          "a list such as [a, b]", "a list of whole numbers such as [1, 7]"};
  return names[value.index()];
}

}  // namespace pinnerformer
