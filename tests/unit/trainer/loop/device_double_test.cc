// A whole training on a device that is not the CPU: a double of one, in host memory that the host
// must not touch. It computes what the CPU computes, touches nothing from the wrong side, waits for
// whatever it reads, and makes the host wait once a step.
#ifdef PF_WITH_CUDA
#include "tests/support/device/device_double.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "comm/gradients/gradient_reducer.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/packed_transfer.h"
#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/device/nccl_double.h"
#include "tests/support/item_table_oracle.h"
#include "tests/support/rank_threads.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"

namespace pinnerformer {
namespace {

using device_double::NcclDouble;
using device_double::report;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr double kDoubleTolerance = 1e-4;  // relative
constexpr double kBf16Tolerance = 2e-2;

// As a Session on GPUs does: rank r computes on device r, and NCCL moves tensors between several.
DeviceOfRank doubles(int world) {
  const auto nccl = std::make_shared<NcclDouble>(world);
  return [nccl](Communicator& control) {
    RankDevice own{device_double::device(control.rank()), nullptr};
    c10::impl::VirtualGuardImpl(own.device.type()).setDevice(own.device);
    if (control.size() > 1)
      own.tensors = make_nccl_communicator(control, own.device, /*timeout_seconds=*/60,
                                           nccl->api(control.rank()));
    return own;
  };
}

class DeviceDouble : public testing::Test {
 protected:
  DeviceDouble() : dataset_(Dataset::open(write_tiny_dataset(directory_.path(), 47))) {
    device_double::reset();
  }

  [[nodiscard]] TrainerOptions options(const std::string& run) const {
    TrainerOptions options = tiny_trainer_options(directory_ / run);
    options.train.steps = 12;
    options.checkpoint.every_steps = 6;
    return options;
  }
  [[nodiscard]] Trained on_cpu(TrainerOptions options) const {
    options.run.directory += "-cpu";
    return train_world(dataset_, 1, options);
  }
  [[nodiscard]] Trained on_double(const TrainerOptions& options, int world = 1) const {
    return train_world(dataset_, world, options, {}, {}, doubles(world));
  }
  void expect_parity(const TrainerOptions& options, int world,
                     double tolerance = kDoubleTolerance) const {
    const Trained expected = on_cpu(options), found = on_double(options, world);
    ASSERT_EQ(found.losses.size(), expected.losses.size());
    for (size_t step = 0; step < found.losses.size(); ++step)
      EXPECT_NEAR(found.losses[step], expected.losses[step], tolerance * expected.losses[step])
          << "step " << step + 1;
    for (const auto& [name, tensor] : expected.weights) {
      const double error = (found.weights.at(name) - tensor).norm().item<double>();
      EXPECT_LE(error, tolerance * tensor.norm().item<double>() + 1e-6) << name;
    }
    EXPECT_THAT(report().findings, IsEmpty());
  }

  TemporaryDirectory directory_;
  Dataset dataset_;
};

struct DeviceCase {
  const char* objective;
  ItemPlacement placement = ItemPlacement::kNone;
  const char* mask = "user_positives";
  int64_t parts = 1;
  RowMemory memory = RowMemory::kAuto;
  RowOptimizerKind rows = RowOptimizerKind::kRowwiseAdagrad;

  [[nodiscard]] TrainerOptions of(TrainerOptions run) const {
    run.objective.name = enum_value<ObjectiveKind>(objective);
    run.negatives.mask = enum_value<NegativeMask>(mask);
    run.train.gradient_accumulation_steps = parts;
    run.item.table.placement = placement;
    run.item.table.memory = memory;
    run.item.table.optimizer = rows;
    run.item.table.dim = 6;
    run.item.table.pretrain_steps = placement == ItemPlacement::kNone ? 0 : 2;
    return run;
  }
};

class DeviceDoubleTrains : public DeviceDouble, public testing::WithParamInterface<DeviceCase> {};

TEST_P(DeviceDoubleTrains, LikeTheCpu) { expect_parity(GetParam().of(options("run")), 1); }
TEST_P(DeviceDoubleTrains, LikeTheCpuOnTwoRanks) {
  expect_parity(GetParam().of(options("run")), 2);
}

INSTANTIATE_TEST_SUITE_P(
    All, DeviceDoubleTrains,
    testing::Values(DeviceCase{"next_action"}, DeviceCase{"sasrec"}, DeviceCase{"next_item"},
                    DeviceCase{"all_action", ItemPlacement::kNone, "own_positive"},
                    DeviceCase{"dense_all_action", ItemPlacement::kNone, "user_positives", 3},
                    DeviceCase{"dense_all_action", ItemPlacement::kReplicated},
                    DeviceCase{"dense_all_action", ItemPlacement::kRowSharded},
                    DeviceCase{"dense_all_action", ItemPlacement::kRowSharded, "user_positives", 1,
                               RowMemory::kHost},
                    DeviceCase{"sasrec", ItemPlacement::kRowSharded, "user_positives", 2,
                               RowMemory::kDevice, RowOptimizerKind::kAdam}),
    [](const auto& entry) {
      return c10::str(entry.param.objective, "_", enum_name(entry.param.placement), "_",
                      enum_name(entry.param.memory), "_", entry.param.parts);
    });

TEST_F(DeviceDouble, TrainsInBfloat16AsCudaRoundsIt) {
  TrainerOptions run = options("run");
  run.train.precision = Precision::kBf16;
  run.train.steps = 3;
  TrainerOptions exact = run;
  exact.train.precision = Precision::kFp32;
  const Trained expected = on_cpu(exact), found = on_double(run);
  ASSERT_EQ(found.losses.size(), expected.losses.size());
  for (size_t step = 0; step < found.losses.size(); ++step)
    EXPECT_NEAR(found.losses[step], expected.losses[step], kBf16Tolerance * expected.losses[step]);
  EXPECT_NE(found.losses, expected.losses) << "nothing was rounded";
  EXPECT_THAT(report().findings, IsEmpty());
}

TEST_F(DeviceDouble, EveryFormOfTheModelTrains) {
  TrainerOptions run = options("run");
  run.model.block = BlockKind::kLigr;
  run.model.user_head = UserHead::kResidual;
  run.model.prior_days = {1, 7};
  run.item.tower = ItemTower::kResidual;
  expect_parity(run, 2);
}

// The codes of items on the device, and on the host where no memory is given to them.
TEST_F(DeviceDouble, SemanticIdsTrain) {
  add_tiny_codes(dataset_.directory());
  dataset_ = Dataset::open(dataset_.directory());
  TrainerOptions run = options("run");
  run.item.semantic_ids = true;
  run.model.user_head = UserHead::kResidual;
  expect_parity(run, 2);
  DataOptions on_host;
  on_host.device_vectors_mib = 0;
  const Trained near = on_double(run);
  run.run.directory = directory_ / "on_host";
  const Trained far = train_world(dataset_, 1, run, {}, on_host, doubles(1));
  ASSERT_EQ(far.losses.size(), near.losses.size());
  for (size_t step = 0; step < near.losses.size(); ++step)
    EXPECT_NEAR(far.losses[step], near.losses[step], kDoubleTolerance * near.losses[step]);
  EXPECT_THAT(report().findings, IsEmpty());
}

TEST_F(DeviceDouble, GoesOnFromACheckpoint) {
  TrainerOptions half = options("halves");
  half.train.steps = 6;
  half.optimizer.schedule = LrSchedule::kConstant;
  TrainerOptions rest = half;
  rest.train.steps = 12;
  TrainerOptions at_once = rest;
  at_once.run.directory = directory_ / "at_once";
  static_cast<void>(on_double(half));
  const Trained resumed = on_double(rest), straight = on_double(at_once);
  for (const auto& [name, tensor] : straight.weights)
    EXPECT_TRUE(torch::equal(resumed.weights.at(name), tensor)) << name;
  EXPECT_THAT(report().findings, IsEmpty());
}

TEST_F(DeviceDouble, TellsWhatSlowsAGpu) {
  TrainerOptions run = options("run");
  run.train.steps = 1;
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    run.train.precision = precision;
    run.run.directory = directory_ / std::string(enum_name(precision));
    static_cast<void>(on_double(run));
    std::ostringstream log;
    log << std::ifstream(run.run.directory + "/log.txt").rdbuf();
    if (precision == Precision::kFp32)
      EXPECT_THAT(log.str(), HasSubstr("train.precision=fp32 on a GPU"));
    else
      EXPECT_THAT(log.str(), testing::Not(HasSubstr("on a GPU")));
  }
}

// A step that is not finite changes nothing and is named, as on the CPU.
TEST_F(DeviceDouble, LeavesOutAStepThatIsNotFinite) {
  TrainerOptions run = options("run");
  run.train.steps = 2;
  run.train.on_nonfinite = OnNonfinite::kSkip;
  const auto poison = [](Trainer& trainer) {
    torch::Tensor bias = trainer.model()->named_parameters()["head_output.bias"].detach();
    bias.fill_(NAN);
    trainer.time_steps(/*warmup=*/0, /*steps=*/2);
    bias.zero_();
  };
  const auto train = [&](const DeviceOfRank& device) {
    run.run.directory += "x";
    return train_world(dataset_, 1, run, poison, {}, device);
  };
  const Trained expected = train({}), found = train(doubles(1));
  for (const auto& [name, tensor] : expected.weights)
    EXPECT_TRUE(torch::allclose(found.weights.at(name), tensor, kDoubleTolerance, 1e-8,
                                /*equal_nan=*/true))
        << name;
  EXPECT_THAT(report().findings, IsEmpty());
}

TEST_F(DeviceDouble, ValidatesLikeTheCpu) {
  TrainerOptions run = options("run");
  run.validate.every_steps = 6;
  expect_parity(run, 2);
}

// One table, trained as on the CPU; the rows of one rank are no rows of the others.
TEST_F(DeviceDouble, ItemRowsOfADeviceEqualThoseOfTheHost) {
  for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"})
    for (const int ranks : {1, 3}) {
      SCOPED_TRACE(c10::str(optimizer, " on ", ranks));
      const TableRun run = table_run("row_sharded", optimizer);
      const auto expected = train_dense_table(run, initial_rows(run));
      const DeviceOfRank device_of_rank = doubles(ranks);
      run_ranks(ranks, [&](Communicator& control) {
        const RankDevice own = device_of_rank(control);
        const Ranks all{&control, own.tensors ? own.tensors.get() : &control, own.device};
        const auto found = train_item_table(run, all);
        for (const auto& [name, column] : expected)
          EXPECT_LE(relative_error(found.at(name), column), 1e-5) << name;
        EXPECT_TRUE(torch::equal(found.at("updates"), expected.at("updates")));
      });
      EXPECT_THAT(report().findings, IsEmpty());
    }
}

// Where a checkpoint comes from does not matter to where its rows go.
TEST_F(DeviceDouble, ItemRowsGoOnInOtherMemory) {
  TrainerOptions half = options("halves");
  half.train.steps = 6;
  half.optimizer.schedule = LrSchedule::kConstant;
  half.item.table.placement = ItemPlacement::kRowSharded;
  half.checkpoint.table_full_every = 2;
  TrainerOptions rest = half;
  rest.train.steps = 12;
  rest.item.table.memory = RowMemory::kHost;
  TrainerOptions at_once = rest;
  at_once.run.directory = directory_ / "at_once";
  static_cast<void>(on_double(half, 2));
  const Trained resumed = on_double(rest, 2), straight = on_double(at_once, 2);
  EXPECT_TRUE(straight.weights.contains("item_table.rows"));
  for (const auto& [name, column] : straight.weights)
    EXPECT_LE(relative_error(resumed.weights.at(name), column), kDoubleTolerance) << name;
  EXPECT_THAT(report().findings, IsEmpty());
}

// What five steps cost, without what a training costs once.
struct FiveSteps {
  size_t host_waits = 0;
  int64_t copies = 0;
  std::string where;  // the functions that waited
};

class DeviceDoubleCounts : public DeviceDouble {
 protected:
  [[nodiscard]] FiveSteps five_steps(TrainerOptions run, const DataOptions& data) const {
    run.train.log_every = run.checkpoint.every_steps = 1000;
    const auto report_of = [&](int64_t steps) {
      run.train.steps = steps;
      run.run.directory =
          directory_ / c10::str(run.train.gradient_accumulation_steps, "of", steps, "mib",
                                data.device_vectors_mib, enum_name(run.item.table.memory));
      device_double::reset();
      static_cast<void>(train_world(
          dataset_, 1, run, [](Trainer& trainer) { trainer.train(); }, data, doubles(1)));
      return report();
    };
    const device_double::Report few = report_of(4), many = report_of(9);
    FiveSteps counted{many.host_waits.size() - few.host_waits.size(),
                      many.copies_to_device - few.copies_to_device, ""};
    for (const std::string& wait : many.host_waits) counted.where += wait + "\n";
    return counted;
  }
};

// The host waits for the gradient's norm, one step late; what it has prepared goes in one copy.
TEST_F(DeviceDoubleCounts, TheHostWaitsAndCopiesOnceAStep) {
  TrainerOptions run = options("run");
  for (const int64_t parts : {1, 3}) {
    SCOPED_TRACE(parts);
    run.train.gradient_accumulation_steps = parts;
    const FiveSteps counted = five_steps(run, {});
    EXPECT_EQ(counted.host_waits, 5U) << counted.where;
    EXPECT_EQ(counted.copies, 5);
  }
}

// The numbers of the rows to send, and later which gradients are whose, go to the device in a copy
// each. Rows on the host make it wait for their gradients and for the norm.
TEST_F(DeviceDoubleCounts, ItemRowsOnTheDeviceCostNoWait) {
  TrainerOptions run = options("run");
  run.item.table.placement = ItemPlacement::kRowSharded;
  const FiveSteps near = five_steps(run, {});
  EXPECT_EQ(near.host_waits, 5U) << near.where;
  EXPECT_EQ(near.copies, 15);
  run.item.table.memory = RowMemory::kHost;
  EXPECT_EQ(five_steps(run, {}).host_waits, 15U);
}

TEST_F(DeviceDoubleCounts, VectorsOfTheHostComeInTwoCopiesAndWithoutAWait) {
  TrainerOptions run = options("run");
  run.train.gradient_accumulation_steps = 3;
  run.model.user_head = UserHead::kResidual;  // reads the vectors of the batch once more
  const Trained expected = on_cpu(run);
  DataOptions on_host;
  on_host.device_vectors_mib = 0;
  const FiveSteps counted = five_steps(run, on_host);
  EXPECT_EQ(counted.host_waits, 5U) << counted.where;
  EXPECT_EQ(counted.copies, 15);
  run.run.directory = directory_ / "host";
  const Trained found = train_world(dataset_, 1, run, {}, on_host, doubles(1));
  ASSERT_EQ(found.losses.size(), expected.losses.size());
  for (size_t step = 0; step < found.losses.size(); ++step)
    EXPECT_NEAR(found.losses[step], expected.losses[step],
                kDoubleTolerance * expected.losses[step]);
}

// --- What the double finds. Each is a fault that a GPU would show as wrong numbers, now and then.

struct Stage {
  torch::Device device = device_double::device(0);
  c10::impl::VirtualGuardImpl streams{device.type()};
  c10::Stream compute = streams.getStream(device);
  c10::Stream other = streams.getNewStream(device);
  torch::Tensor tensor = torch::ones({4}).to(device);
};

TEST_F(DeviceDouble, FindsAMissingWait) {
  Stage stage;
  {
    const c10::impl::VirtualGuardImpl& streams = stage.streams;
    streams.exchangeStream(stage.other);
    stage.tensor.mul_(2);
    streams.exchangeStream(stage.compute);
  }
  const auto before = report().findings;
  ASSERT_FALSE(before.empty()) << "written on the other stream before the first write was over";
  EXPECT_THAT(before, Contains(HasSubstr("without waiting")));
  stage.tensor.add_(1);
  EXPECT_THAT(report().findings, Contains(HasSubstr("without waiting")));
}

TEST_F(DeviceDouble, FindsNothingWhereStreamsWait) {
  Stage stage;
  c10::Event ready(stage.device.type()), done(stage.device.type());
  ready.record(stage.compute);
  ready.block(stage.other);
  stage.streams.exchangeStream(stage.other);
  stage.tensor.mul_(2);
  stage.streams.exchangeStream(stage.compute);
  done.record(stage.other);
  done.block(stage.compute);
  stage.tensor.add_(1);
  EXPECT_THAT(report().findings, IsEmpty());
}

TEST_F(DeviceDouble, FindsMemoryThatIsFreedTooEarly) {
  for (const bool recorded : {true, false}) {
    Stage stage;
    c10::Event ready(stage.device.type());
    ready.record(stage.compute);
    ready.block(stage.other);
    stage.streams.exchangeStream(stage.other);
    stage.tensor.mul_(2);
    stage.streams.exchangeStream(stage.compute);
    if (recorded) stage.tensor.record_stream(stage.other);
    stage.tensor.reset();
    const auto findings = report().findings;
    if (recorded)
      EXPECT_THAT(findings, IsEmpty());
    else
      EXPECT_THAT(findings, ElementsAre(HasSubstr("record_stream() is missing")));
  }
}

TEST_F(DeviceDouble, SeveralTensorsTravelInOneCopy) {
  const torch::Tensor ids = torch::arange(7), half = torch::rand({2, 3}).t(),
                      mask = torch::rand({3, 5}) > 0.5, none = torch::empty({0, 4}, torch::kInt64);
  for (const torch::Device device : {device_double::device(0), torch::Device(torch::kCPU)}) {
    std::vector<torch::Tensor> moved{ids, half, torch::Tensor(), mask, none};
    PackedTransfer transfer(device);
    device_double::reset();
    for (torch::Tensor& tensor : moved) transfer.add(tensor);
    transfer.run();
    EXPECT_EQ(report().copies_to_device, device.is_cpu() ? 0 : 1);
    EXPECT_FALSE(moved[2].defined());
    moved.erase(moved.begin() + 2);
    const std::vector<torch::Tensor> sent{ids, half, mask, none};
    for (size_t i = 0; i < sent.size(); ++i) {
      EXPECT_EQ(moved[i].device(), device);
      EXPECT_EQ(moved[i].scalar_type(), sent[i].scalar_type());
      EXPECT_TRUE(torch::equal(moved[i].cpu(), sent[i])) << i;
      EXPECT_EQ(moved[i].is_same(sent[i]), device.is_cpu()) << "on the CPU nothing is copied";
    }
  }
}

// On CPUs it stays whole: the plan decides how the norm of the gradients is rounded.
TEST_F(DeviceDouble, LastBucketIsSmall) {
  constexpr int64_t kHalfMebibyte = 1 << 17;  // floats
  const auto comm = make_single_communicator();
  for (const torch::Device device : {device_double::device(0), torch::Device(torch::kCPU)}) {
    std::vector<torch::Tensor> params;
    for (int i = 0; i < 8; ++i)
      params.push_back(torch::zeros({kHalfMebibyte}, device).requires_grad_(true));
    const GradientReducer reducer(params, *comm, CommOptions());
    std::vector<size_t> sizes;
    for (const Bucket& bucket : reducer.plan()) sizes.push_back(bucket.params.size());
    if (device.is_cpu())
      EXPECT_THAT(sizes, ElementsAre(2, 6));
    else
      EXPECT_THAT(sizes, ElementsAre(2, 4, 2));
  }
}

TEST_F(DeviceDouble, RefusesTensorsOfTwoDevices) {
  const Stage stage;
  EXPECT_THROW(stage.tensor.index_select(0, torch::tensor({1}, torch::kInt64)), c10::Error);
  EXPECT_THROW(stage.tensor.add(torch::ones({4})), c10::Error);
  EXPECT_THROW(stage.tensor.add(stage.tensor.to(device_double::device(1))), c10::Error);
  EXPECT_NO_THROW(stage.tensor.add(torch::ones({}))) << "a scalar of the host is an argument";
}

TEST_F(DeviceDouble, KillsAHostThatReadsTheDevice) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  // By SIGSEGV, of which AddressSanitizer makes an exit code.
  EXPECT_DEATH(
      {
        const Stage stage;
        volatile const float value = *stage.tensor.const_data_ptr<float>();
        static_cast<void>(value);
      },
      "");
}

// A collective whose result is not waited for has not happened.
TEST_F(DeviceDouble, ACollectiveWritesWhenItIsWaitedFor) {
  const DeviceOfRank device_of_rank = doubles(2);
  run_ranks(2, [&](Communicator& control) {
    const RankDevice own = device_of_rank(control);
    const torch::Tensor sum = torch::ones({3}).to(own.device);
    const auto work = own.tensors->all_reduce(sum, "sum");
    EXPECT_FALSE(work->done());
    EXPECT_TRUE(device_double::on_host(sum).eq(1).all().item<bool>());
    control.barrier("looked at");
    work->wait();
    EXPECT_TRUE(sum.cpu().eq(2).all().item<bool>());
  });
  EXPECT_THAT(report().findings, IsEmpty());
}

TEST_F(DeviceDouble, NamesWhoMakesTheHostWait) {
  const Stage stage;
  device_double::reset();
  static_cast<void>(stage.tensor.sum().item<float>());
  static_cast<void>(stage.tensor.cpu());
  EXPECT_THAT(report().host_waits, ElementsAre(HasSubstr("reads a scalar"), HasSubstr("copies")));
}

}  // namespace
}  // namespace pinnerformer
#endif
