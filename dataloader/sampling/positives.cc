// Compiles "name" and "name>SECONDS" into a table by action number, then marks timelines with it.
#include "dataloader/sampling/positives.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "dataloader/base/errors.h"
#include "dataloader/base/nearest_name.h"

namespace pinnerformer {
namespace {

[[noreturn]] void throw_unknown(const std::string& key, std::string_view name,
                                const std::vector<std::string>& vocabulary) {
  constexpr size_t kListed = 40;
  std::string text = key + ": the dataset has no \"" + std::string(name) + "\"";
  if (vocabulary.empty()) throw DataError(text + "; its vocabulary is empty");
  text += ". Nearest: \"" + nearest_name(name, vocabulary) + "\". It has:";
  for (size_t i = 0; i < std::min(vocabulary.size(), kListed); ++i) text += " " + vocabulary[i];
  if (vocabulary.size() > kListed) {
    text += " and " + std::to_string(vocabulary.size() - kListed) + " more";
  }
  throw DataError(text);
}

std::optional<size_t> find(const std::vector<std::string>& vocabulary, std::string_view name) {
  const auto found = std::find(vocabulary.begin(), vocabulary.end(), name);
  if (found == vocabulary.end()) return std::nullopt;
  return static_cast<size_t>(found - vocabulary.begin());
}

double parse_seconds(const std::string& key, const std::string& entry, std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(seconds) ||
      seconds < 0) {
    throw DataError(key +
                    ": expected \"name>SECONDS\" with a minimum of at least 0 seconds, found \"" +
                    entry + "\"");
  }
  return seconds;
}

}  // namespace

PositiveRule::PositiveRule(const PositiveOptions& options, const std::vector<std::string>& actions,
                           const std::vector<std::string>& surfaces, const std::string& actions_key)
    : actions_(actions.size()),
      surfaces_(surfaces.size(), options.surfaces.empty() ? 1 : 0),
      any_surface_(options.surfaces.empty()),
      first_only_(options.first_only) {
  if (options.actions.empty()) {
    for (ActionRule& rule : actions_) rule.listed = true;
  }
  for (const std::string& entry : options.actions) {
    // A name that itself holds '>' wins over "name>SECONDS".
    const size_t cut = find(actions, entry) ? std::string::npos : entry.rfind('>');
    const std::string name = entry.substr(0, cut);
    const std::optional<size_t> action = find(actions, name);
    if (!action) throw_unknown(actions_key, name, actions);
    ActionRule& rule = actions_[*action];
    const bool has_minimum = cut != std::string::npos;
    const double seconds =
        has_minimum ? parse_seconds(actions_key, entry, std::string_view(entry).substr(cut + 1))
                    : 0;
    rule.minimum_seconds = rule.listed ? std::min(rule.minimum_seconds, seconds) : seconds;
    rule.has_minimum = has_minimum && (!rule.listed || rule.has_minimum);
    rule.listed = true;
  }
  for (const std::string& name : options.surfaces) {
    const std::optional<size_t> surface = find(surfaces, name);
    if (!surface) throw_unknown("positives.surfaces", name, surfaces);
    surfaces_[*surface] = 1;
  }
}

bool PositiveRule::allows(const Timeline& timeline, size_t event) const {
  const ActionRule& rule = actions_.at(static_cast<size_t>(timeline.action[event]));
  const auto surface = static_cast<size_t>(timeline.surface[event]);
  // A surface outside the vocabulary is an unknown one: no list of surfaces contains it.
  if (!rule.listed || !(surface < surfaces_.size() ? surfaces_[surface] != 0 : any_surface_)) {
    return false;
  }
  // False for NaN, as promised.
  return !rule.has_minimum || static_cast<double>(timeline.duration[event]) > rule.minimum_seconds;
}

std::vector<uint8_t> PositiveRule::mark(const Timeline& timeline) const {
  const size_t size = timeline.item.size();
  std::vector<uint8_t> marks(size);
  for (size_t i = 0; i < size; ++i) marks[i] = allows(timeline, i) ? 1 : 0;
  if (!first_only_) return marks;
  std::unordered_set<int32_t> seen;
  seen.reserve(size);
  for (size_t i = 0; i < size; ++i) {
    if (!seen.insert(timeline.item[i]).second) marks[i] = 0;
  }
  return marks;
}

PositiveRule PositiveRule::with_repeats() const {
  PositiveRule copy = *this;
  copy.first_only_ = false;
  return copy;
}

}  // namespace pinnerformer
