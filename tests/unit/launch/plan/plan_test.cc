// Plans: weights counted exactly, machine files read back, what limits a training, what does not
// fit.
#include "launch/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <numeric>

#include "configs/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "trainer/loop/step_flops.h"
#include "trainer/model/model.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

RunConfig config_of(const std::vector<std::string>& words) {
  std::vector<std::string> all = {"model.hidden=32",     "model.heads=4",   "model.layers=3",
                                  "model.max_length=24", "model.output=16", "model.item_hidden=20"};
  all.insert(all.end(), words.begin(), words.end());
  return load_config("", all);
}

DataShape data_of(double content_width) {
  return {.users = 1000,
          .items = 50,
          .content_width = content_width,
          .events_per_user = 96,
          .window = 24,
          .actions = 3,
          .surfaces = 2,
          .topics = 9,
          .code_levels = 2,
          .codes = 10};
}

using Words = std::vector<std::string>;

std::string text_of(const Words& words) {
  return std::accumulate(words.begin(), words.end(), std::string(),
                         [](const auto& a, const auto& b) { return a + " " + b; });
}

// With the data of data_of(12).
PinnerFormer model_of(const RunConfig& config) {
  const bool has_rows = config.item.table.placement != ItemPlacement::kNone;
  ModelInputs inputs{torch::randn({50, 12}), 3, 2, has_rows ? config.item.table.dim : 0,
                     config.item.tower,      9};
  if (config.item.semantic_ids) {
    inputs.code_rows = torch::zeros({50, 2}, torch::kInt32);
    inputs.codes = 10;
  }
  return PinnerFormer(config.model, inputs);
}

TEST(PlanShape, CountsTheWeightsOfEveryFormOfTheModel) {
  const std::string rows = "item.table.placement=replicated";
  for (const Words& words :
       std::vector<Words>{{},
                          {"model.block=ligr"},
                          {"model.block=hstu"},
                          {"model.block=hstu", "model.features.time=false"},
                          {"model.block=lru", "model.features.position=false"},
                          {"model.block=lru", "model.features.position=false", "model.hidden=40"},
                          {"model.user_head=norm", "model.output=32"},
                          {"model.user_head=residual", "item.tower=residual"},
                          {rows, "item.table.dim=6"},
                          {rows, "item.table.dim=32", "model.output=32", "item.tower=tied"},
                          {"model.similarity=dot", "model.prior_days=1,7", rows},
                          {"model.condition=topic", "model.user_vectors=2"},
                          {"item.semantic_ids=true"},
                          {"model.features.time=false", "model.features.position=false"},
                          {"model.features.action=false", "model.features.surface=false",
                           "model.features.duration=false", "model.features.content=false"}}) {
    const RunConfig config = config_of(words);
    PinnerFormer model = model_of(config);
    EXPECT_EQ(step_shape(config, data_of(12), 1, false).parameters, count_parameters(model))
        << text_of(words);
  }
}

// Of the shape of a plan's part of a step.
double counted_operations(const RunConfig& config, const StepShape& shape) {
  const auto whole = [](double number) { return static_cast<int64_t>(number); };
  PinnerFormer model = model_of(config);
  return StepFlops(model, config.model)
      .of({.users = whole(shape.part_users),
           .length = whole(shape.window),
           .positions = whole(shape.queries),
           .pairs = whole(shape.pairs),
           .pool_share = whole(shape.pool_share),
           .columns = whole(shape.pool)});
}

TEST(PlanShape, CountsTheOperationsOfEveryFormOfTheModel) {
  const std::string rows = "item.table.placement=replicated";
  for (const Words& more :
       std::vector<Words>{{},
                          {"model.block=ligr"},
                          {"model.block=hstu"},
                          {"model.block=lru", "model.features.position=false"},
                          {"model.user_head=norm", "model.output=32"},
                          {"model.user_head=residual", "item.tower=residual"},
                          {rows, "item.table.dim=32", "model.output=32", "item.tower=tied"},
                          {"model.condition=topic", "model.user_vectors=2"}}) {
    Words words = {"train.global_batch_users=64", "objective.positions=8", "negatives.in_batch=100",
                   "negatives.random=200"};
    words.insert(words.end(), more.begin(), more.end());
    const RunConfig config = config_of(words);
    DataShape data = data_of(12);
    data.pairs_per_user = 11;  // more than positions, or one could stand for the other
    for (const bool gpu : {false, true}) {
      const StepShape shape = step_shape(config, data, 4, gpu);
      const StepOperations of = step_operations(shape);
      const double forward =
          of.input + of.blocks + of.attention + of.head + of.towers + of.pool + of.logits;
      const double counted = counted_operations(config, shape);
      EXPECT_NEAR(3 * forward, counted, 1e-9 * counted) << text_of(words);
    }
  }
}

// A GPU keeps the scores of hstu, and the state of lru for each doubling of its window.
TEST(PlanShape, BlocksKeepMoreOnAGpu) {
  const auto kept = [](const Words& words, bool gpu) {
    return step_shape(config_of(words), data_of(12), 1, gpu).block;
  };
  const Words hstu = {"model.block=hstu"},
              lru = {"model.block=lru", "model.features.position=false"};
  EXPECT_EQ(kept(hstu, true).kept_scores, 2 * 4 + 2) << "two for each of four heads, two places";
  EXPECT_EQ(kept(hstu, false).kept_scores, 0);
  EXPECT_EQ(kept(lru, true).kept - kept(lru, false).kept, 2 * 5) << "24 events, five doublings";
  EXPECT_EQ(kept({}, true).kept, kept({}, false).kept);
}

TEST(PlanShape, RanksShareABatchAndItsPool) {
  const RunConfig config =
      config_of({"train.global_batch_users=64", "negatives.in_batch=100", "negatives.random=200",
                 "objective.positions=8", "item.table.placement=row_sharded",
                 "train.gradient_accumulation_steps=2"});
  const StepShape shape = step_shape(config, data_of(12), 4, false);
  EXPECT_EQ(shape.users, 16);
  EXPECT_EQ(shape.part_users, 8);
  EXPECT_EQ(shape.events, 8 * 24);
  EXPECT_EQ(shape.pairs, 8 * 8);
  EXPECT_EQ(shape.pool, 300);
  EXPECT_EQ(shape.pool_share, 75);
  EXPECT_EQ(shape.table_rows, 51.0 / 4);
}

TEST(PlanMachine, AFileIsReadBack) {
  const TemporaryDirectory directory;
  for (const std::string& name : known_machines()) {
    const std::string text = to_yaml(known_machine(name));
    write_file(directory / "machine.yaml", text);
    EXPECT_EQ(to_yaml(read_machine(directory / "machine.yaml")), text) << name;
  }
}

TEST(PlanMachine, AWrongFileNamesItsLine) {
  const TemporaryDirectory directory;
  const std::string file = directory / "machine.yaml", whole = to_yaml(known_machine("cpu"));
  const auto message = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    const size_t begin = text.find("\n" + from) + 1;
    text.replace(begin, text.find('\n', begin) - begin, to);
    write_file(file, text);
    return message_of<ConfigError>([&] { static_cast<void>(read_machine(file)); });
  };
  EXPECT_THAT(message("fp32_tflops", "fp32_tflop: 3"), HasSubstr("did you mean 'fp32_tflops'"));
  EXPECT_THAT(message("fp32_tflops", ""), HasSubstr("has no fp32_tflops"));
  EXPECT_THAT(message("fp32_tflops", "fp32_tflops: 0"),
              AllOf(HasSubstr("machine.yaml:"), HasSubstr("above 0")));
  EXPECT_THAT(message("fp32_tflops", "fp32_tflops: nan"), HasSubstr("expected a number"));
  EXPECT_THAT(message("fp32_tflops", "fp32_tflops: 1e300"), HasSubstr("at most 1e9"));
  EXPECT_THAT(message("device", "device: tpu"), HasSubstr("expected cpu or gpu"));
  EXPECT_THAT(message("device", "device: cpu\ndevice: gpu"), HasSubstr("given twice"));
  EXPECT_THAT(message("device", "device: [cpu]"), HasSubstr("one value"));
  EXPECT_THROW(static_cast<void>(read_machine(directory / "nowhere.yaml")), MissingConfigError);
}

double part_of(const std::vector<PlanPart>& parts, const std::string& name) {
  for (const PlanPart& part : parts)
    if (part.name == name) return part.value;
  ADD_FAILURE() << "no part " << name;
  return 0;
}

TEST(Plan, CountsTheCodesOfItems) {
  const Machine machine = known_machine("cpu");
  const Plan with = make_plan(config_of({"item.semantic_ids=true"}), data_of(12), machine, 1);
  const Plan without = make_plan(config_of({}), data_of(12), machine, 1);
  EXPECT_EQ(part_of(with.memory, "semantic ids"), 50 * 2 * 4);
  EXPECT_EQ(part_of(with.memory, "weights") - part_of(without.memory, "weights"), 10 * 16 * 4);
  EXPECT_GT(part_of(with.memory, "activations"), part_of(without.memory, "activations"));
  EXPECT_EQ(with.memory.size(), without.memory.size() + 1);
}

// Large products of float32 alone.
TEST(Plan, OneDnnCopiesItsOperands) {
  const TemporaryDirectory directory;
  Machine machine = known_machine("cpu");
  const auto copies = [&](const Words& words) {
    return part_of(make_plan(config_of(words), data_of(12), machine, 1).memory,
                   "copies for products");
  };
  const Words large = {"model.hidden=512", "train.global_batch_users=128"};
  EXPECT_EQ(copies(large), 0);
  machine.onednn = 1;
  write_file(directory / "machine.yaml", to_yaml(machine));
  machine = read_machine(directory / "machine.yaml");
  const double events = step_shape(config_of(large), data_of(12), 1, false).events;
  EXPECT_EQ(copies(large), events * 8 * 512 * 4 + 60 * 1024 * 1024);
  EXPECT_EQ(copies({"model.hidden=32", "train.global_batch_users=128"}), 0);
  EXPECT_EQ(
      copies({"model.hidden=512", "train.global_batch_users=128", "train.precision=bf16_always"}),
      0);
}

TEST(Plan, AdamPassesOverAllRows) {
  const auto rows_ms = [](const std::string& optimizer, double items) {
    DataShape data = data_of(12);
    data.items = items;
    return part_of(make_plan(config_of({"item.table.placement=replicated",
                                        "item.table.optimizer=" + optimizer}),
                             data, known_machine("cpu"), 1)
                       .step,
                   "item rows");
  };
  EXPECT_EQ(rows_ms("lazy_adam", 1e8), rows_ms("lazy_adam", 1e9));
  EXPECT_NEAR(rows_ms("adam", 1e9) / rows_ms("adam", 1e8), 10, 1e-3);
}

TEST(Plan, NamesThePartThatDoesNotFit) {
  Machine machine = known_machine("h200");
  const RunConfig config = config_of({"item.table.placement=replicated", "item.table.dim=512"});
  DataShape data = data_of(12);
  data.items = 1e9;
  const Plan plan = make_plan(config, data, machine, 8);
  EXPECT_NO_THROW(require_fit(plan)) << "the table is in the memory of the host";
  machine = known_machine("cpu");
  EXPECT_THAT(message_of<ConfigError>([&] { require_fit(make_plan(config, data, machine, 8)); }),
              AllOf(HasSubstr("'item table'"), HasSubstr("item.table.placement")));
}

TEST(Plan, ShardedItemRowsTakeTheMemoryOfTheGpuUnlessTheyAreToStayOnTheHost) {
  DataShape data = data_of(12);
  data.items = 1e9;
  const auto table_of = [&](const std::string& memory, const std::string& machine) {
    const RunConfig config = config_of(
        {"item.table.placement=row_sharded", "item.table.dim=64", "item.table.memory=" + memory});
    for (const PlanPart& part : make_plan(config, data, known_machine(machine), 8).memory)
      if (part.name == "item table") return part;
    return PlanPart{};
  };
  const PlanPart near = table_of("auto", "h200"), far = table_of("host", "h200");
  EXPECT_EQ(near.key, "item.table.memory");
  EXPECT_FALSE(near.on_host);
  EXPECT_FALSE(table_of("device", "h200").on_host);
  EXPECT_TRUE(far.on_host);
  EXPECT_EQ(far.key, "item.table.dim");
  EXPECT_EQ(near.value, far.value);
  EXPECT_TRUE(table_of("auto", "cpu").on_host);
}

TEST(Plan, ScalesUpToTheUsersOfAStep) {
  const RunConfig config = config_of({"train.global_batch_users=64", "model.hidden=256"});
  const Plan plan = make_plan(config, data_of(12), known_machine("cpu"), 2);
  ASSERT_EQ(plan.scaling.size(), 5);
  EXPECT_EQ(plan.scaling.front().efficiency, 1);
  EXPECT_EQ(plan.scaling.front().communication_ms, 0);
  EXPECT_LT(plan.scaling[1].efficiency, 1);
  EXPECT_GT(plan.scaling[1].communication_ms, 0);
  EXPECT_LT(plan.scaling[1].compute_ms, plan.scaling[0].compute_ms / 4);
  EXPECT_TRUE(plan.scaling[2].possible);
  EXPECT_FALSE(plan.scaling[3].possible) << "128 ranks for 64 users";
}

TEST(Plan, SumsOverTheNetworkWhereANodeHasTooFewRanks) {
  Machine machine = known_machine("cpu");
  const RunConfig config = config_of({"train.global_batch_users=64"});
  const auto exchange = [&](double ranks_per_node) {
    machine.ranks_per_node = ranks_per_node;
    const Plan plan = make_plan(config, data_of(12), machine, 8);
    return part_of(plan.step, "sum of gradients, exposed");
  };
  EXPECT_GT(exchange(4), 2 * exchange(8));
}

TEST(Plan, ASaveHoldsTheStepForACopyOrForTheDisk) {
  RunConfig config = config_of({"checkpoint.every_steps=10", "checkpoint.keep_last=4"});
  const Machine machine = known_machine("cpu");
  DataShape data = data_of(12);
  data.items = 1e6;
  const Plan without = make_plan(config, data, machine, 1);
  config.item.table.placement = ItemPlacement::kRowSharded;
  const Plan with = make_plan(config, data, machine, 2);
  const double table_bytes = (data.items + 1) * (64 + 2) * 4 + data.items * 8;
  EXPECT_NEAR(with.checkpoint_bytes, with.shape.parameters * 12 + data.items * 4 + table_bytes, 1);
  EXPECT_GT(with.stall_ms, 10 * without.stall_ms);
  data.items = 1e9;  // more than the memory for a copy
  const Plan streamed = make_plan(config, data, machine, 2);
  EXPECT_GT(streamed.stall_ms, 3000 * with.stall_ms);
  EXPECT_NEAR(with.stall_percent, 100 * with.stall_ms / (10 * with.step_ms), 1e-9);
  EXPECT_EQ(with.disk_bytes, 5 * with.checkpoint_bytes);
}

// float32 and bfloat16 have rates of their own; a CPU computes in float32 unless told otherwise.
TEST(Plan, ProductsGoAtTheRateOfTheirPrecision) {
  Machine machine = known_machine("h200");
  const auto encoder = [&](const char* precision) {
    const RunConfig config = config_of({std::string("train.precision=") + precision});
    return part_of(make_plan(config, data_of(12), machine, 1).step, "encoder products");
  };
  EXPECT_NEAR(encoder("fp32") * machine.fp32_tflops, encoder("bf16") * machine.bf16_tflops, 1e-9);
  machine.gpu = false;
  EXPECT_EQ(encoder("bf16"), encoder("fp32"));
  EXPECT_LT(encoder("bf16_always"), encoder("fp32"));
}

TEST(Plan, GradientsAreSentInTheirElementType) {
  Machine machine = known_machine("cpu");
  machine.local_latency_us = 0;
  const auto exchange = [&](const char* type) {
    const RunConfig config = config_of({std::string("comm.reduce_dtype=") + type});
    return part_of(make_plan(config, data_of(12), machine, 8).step, "sum of gradients, exposed");
  };
  const double bytes = 4 * step_shape(config_of({}), data_of(12), 8, false).parameters;
  const double seconds = 2 * 7.0 / 8 * bytes / (machine.local_gb_per_second * 1e9);
  EXPECT_NEAR(exchange("fp32"), 1000 * seconds, 1e-9);
  EXPECT_NEAR(exchange("bf16"), 1000 * seconds / 2, 1e-9);
}

TEST(Plan, TheSlowestRankAndAnEpochFollowFromTheStep) {
  const Machine machine = known_machine("cpu");
  const RunConfig config = config_of({"train.global_batch_users=64"});
  const Plan plan = make_plan(config, data_of(12), machine, 8);
  const double waiting = part_of(plan.step, "waiting for the slowest rank");
  EXPECT_NEAR(
      waiting,
      (plan.step_ms - waiting) * machine.straggler_percent / 100 * std::sqrt(2 * std::log(8)),
      1e-9);
  const Plan alone = make_plan(config, data_of(12), machine, 1);
  EXPECT_EQ(part_of(alone.step, "waiting for the slowest rank"), 0);
  EXPECT_NEAR(plan.users_per_second, 1000 * 64 / plan.step_ms, 1e-6);
  EXPECT_NEAR(plan.epoch_seconds, 1000 / plan.users_per_second, 1e-9) << "of 1,000 users";
}

TEST(Plan, LargeContentVectorsStayOnTheHost) {
  const Machine machine = known_machine("h200");
  DataShape data = data_of(256);
  data.items = 1e6;
  const Plan near = make_plan(config_of({"data.device_vectors_mib=512"}), data, machine, 1);
  const Plan far = make_plan(config_of({"data.device_vectors_mib=400"}), data, machine, 1);
  EXPECT_NEAR(near.memory_bytes - far.memory_bytes, 1e6 * 256 * 2, 1);
}

}  // namespace
}  // namespace pinnerformer
