// Which events of a timeline are positives (paper section 3): the labels of training and
// evaluation.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"

namespace pinnerformer {

// PositiveOptions compiled against the vocabularies of one dataset. Immutable, so thread-safe.
class PositiveRule {
 public:
  // No actions listed: every action counts; no surfaces listed: every surface does. An action
  // listed twice counts under the weaker of its minimum durations. Throws DataError where a name
  // is not in the vocabulary or a minimum is not a number of seconds; `actions_key` is what the
  // message calls the list of actions.
  PositiveRule(const PositiveOptions& options, const std::vector<std::string>& actions,
               const std::vector<std::string>& surfaces,
               const std::string& actions_key = "positives.actions");
  PositiveRule(const PositiveOptions& options, const Dataset& dataset,
               const std::string& actions_key = "positives.actions")
      : PositiveRule(options, dataset.actions(), dataset.surfaces(), actions_key) {}

  // 1 where the event is a positive, [size]. A minimum duration must be exceeded; an unknown (NaN)
  // duration exceeds none. With first_only, an event whose item occurs earlier in the timeline,
  // under any action, is not a positive.
  [[nodiscard]] std::vector<uint8_t> mark(const Timeline& timeline) const;

  // The same rule with repeats allowed: popularity counts them.
  [[nodiscard]] PositiveRule with_repeats() const;

 private:
  struct ActionRule {
    bool listed = false;
    bool has_minimum = false;
    double minimum_seconds = 0;
  };

  [[nodiscard]] bool allows(const Timeline& timeline, size_t event) const;

  std::vector<ActionRule> actions_;  // by action number
  std::vector<uint8_t> surfaces_;    // by surface number: 1 where it counts
  bool any_surface_ = true;
  bool first_only_ = false;
};

}  // namespace pinnerformer
