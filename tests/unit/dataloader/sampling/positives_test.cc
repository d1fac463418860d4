// PositiveRule: names, minimum durations, surfaces, first events only, and messages that help.
#include "dataloader/sampling/positives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kActions = {"view", "click", "save", "a>b"};
const std::vector<std::string> kSurfaces = {"home", "search"};
constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();

struct MarkedEvent {
  int32_t item;
  int16_t action;
  int16_t surface;
  float duration;
};

Timeline make_timeline(const std::vector<MarkedEvent>& events) {
  Timeline timeline;
  for (const MarkedEvent& event : events) {
    timeline.item.push_back(event.item);
    timeline.action.push_back(event.action);
    timeline.surface.push_back(event.surface);
    timeline.time.push_back(timeline.size());
    timeline.duration.push_back(event.duration);
  }
  return timeline;
}

std::vector<uint8_t> mark(const PositiveOptions& options, const std::vector<MarkedEvent>& events) {
  return PositiveRule(options, kActions, kSurfaces).mark(make_timeline(events));
}

std::string error_of(const PositiveOptions& options) {
  try {
    const PositiveRule rule(options, kActions, kSurfaces);
  } catch (const DataError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(PositivesTest, MinimumDurationIsStrictAndUnknownFails) {
  const PositiveOptions options{.actions = {"click>10", "save"}, .surfaces = {}};
  EXPECT_THAT(mark(options, {{0, 1, 0, 10.0F},
                             {1, 1, 0, 10.5F},
                             {2, 1, 0, kUnknown},
                             {3, 2, 0, kUnknown},
                             {4, 0, 0, 99.0F}}),
              ElementsAre(0, 1, 0, 1, 0));
}

TEST(PositivesTest, WeakerOfTwoEntriesCounts) {
  const std::vector<MarkedEvent> events = {{0, 1, 0, 3.0F}, {1, 1, 0, 6.0F}, {2, 1, 0, kUnknown}};
  EXPECT_THAT(mark({.actions = {"click>10", "click>5"}, .surfaces = {}}, events),
              ElementsAre(0, 1, 0));
  EXPECT_THAT(mark({.actions = {"click>10", "click"}, .surfaces = {}}, events),
              ElementsAre(1, 1, 1));
  EXPECT_THAT(mark({.actions = {"click", "click>10"}, .surfaces = {}}, events),
              ElementsAre(1, 1, 1));
}

TEST(PositivesTest, SurfacesAndActionsFilterTogether) {
  const std::vector<MarkedEvent> events = {{0, 1, 0, 1}, {1, 1, 1, 1}, {2, 0, 1, 1}, {3, 1, -1, 1}};
  EXPECT_THAT(mark({.actions = {"click"}, .surfaces = {"search"}}, events),
              ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(mark({.actions = {}, .surfaces = {}}, events), ElementsAre(1, 1, 1, 1));
}

TEST(PositivesTest, FirstOnlyLooksAtEveryAction) {
  // Item 7 is viewed first and clicked later: its click is no first event.
  const std::vector<MarkedEvent> events = {{7, 0, 0, 1}, {8, 1, 0, 1}, {7, 1, 0, 1}, {8, 1, 0, 1}};
  PositiveOptions options{.actions = {"click"}, .surfaces = {}, .first_only = true};
  EXPECT_THAT(mark(options, events), ElementsAre(0, 1, 0, 0));
  const PositiveRule rule(options, kActions, kSurfaces);
  EXPECT_THAT(rule.with_repeats().mark(make_timeline(events)), ElementsAre(0, 1, 1, 1));
  options.first_only = false;
  EXPECT_THAT(mark(options, events), ElementsAre(0, 1, 1, 1));
}

TEST(PositivesTest, NameWithAngleBracketIsAName) {
  EXPECT_THAT(mark({.actions = {"a>b"}, .surfaces = {}}, {{0, 3, 0, kUnknown}}), ElementsAre(1));
  EXPECT_THAT(mark({.actions = {"a>b>2"}, .surfaces = {}}, {{0, 3, 0, 1}, {1, 3, 0, 3}}),
              ElementsAre(0, 1));
}

TEST(PositivesTest, MessagesNameTheNearestAndTheVocabulary) {
  EXPECT_THAT(error_of({.actions = {"clik>10"}, .surfaces = {}}),
              AllOf(HasSubstr("positives.actions"), HasSubstr("\"clik\""),
                    HasSubstr("Nearest: \"click\""), HasSubstr("view click save")));
  EXPECT_THAT(error_of({.actions = {}, .surfaces = {"hme"}}),
              AllOf(HasSubstr("positives.surfaces"), HasSubstr("Nearest: \"home\"")));
  for (const char* wrong : {"click>", "click>ten", "click>-1", "click>nan", "click>1s"}) {
    EXPECT_THAT(error_of({.actions = {wrong}, .surfaces = {}}), HasSubstr("name>SECONDS")) << wrong;
  }
}

}  // namespace
}  // namespace pinnerformer
