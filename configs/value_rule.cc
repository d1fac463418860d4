// Rules are small closures; the numeric ones look at whole numbers and fractions alike.
#include "configs/value_rule.h"

#include <arpa/inet.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "configs/duration.h"

namespace pinnerformer {
namespace {

std::string text(double number) { return value_text(&number); }

double number_of(const ValueRef& value) {
  if (const auto* whole = std::get_if<int64_t*>(&value)) return static_cast<double>(**whole);
  return *std::get<double*>(value);
}

bool all_distinct(const std::vector<std::string>& words) {
  return std::set<std::string>(words.begin(), words.end()).size() == words.size();
}

// The name in front of '>'; "" where the whole is not of the form name or name>SECONDS.
std::string action_name(const std::string& action) {
  const size_t bound = action.find('>');
  if (bound == std::string::npos) return action;
  double seconds = 0;
  if (!assign_text(&seconds, std::string_view(action).substr(bound + 1)) || seconds < 0) return {};
  return action.substr(0, bound);
}

}  // namespace

ValueRule anything() {
  return {"", [](const ValueRef&) { return true; }};
}

ValueRule at_least(double least) {
  return {"of at least " + text(least),
          [=](const ValueRef& value) { return number_of(value) >= least; }};
}

ValueRule above(double bound) {
  return {"above " + text(bound), [=](const ValueRef& value) { return number_of(value) > bound; }};
}

ValueRule between(double least, double most) {
  return {"from " + text(least) + " to " + text(most), [=](const ValueRef& value) {
            return number_of(value) >= least && number_of(value) <= most;
          }};
}

ValueRule from_to_below(double least, double bound) {
  return {"from " + text(least) + " to below " + text(bound), [=](const ValueRef& value) {
            return number_of(value) >= least && number_of(value) < bound;
          }};
}

ValueRule ascending_numbers() {
  return {"a list of whole numbers above 0, ascending, such as [1, 7]", [](const ValueRef& value) {
            int64_t last = 0;
            return std::ranges::all_of(
                *std::get<std::vector<int64_t>*>(value),
                [&](int64_t number) { return number > std::exchange(last, number); });
          }};
}

ValueRule names() {
  return {"a list of different names, such as [a, b]", [](const ValueRef& value) {
            const auto& words = *std::get<std::vector<std::string>*>(value);
            return std::find(words.begin(), words.end(), "") == words.end() && all_distinct(words);
          }};
}

ValueRule duration_or_empty() {
  return {"a duration such as 90s, 45m or 1d11h30m, or nothing", [](const ValueRef& value) {
            const std::string& text = *std::get<std::string*>(value);
            return text.empty() || parse_duration(text);
          }};
}

ValueRule ip_address() {
  return {"an address in numbers, such as 127.0.0.1, 0.0.0.0 or ::1", [](const ValueRef& value) {
            const std::string& text = *std::get<std::string*>(value);
            in6_addr address{};  // the larger of both
            return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
                   ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
          }};
}

ValueRule positive_actions() {
  return {"a list of different actions, each NAME or NAME>SECONDS, such as [repin, closeup>10]",
          [](const ValueRef& value) {
            std::vector<std::string> words = *std::get<std::vector<std::string>*>(value);
            std::transform(words.begin(), words.end(), words.begin(), action_name);
            return std::find(words.begin(), words.end(), "") == words.end() && all_distinct(words);
          }};
}

}  // namespace pinnerformer
