// Which figure stands in which column of the tables of `pinnerformer evaluate`.
#include "launch/commands/evaluate_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace pinnerformer {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

// Figures that are all different: of base 0.1 recall@10 is .11, recall@50 .12, per user .13, NDCG
// .14, entropy .15 and coverage .16; a standard error is a hundredth of its figure.
MethodResult row_of(const std::string& method, InferenceFrequency frequency, double base) {
  const auto figures = [&](double scale) {
    return RetrievalMetrics{.recall_at_10 = scale * (base + .01),
                            .recall_at_50 = scale * (base + .02),
                            .recall_at_10_per_user = scale * (base + .03),
                            .ndcg_at_10 = scale * (base + .04),
                            .interest_entropy_at_50 = scale * (base + .05),
                            .p90_coverage_at_10 = scale * (base + .06)};
  };
  MethodResult row;
  row.method = method;
  row.frequency = frequency;
  row.metrics = figures(1);
  row.standard_errors = figures(.01);
  return row;
}

// As above, with differences to the model: that of recall@10 is `value`, .02 less and more are its
// interval.
MethodResult compared_row(MethodResult row, double value, Verdict verdict) {
  row.reference = "model";
  for (size_t i = 0; i < row.differences.size(); ++i) {
    const double own = value + static_cast<double>(i);
    row.differences[i] = {
        .value = own, .interval = {own - .02, own + .02}, .model_is_better = verdict};
  }
  return row;
}

EvaluationResult result_of(SplitProtocol protocol) {
  EvaluationResult result;
  result.protocol = protocol;
  result.users = 30;
  result.positives = 40;
  result.index_items = 20;
  result.results = {
      row_of("model", InferenceFrequency::kOnce, .1),
      compared_row(row_of("model", InferenceFrequency::kDaily, .2), .1, Verdict::kCannotBeTold),
      compared_row(row_of("popularity", InferenceFrequency::kOnce, .3), -.05, Verdict::kHolds)};
  return result;
}

// The words of every line.
std::vector<Words> lines_of(const EvaluationResult& result) {
  std::istringstream text(describe_evaluation(result));
  std::vector<Words> lines;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    lines.emplace_back(std::istream_iterator<std::string>(words),
                       std::istream_iterator<std::string>());
  }
  return lines;
}

TEST(EvaluateText, EveryColumnHasItsFigure) {
  const auto lines = lines_of(result_of(SplitProtocol::kWindows));
  EXPECT_THAT(lines, Contains(Words{"40", "positives", "of", "30", "held-out", "users,", "index",
                                    "of", "20", "items"}));
  EXPECT_THAT(lines, Contains(Words{"method", "frequency", "R@10", "R@50", "R@10/user", "NDCG@10",
                                    "coverage@10", "entropy@50"}));
  EXPECT_THAT(lines, Contains(Words{"model", "once", "0.1100", "±", "0.0011", "0.1200", "±",
                                    "0.0012", "0.1300", "0.1400", "0.1600", "0.1500"}));
  EXPECT_THAT(lines, Contains(Words{"model", "daily", "0.2100", "±", "0.0021", "0.2200", "±",
                                    "0.0022", "0.2300", "0.2400", "0.2600", "0.2500"}));
}

TEST(EvaluateText, LeaveOneOutHasTheNamesOfTheLiterature) {
  const auto lines = lines_of(result_of(SplitProtocol::kLeaveOneOut));
  EXPECT_THAT(lines, Contains(Words{"method", "frequency", "HR@10", "NDCG@10", "HR@50",
                                    "coverage@10", "entropy@50"}));
  EXPECT_THAT(lines, Contains(Words{"popularity", "once", "0.3100", "±", "0.0031", "0.3400", "±",
                                    "0.0034", "0.3200", "0.3600", "0.3500"}));
}

TEST(EvaluateText, DifferencesAreThoseOfTheFirstColumn) {
  const auto lines = lines_of(result_of(SplitProtocol::kWindows));
  EXPECT_THAT(lines, Contains(Words{"popularity", "once", "-0.0500", "-0.0700", "to", "-0.0300",
                                    "model", ">", "popularity:", "holds"}));
  EXPECT_THAT(lines, Contains(Words{"model", "daily", "+0.1000", "+0.0800", "to", "+0.1200", "once",
                                    ">", "daily:", "cannot", "be", "told"}));
}

TEST(EvaluateText, ASegmentHasTheRecallOfEveryMethodAtItsFirstFrequency) {
  EvaluationResult result = result_of(SplitProtocol::kWindows);
  SegmentResult segment{.name = "new", .users = 3, .user_windows = 4, .positives = 5};
  segment.results = {row_of("model", InferenceFrequency::kOnce, .4),
                     row_of("model", InferenceFrequency::kDaily, .5),
                     row_of("popularity", InferenceFrequency::kOnce, .6)};
  result.by = {{.by = SegmentKind::kNovelty, .segments = {segment}}};
  const auto lines = lines_of(result);
  EXPECT_THAT(lines, Contains(Words{"R@10", "by", "novelty"}));
  EXPECT_THAT(lines, Contains(Words{"segment", "users", "positives", "model", "popularity"}));
  EXPECT_THAT(lines,
              Contains(Words{"new", "3", "5", "0.4100", "±", "0.0041", "0.6100", "±", "0.0061"}));
}

TEST(EvaluateText, TheDelayOfDailyVectorsIsTold) {
  EvaluationResult result = result_of(SplitProtocol::kWindows);
  EXPECT_THAT(describe_evaluation(result), Not(HasSubstr("come into use")));
  result.daily_delay_days = 2;
  EXPECT_THAT(describe_evaluation(result),
              HasSubstr("daily: vectors come into use 2 day(s) after they are made\n"));
}

}  // namespace
}  // namespace pinnerformer
