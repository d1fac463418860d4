// What a report reads and how it writes it: bounds, damage, escaping.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "dataloader/base/errors.h"
#include "launch/cli/json_file.h"
#include "launch/report/chart.h"
#include "launch/report/curve.h"
#include "launch/report/evaluation_file.h"
#include "launch/report/markup.h"
#include "launch/report/metrics_file.h"
#include "launch/report/page.h"
#include "launch/report/plan_file.h"
#include "launch/report/scale.h"
#include "launch/report/sections.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST(ReportMarkup, EscapesAllThatIsHtml) {
  EXPECT_EQ(text("<b>\"a\" & 'b'</b>").html(),
            "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/b&gt;");
  EXPECT_EQ(text("a\x1b\n\xff").html(), "a\\x1b\\x0a\\xff");
  EXPECT_EQ(element("p", {{"title", "\"><script>"}}, text("x")).html(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">x</p>");
}

TEST(ReportMarkup, CutsLongTextsButNoAttribute) {
  EXPECT_EQ(text(std::string(5000, 'a')).html(), std::string(1000, 'a') + "...");
  EXPECT_THAT(element("path", {{"d", std::string(5000, '1')}}).html(),
              HasSubstr(std::string(5000, '1') + "\""));
}

TEST(ReportMarkup, NumbersKeepTheirExactValue) {
  EXPECT_EQ(number(0.1 + 0.2, "%.2f").html(), "<data value=\"0.30000000000000004\">0.30</data>");
  EXPECT_EQ(number(std::nan(""), "%.2f").html(), "–");
  EXPECT_EQ(count_text(-1234567), "-1,234,567");
  EXPECT_EQ(count_text(123), "123");
}

TEST(ReportCurve, HoldsWhatItIsGivenUpToItsBound) {
  Curve curve(4);
  for (int64_t step = 1; step <= 4; ++step) curve.add(step, static_cast<double>(step));
  curve.add(5, std::nan(""));
  ASSERT_THAT(curve.points(), SizeIs(4));
  EXPECT_EQ(curve.points().back().step, 4);
  EXPECT_EQ(curve.points().back().mean, 4);
}

TEST(ReportCurve, LosesNoSpikeAndKeepsTheMean) {
  Curve curve(100);
  double sum = 0;
  for (int64_t step = 1; step <= 12345; ++step) {
    const auto value = static_cast<double>(step == 7777 ? 1000 : step % 7);
    sum += value;
    curve.add(step, value);
  }
  double total = 0, high = 0;
  int64_t values = 0, last = 0;
  for (const CurvePoint& point : curve.points()) {
    total += point.mean * static_cast<double>(point.values);
    high = std::max(high, point.high);
    values += point.values;
    EXPECT_GT(point.step, last);
    EXPECT_LE(point.low, point.mean);
    EXPECT_GE(point.high, point.mean);
    last = point.step;
  }
  for (size_t i = 0; i + 1 < curve.points().size(); ++i)
    EXPECT_EQ(curve.points()[i].values, 128) << "the resolution is the same everywhere";
  EXPECT_LE(curve.points().size(), 100U);
  EXPECT_GT(curve.points().size(), 50U);
  EXPECT_EQ(values, 12345);
  EXPECT_EQ(last, 12345);
  EXPECT_EQ(high, 1000);
  EXPECT_NEAR(total, sum, 1e-6);
}

std::string metrics_line(int64_t step, double loss) {
  return "{\"step\":" + std::to_string(step) + ",\"loss\":" + std::to_string(loss) +
         ",\"step_ms\":10,\"data_wait_ms\":2,\"comm_wait_ms\":1,\"save_stall_ms\":5,"
         "\"world_size\":2,\"memory_mib\":7,\"users_per_second\":100}\n";
}

TEST(ReportMetrics, AddsTimesUpOverTheStepsOfEachRecord) {
  const TemporaryDirectory directory;
  const RunMetrics metrics = read_metrics(
      write_file(directory / "metrics.jsonl", metrics_line(10, 3) + metrics_line(30, 2)));
  EXPECT_EQ(metrics.records, 2);
  EXPECT_EQ(metrics.last_step, 30);
  EXPECT_EQ(metrics.last_loss, 2);
  EXPECT_DOUBLE_EQ(metrics.time.data, 60);
  EXPECT_DOUBLE_EQ(metrics.time.comm, 30);
  EXPECT_DOUBLE_EQ(metrics.time.compute, 210);
  EXPECT_DOUBLE_EQ(metrics.time.save, 10);
  EXPECT_THAT(metrics.world_sizes, ElementsAre(2));
  EXPECT_THAT(metrics.problems, IsEmpty());
}

// A run that goes on from a checkpoint of another run has no records of the steps before it.
TEST(ReportMetrics, TheFirstRecordStandsForAsManySteps) {
  const TemporaryDirectory directory;
  const std::string file =
      write_file(directory / "metrics.jsonl", metrics_line(1010, 3) + metrics_line(1030, 2));
  EXPECT_DOUBLE_EQ(read_metrics(file, /*first_steps=*/10).time.data, 2 * (10 + 20));
  EXPECT_DOUBLE_EQ(read_metrics(file, /*first_steps=*/2000).time.data, 2 * 1030);
}

TEST(ReportMetrics, NamesDamagedLinesAndForgivesATornLastOne) {
  const TemporaryDirectory directory;
  const RunMetrics metrics = read_metrics(write_file(
      directory / "metrics.jsonl", metrics_line(1, 3) + "{\"step\":\n" + metrics_line(2, 2) +
                                       "[1]\n" + metrics_line(2, 9) + "{\"step\":1e300}\n" +
                                       metrics_line(3, 1).substr(0, 30)));
  EXPECT_EQ(metrics.records, 2);
  EXPECT_EQ(metrics.last_loss, 2);
  ASSERT_THAT(metrics.problems, SizeIs(4));
  EXPECT_THAT(metrics.problems[0], HasSubstr("line 2 is no record of a step"));
  EXPECT_THAT(metrics.problems[2], HasSubstr("line 5 goes back to step 2"));
}

TEST(ReportMetrics, ALongLineIsDamageAndNoMoreThanThat) {
  const TemporaryDirectory directory;
  std::string content;
  for (int i = 0; i < 20; ++i) content += "[" + std::string(300'000, '[') + "\n";
  const RunMetrics metrics =
      read_metrics(write_file(directory / "metrics.jsonl", content + metrics_line(4, 1)));
  EXPECT_EQ(metrics.last_step, 4);
  ASSERT_THAT(metrics.problems, SizeIs(6));
  EXPECT_THAT(metrics.problems.back(), HasSubstr("20 lines in all"));
}

TEST(ReportMetrics, RecordsMayLieAcrossBlocks) {
  const TemporaryDirectory directory;
  std::string content;
  int64_t steps = 0;
  while (content.size() < (size_t{5} << 20)) content += metrics_line(++steps, 1);
  const RunMetrics metrics = read_metrics(write_file(directory / "metrics.jsonl", content));
  EXPECT_EQ(metrics.records, steps);
  EXPECT_THAT(metrics.problems, IsEmpty());
  EXPECT_LE(metrics.loss.points().size(), 1000U);
}

TEST(ReportScale, TicksAreRoundAndWithinTheScale) {
  const Scale scale = fitted_scale(0.031, 0.069, 0, 100);
  const std::vector<double> values = ticks(scale, 5);
  ASSERT_THAT(values, Not(IsEmpty()));
  EXPECT_EQ(tick_text(values.front(), values), "0.03");
  for (const double value : values) {
    EXPECT_GE(value, scale.low - 1e-12);
    EXPECT_LE(value, scale.high + 1e-12);
  }
  const Scale flat = fitted_scale(2, 2, 0, 100);
  EXPECT_LT(flat.low, 2);
  EXPECT_GT(flat.high, 2);
  EXPECT_THAT(ticks(fitted_scale(1e300, 1.5e300, 0, 1), 5), Not(IsEmpty()));
  EXPECT_THAT(ticks(fitted_scale(-1, 1e-300, 0, 1), 5), Not(IsEmpty()));
}

TEST(ReportFiles, SayWhichEntryIsWrong) {
  const TemporaryDirectory directory;
  const auto error_of = [&](const std::string& content) {
    const std::string file = write_file(directory / "evaluate.json", content);
    return message_of<DataError>([&] { (void)read_evaluation(file); });
  };
  EXPECT_THAT(error_of("{"), HasSubstr("evaluate.json is not JSON"));
  EXPECT_THAT(error_of("{}"), HasSubstr("evaluate.json is no evaluation: expected what"));
  EXPECT_THAT(error_of("{}"), HasSubstr("found an object without results"));
  EXPECT_THAT(error_of("{\"results\": []}"), HasSubstr("found an object without protocol"));
  EXPECT_THAT(error_of("[]"), HasSubstr("found a list, as `recommend --json` writes it"));
  EXPECT_THAT(error_of("7"), HasSubstr("found no object"));
  EXPECT_THAT(error_of("{\"scaling\": []}"), HasSubstr("found a plan"));
  EXPECT_THAT(error_of("{\"benchmark\": \"step\"}"), HasSubstr("found a result of `bench`"));
  EXPECT_THAT(error_of("{\"protocol\": \"windows\", \"results\": 4}"),
              HasSubstr("results should be a list"));
  EXPECT_THAT(error_of("{\"protocol\": \"windows\", \"results\": [{\"method\": 1}]}"),
              HasSubstr("results[0].method should be a text"));
  EXPECT_THAT(
      error_of(
          "{\"protocol\": \"windows\", \"results\": [{\"method\": \"m\", \"frequency\": \"once\", "
          "\"recall@10\": \"x\"}]}"),
      HasSubstr("results[0].recall@10 should be a number or null"));
  EXPECT_THAT(error_of("{\"protocol\": \"windows\", \"results\": [], \"users\": -1}"),
              HasSubstr("users should be a whole number of at least 0"));
  EXPECT_THAT(error_of(std::string(100'000, '[')), HasSubstr("more than 32 levels deep"));
  EXPECT_THAT(message_of<DataError>(
                  [&] { (void)read_recommendations(write_file(directory / "r.json", "{}")); }),
              HasSubstr("recommend --json"));
}

nlohmann::json plan_json() {
  const nlohmann::json part = {{"part", "weights"}, {"value", 4.0}, {"formula", "f"}};
  return {{"machine", "m"},
          {"device", "gpu"},
          {"ranks", 4},
          {"memory", {part}},
          {"step", {part}},
          {"memory_bytes", 3 << 20},
          {"step_ms", 5},
          {"users_per_second", 100},
          {"scaling",
           {{{"ranks", 8}, {"possible", true}, {"step_ms", 2}},
            {{"ranks", 1}, {"possible", true}, {"step_ms", 9}},
            {{"ranks", 64}, {"possible", false}}}}};
}

TEST(ReportFiles, APlanIsReadEntryByEntry) {
  const std::string path = "plan.json";
  const auto plan = find_plan(plan_json(), path);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->gpu);
  ASSERT_THAT(plan->scaling, SizeIs(2)) << "64 ranks are not possible";
  EXPECT_EQ(plan->scaling.front().ranks, 1);
  EXPECT_FALSE(find_plan(nlohmann::json::object(), path));
  EXPECT_FALSE(find_plan(nlohmann::json::array(), path));
  const auto error_of = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json wrong = plan_json();
    wrong[key] = value;
    return message_of<DataError>([&] { (void)find_plan(wrong, path); });
  };
  EXPECT_THAT(error_of("ranks", -1), HasSubstr("ranks should be a whole number"));
  EXPECT_THAT(error_of("memory", {{{"part", 1}}}), HasSubstr("memory[0].part should be a text"));
  EXPECT_THAT(error_of("step", 3), HasSubstr("step should be a list"));
  EXPECT_THAT(error_of("scaling", {{{"possible", 1}}}),
              HasSubstr("scaling[0].possible should be true or false"));
}

TEST(ReportPage, APlanForOtherRanksIsNotComparedWithTheRun) {
  const TemporaryDirectory directory;
  write_file(directory / "metrics.jsonl", metrics_line(1, 3));  // of two ranks, without a GPU
  nlohmann::json plan = plan_json();
  plan["step_ms"] = 8;
  const auto page_of = [&](int ranks) {
    plan["ranks"] = ranks;
    write_file(directory / "plan.json", plan.dump());
    ReportInputs inputs;
    inputs.runs = read_runs({directory.path()});
    return report_page(inputs);
  };
  const std::string page = page_of(4);
  const std::string ratio = "<data value=\"1.25\">1.25</data>";  // 10 ms by 8 ms
  EXPECT_THAT(page, HasSubstr("Planned for 4 rank(s) of &#39;m&#39;"));
  EXPECT_THAT(page, HasSubstr("The run had other ranks"));
  EXPECT_THAT(page, Not(HasSubstr(ratio)));
  EXPECT_THAT(page, HasSubstr("measured: 10.0000")) << "its step stands at its own ranks";
  EXPECT_THAT(page_of(2), HasSubstr(ratio));
}

// Figures that are all different: metric i of kReportedMetrics is `base` + i / 100.
ReportedResult reported(const std::string& method, const std::string& frequency, double base) {
  ReportedResult result;
  result.method = method;
  result.frequency = frequency;
  for (size_t i = 0; i < result.metrics.size(); ++i)
    result.metrics[i].value = base + static_cast<double>(i) / 100;
  return result;
}

ReportInputs inputs_with_segments() {
  ReportedEvaluation evaluation;
  evaluation.results = {reported("model", "once", .1), reported("model", "daily", .2),
                        reported("popularity", "once", .3)};
  evaluation.by = {{"novelty",
                    {{"new",
                      3,
                      5,
                      {reported("model", "once", .4), reported("model", "daily", .45),
                       reported("popularity", "once", .5)}},
                     {"seen",
                      2,
                      4,
                      {reported("model", "once", .6), reported("model", "daily", .65),
                       reported("popularity", "once", .7)}}}}};
  ReportInputs inputs;
  inputs.evaluations = {evaluation};
  return inputs;
}

TEST(ReportPage, ChartsShowTheirOwnMetric) {
  const ReportInputs inputs = inputs_with_segments();
  const std::string recall = evaluation_section(inputs).content.html();
  EXPECT_THAT(recall, HasSubstr("model: 0.1000"));
  EXPECT_THAT(recall, HasSubstr("popularity: 0.3000"));
  const std::string coverage = coverage_section(inputs).content.html();
  EXPECT_THAT(coverage, HasSubstr("model: 0.1500"));
  EXPECT_THAT(coverage, HasSubstr("popularity: 0.3500"));
  const std::string frequencies = frequency_section(inputs).content.html();
  EXPECT_THAT(frequencies, HasSubstr("model: 0.1000"));
  EXPECT_THAT(frequencies, HasSubstr("model: 0.2000"));
  EXPECT_THAT(frequencies, Not(HasSubstr("popularity"))) << "it has one frequency";
}

TEST(ReportPage, SegmentsShowEveryMethodAtItsFirstFrequency) {
  const std::string page = segments_section(inputs_with_segments()).content.html();
  size_t end = 0;  // cells in their order
  for (const char* cell : {"0.4000</data>", "0.5000</data>", "0.6000</data>", "0.7000</data>"}) {
    const size_t place = page.find(cell, end);
    ASSERT_NE(place, std::string::npos) << cell;
    end = place;
  }
  for (const char* point :
       {"model: 0.4000", "popularity: 0.5000", "model: 0.6000", "popularity: 0.7000"})
    EXPECT_THAT(page, HasSubstr(point));
  EXPECT_THAT(page, Not(HasSubstr("0.4500</data>")));
  EXPECT_THAT(page, Not(HasSubstr("model: 0.4500")));
}

TEST(ReportPage, ShowsWhatIsMissingAndTheCommandThatMakesIt) {
  const TemporaryDirectory directory;
  write_file(directory / "metrics.jsonl", "");
  ReportInputs inputs;
  inputs.runs = read_runs({directory.path()});
  const std::string page = report_page(inputs);
  for (const char* command :
       {"pinnerformer train --config FILE", "pinnerformer evaluate --run ",
        "pinnerformer plan --config ", "evaluate.frequency=once,daily,realtime",
        "--by activity,popularity,novelty", "pinnerformer recommend --run ",
        "config.yaml is missing"})
    EXPECT_THAT(page, HasSubstr(command));
  EXPECT_EQ(page, report_page(inputs)) << "the same inputs give the same bytes";
}

TEST(ReportPage, TextFromFilesStaysText) {
  const TemporaryDirectory directory;
  write_file(directory / "metrics.jsonl", metrics_line(1, 3));
  const std::string evil = "</code></svg><script>alert(1)</script>";
  ReportInputs inputs;
  inputs.runs = read_runs({directory.path()});
  inputs.runs.front().label = evil;
  inputs.runs.front().machine = {{evil, evil}};
  inputs.runs.front().problems = {evil};
  ReportedEvaluation evaluation;
  evaluation.path = evaluation.run = evaluation.protocol = evil;
  ReportedResult result;
  result.method = result.frequency = result.reference = result.reference_is_better = evil;
  result.metrics[0].value = 0.5;
  evaluation.results = {result};
  evaluation.by = {{evil, {{evil, 1, 1, {result}}, {"b", 1, 1, {result}}}}};
  inputs.evaluations = {evaluation};
  ReportedPlan plan;
  plan.path = plan.machine = evil;
  plan.memory = plan.step = {{evil, evil, 1}};
  inputs.runs.front().plans = {plan};
  inputs.users = {{evil, 1, evil, 1, {{evil, evil, evil}}, {{evil, evil, evil, 0.5}}}};
  EXPECT_THAT(report_page(inputs), Not(HasSubstr("<script")));
}

TEST(ReportPage, ADirectoryWithoutMetricsIsNoRun) {
  const TemporaryDirectory directory;
  EXPECT_THAT(message_of<MissingInputError>([&] { (void)read_runs({directory.path()}); }),
              HasSubstr("is no run: it has no metrics.jsonl"));
}

}  // namespace
}  // namespace pinnerformer
