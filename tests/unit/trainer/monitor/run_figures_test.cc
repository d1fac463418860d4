// The text that Prometheus reads. tests/e2e/watch_test.py parses it with Prometheus' own parser.
#include "trainer/monitor/run_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <sstream>

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::Not;

// Every field has a value of its own, so that two that are swapped show.
RunFigures whole_figures() {
  RunFigures figures;
  figures.run = "a/run";
  figures.total_steps = 101;
  figures.start_time = 102;
  figures.restarts = 103;
  figures.checkpoint = {.step = 104, .time = 105, .bytes = 106, .seconds = 107.5};
  StepRecord record;
  record.step = 108;
  record.epoch = 109;
  record.loss = 110.5;
  record.temperature = 0.111;
  record.learning_rate = 0.112;
  record.grad_norm = 113.5;
  record.users_per_second = 114;
  record.step_ms = 115;
  record.data_wait_ms = 116;
  record.comm_wait_ms = 117;
  record.save_stall_ms = 1500;
  record.memory_mib = 2;
  record.world_size = 119;
  record.skipped_users = 120;
  record.nonfinite_steps = 121;
  record.validation = {
      .recall_at_10 = 0.122, .recall_at_50 = 0.123, .ndcg_at_10 = 0.124, .positives = 125};
  record.best_step = 126;
  record.best_recall_at_10 = 0.127;
  figures.add(record, 128);
  return figures;
}

TEST(RunFigures, EveryValueStandsUnderItsName) {
  const std::string text = prometheus_text(whole_figures());
  for (const char* sample : {"running{run=\"a/run\"} 1",
                             "planned_steps{run=\"a/run\"} 101",
                             "start_timestamp_seconds{run=\"a/run\"} 102",
                             "restarts_total{run=\"a/run\"} 103",
                             "checkpoint_step{run=\"a/run\"} 104",
                             "checkpoint_timestamp_seconds{run=\"a/run\"} 105",
                             "checkpoint_bytes{run=\"a/run\"} 106",
                             "checkpoint_write_seconds{run=\"a/run\"} 107.5",
                             "step{run=\"a/run\"} 108",
                             "epoch{run=\"a/run\"} 109",
                             "loss_nats{run=\"a/run\"} 110.5",
                             "temperature{run=\"a/run\"} 0.111",
                             "learning_rate{run=\"a/run\"} 0.112",
                             "gradient_norm{run=\"a/run\"} 113.5",
                             "users_per_second{run=\"a/run\"} 114",
                             "step_seconds{run=\"a/run\"} 0.115",
                             "data_wait_seconds{run=\"a/run\"} 0.116",
                             "comm_wait_seconds{run=\"a/run\"} 0.117",
                             "checkpoint_stall_seconds_total{run=\"a/run\"} 1.5",
                             "resident_memory_bytes{run=\"a/run\"} 2097152",
                             "ranks{run=\"a/run\"} 119",
                             "skipped_users_total{run=\"a/run\"} 120",
                             "nonfinite_steps_total{run=\"a/run\"} 121",
                             "validation_recall_ratio{run=\"a/run\",cutoff=\"10\"} 0.122",
                             "validation_recall_ratio{run=\"a/run\",cutoff=\"50\"} 0.123",
                             "validation_ndcg_ratio{run=\"a/run\",cutoff=\"10\"} 0.124",
                             "validation_positives{run=\"a/run\"} 125",
                             "validation_step{run=\"a/run\"} 108",
                             "best_validation_step{run=\"a/run\"} 126",
                             "best_validation_recall_ratio{run=\"a/run\",cutoff=\"10\"} 0.127",
                             "record_timestamp_seconds{run=\"a/run\"} 128"})
    EXPECT_THAT(text, HasSubstr("\npinnerformer_" + std::string(sample) + "\n"));
}

TEST(RunFigures, EveryMetricHasItsHelpAndTypeOnce) {
  std::istringstream text(prometheus_text(whole_figures()));
  std::set<std::string> helped, typed;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string hash, kind, name, type;
    words >> hash >> kind >> name >> type;
    if (kind == "HELP") {
      EXPECT_TRUE(helped.insert(name).second) << name;
    } else if (kind == "TYPE") {
      EXPECT_TRUE(typed.insert(name).second) << name;
      EXPECT_EQ(type, name.ends_with("_total") ? "counter" : "gauge") << name;
    } else {
      EXPECT_TRUE(typed.contains(line.substr(0, line.find('{')))) << line;
    }
  }
  EXPECT_EQ(helped, typed);
  EXPECT_GT(typed.size(), 25U);
}

TEST(RunFigures, WhatIsNotKnownYetIsLeftOut) {
  RunFigures figures;
  figures.run = "r";
  const std::string text = prometheus_text(figures);
  for (const char* name : {"loss", "checkpoint_step", "validation", "record_timestamp"})
    EXPECT_THAT(text, Not(HasSubstr(name)));
  figures.checkpoint = {.step = 5, .time = 6};
  EXPECT_THAT(prometheus_text(figures), HasSubstr("checkpoint_step{run=\"r\"} 5\n"));
  EXPECT_THAT(prometheus_text(figures), Not(HasSubstr("checkpoint_bytes")));
}

TEST(RunFigures, CountersAddUpAndAValidationStays) {
  RunFigures figures = whole_figures();
  StepRecord next;
  next.step = 200;
  next.skipped_users = 5;
  next.nonfinite_steps = 1;
  next.save_stall_ms = 1000;
  figures.add(next, 300);
  const std::string text = prometheus_text(figures);
  for (const char* sample :
       {"skipped_users_total{run=\"a/run\"} 125\n", "nonfinite_steps_total{run=\"a/run\"} 122\n",
        "checkpoint_stall_seconds_total{run=\"a/run\"} 2.5\n",
        "validation_step{run=\"a/run\"} 108\n", "_step{run=\"a/run\"} 104\n",
        "pinnerformer_step{run=\"a/run\"} 200\n"})
    EXPECT_THAT(text, HasSubstr(sample));
}

TEST(RunFigures, NumbersThatAreNotFiniteAndNamesThatBreakLines) {
  RunFigures figures;
  figures.run = "a\"b\\c\nd\xff";
  StepRecord record;
  record.loss = NAN;
  record.grad_norm = INFINITY;
  figures.add(record, 1);
  const std::string text = prometheus_text(figures);
  const std::string label = R"({run="a\"b\\c\\x0ad\\xff"} )";
  EXPECT_THAT(text, HasSubstr("loss_nats" + label + "NaN\n"));
  EXPECT_THAT(text, HasSubstr("gradient_norm" + label + "+Inf\n"));
}

}  // namespace
}  // namespace pinnerformer
