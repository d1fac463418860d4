// Parts of an evaluation: its positives grouped by user, item or event (`evaluate --by`). Whose
// figures are good on average may be poor for new users or new items.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/evaluation/baseline_inputs.h"
#include "trainer/evaluation/evaluation_cases.h"

namespace pinnerformer {

// What positives are grouped by. Each belongs to one segment of each kind.
enum class SegmentKind {
  kActivity,    // events of the user up to t
  kItemAge,     // days from the item's first event of any user to t
  kPopularity,  // tenth of the items by their positives before the window, as `popularity` counts
  kSurface,     // of the positive event
  kAction,      // of the positive event
  kTopic,       // of the item
  kNovelty,     // whether the user had the item before t
};
constexpr auto enum_names(SegmentKind) {
  return std::to_array<std::string_view>(
      {"activity", "item_age", "popularity", "surface", "action", "topic", "novelty"});
}

// Assigns positives to the segments of one kind. Immutable, so thread-safe.
class Segmenter {
 public:
  // The segment of the positive of this number of a case.
  using Assign = std::function<int32_t(const EvaluationCase& evaluation, size_t positive)>;

  Segmenter(SegmentKind kind, std::vector<std::string> names, Assign assign)
      : kind_(kind), names_(std::move(names)), assign_(std::move(assign)) {}
  [[nodiscard]] SegmentKind kind() const { return kind_; }
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] int32_t operator()(const EvaluationCase& evaluation, size_t positive) const {
    return assign_(evaluation, positive);
  }

 private:
  SegmentKind kind_;
  std::vector<std::string> names_;
  Assign assign_;
};

// Segments of surfaces, actions and topics: the 20 with the most positives, then all others as one.
inline constexpr size_t kMostNamedSegments = 20;

// Collective: item_age, popularity, surface, action and topic count over all ranks. The references
// in `inputs` must outlive the result. Throws DataError for topics of a dataset without topics.
[[nodiscard]] Segmenter make_segmenter(SegmentKind kind, const BaselineInputs& inputs,
                                       HeldOut part);

}  // namespace pinnerformer
