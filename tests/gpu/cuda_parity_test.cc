// The GPU computes what the CPU computes. Skips, with the reason, where there is no GPU.
#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <optional>
#include <vector>

#include "comm/thread_communicator.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/item_table_oracle.h"
#include "tests/support/tiny_dataset.h"
#include "tests/support/training_world.h"
#include "trainer/evaluation/retrieval.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/objective/sampled_softmax.h"

namespace pinnerformer {
namespace {

class CudaParity : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

TEST_F(CudaParity, KeyedDropoutDropsTheSameElements) {
  const auto optional = [](bool given, const torch::Tensor& tensor) {
    return given ? std::optional(tensor) : std::nullopt;
  };
  const torch::Tensor input = torch::ones({5, 7, 33});
  const torch::Tensor keys = torch::tensor({11, -3, 0, 1 << 20, 9}, torch::kInt64);
  const torch::Tensor first = torch::tensor({0, 33, 7, 1 << 20, 66}, torch::kInt64);
  for (const auto type : {torch::kFloat32, torch::kBFloat16})
    for (const bool parts : {false, true}) {
      const torch::Tensor host =
          keyed_dropout(input.to(type), keys, /*site=*/3, 0.25, optional(parts, first));
      const torch::Tensor device = keyed_dropout(input.to(type).cuda(), keys.cuda(), /*site=*/3,
                                                 0.25, optional(parts, first.cuda()))
                                       .cpu();
      EXPECT_TRUE(torch::equal(host, device));
    }
}

TEST_F(CudaParity, DroppedBranchesAreAddedByOneKernel) {
  torch::manual_seed(2);
  const torch::Tensor residual = torch::randn({5, 7, 33}), branch = torch::randn({5, 7, 33});
  const torch::Tensor keys = torch::tensor({11, -3, 0, 1 << 20, 9}, torch::kInt64);
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    const auto run = [&](torch::Device device) {
      const torch::Tensor stream = residual.to(device, /*non_blocking=*/false, /*copy=*/true);
      const torch::Tensor leaf = branch.to(type).to(device, /*non_blocking=*/false, /*copy=*/true);
      stream.requires_grad_(true);
      leaf.requires_grad_(true);
      const torch::Tensor sum = add_dropped_at_once(stream, leaf, keys.to(device), 3, 0.25);
      sum.square().sum().backward();
      return std::vector<torch::Tensor>{sum.detach().cpu(), stream.grad().cpu(), leaf.grad().cpu()};
    };
    const auto host = run(torch::kCPU), device = run(torch::kCUDA);
    const double rounding = type == torch::kBFloat16 ? 1e-2 : 1e-6;
    for (size_t i = 0; i < host.size(); ++i)
      EXPECT_TRUE(torch::allclose(device[i], host[i], rounding, rounding)) << i << ", " << type;
  }
}

TEST_F(CudaParity, LossAndGradientsAgree) {
  torch::manual_seed(1);
  const auto unit = [](int64_t rows) {
    const torch::Tensor vectors = torch::randn({rows, 8});
    return vectors / vectors.norm(2, 1, /*keepdim=*/true);
  };
  const torch::Tensor user = unit(6), positive = unit(6), pool = unit(2000),
                      mask = torch::rand({3, 2000}) < 0.2;
  const auto gradients = [&](torch::Device device, bool bf16) {
    const auto leaf = [&](const torch::Tensor& t) { return t.to(device).requires_grad_(); };
    const auto fixed = [&](const torch::Tensor& t) { return t.to(device); };
    const SoftmaxInputs inputs{
        .user = leaf(user.clone()),
        .positive = leaf(positive.clone()),
        .pool = leaf(pool.clone()),
        .inverse_temperature = leaf(torch::tensor(3.0F)),
        .positive_log_q = fixed(torch::zeros({6})),
        .pool_log_q = fixed(torch::linspace(-2, 1, 2000)),
        .weight = fixed(torch::full({6}, 1.0F / 6)),
        .positive_prior = {},
        .pool_prior = {},
        .prior_row = {},
        .row = fixed(torch::tensor({0, 0, 1, 1, 2, 2}, torch::kInt64)),
        .mask = fixed(mask),
        .positive_item = {},
        .pool_item = {},
    };
    sampled_softmax_loss(inputs, bf16).backward();
    return std::vector<torch::Tensor>{inputs.user.grad().cpu(), inputs.positive.grad().cpu(),
                                      inputs.pool.grad().cpu(),
                                      inputs.inverse_temperature.grad().cpu()};
  };
  const auto host = gradients(torch::kCPU, /*bf16=*/false);
  for (const bool bf16 : {false, true}) {
    const auto device = gradients(torch::kCUDA, bf16);
    for (size_t i = 0; i < host.size(); ++i) {
      const double largest = host[i].abs().max().item<double>();
      EXPECT_TRUE(torch::allclose(host[i], device[i], /*rtol=*/bf16 ? 0 : 1e-4,
                                  /*atol=*/(bf16 ? 3e-2 : 1e-6) * largest))
          << i << (bf16 ? ", bf16" : "");
    }
  }
}

// The rows on the GPU, updated by its kernel.
TEST_F(CudaParity, ItemRowsLearnTheSame) {
  const auto comm = make_single_communicator();
  for (const char* optimizer : {"rowwise_adagrad", "lazy_adam", "adam"}) {
    TableRun run = table_run("row_sharded", optimizer);
    run.table.dim = 150;  // more than the threads of a block
    const auto host = train_item_table(run, {comm.get(), comm.get()});
    const auto device =
        train_item_table(run, {comm.get(), comm.get(), torch::Device(torch::kCUDA, 0)});
    for (const auto& [name, column] : host)
      EXPECT_LE(relative_error(device.at(name), column), 1e-5) << optimizer << " " << name;
    EXPECT_TRUE(torch::equal(device.at("updates"), host.at("updates"))) << optimizer;
  }
}

TEST_F(CudaParity, AWholeTrainingAgrees) {
  const TemporaryDirectory directory;
  const Dataset dataset = Dataset::open(write_tiny_dataset(directory.path(), 47));
  TrainerOptions options = tiny_trainer_options(directory / "cpu");
  options.item.table.placement = ItemPlacement::kRowSharded;
  options.item.table.dim = 6;
  const Trained host = train_world(dataset, 1, options);
  options.run.directory = directory / "gpu";
  const Trained device = train_world(dataset, 1, options, {}, {}, [](Communicator&) {
    return RankDevice{torch::Device(torch::kCUDA, 0), nullptr};
  });
  ASSERT_EQ(host.losses.size(), device.losses.size());
  for (size_t step = 0; step < host.losses.size(); ++step)
    EXPECT_NEAR(device.losses[step], host.losses[step], 1e-3 * host.losses[step]) << step;
  for (const auto& [name, tensor] : host.weights)
    EXPECT_TRUE(torch::allclose(device.weights.at(name), tensor, /*rtol=*/1e-2, /*atol=*/1e-3))
        << name;
}

// Whole numbers score exactly on both, with ties everywhere, so the answers must be equal.
TEST_F(CudaParity, RetrievalGivesTheSameRanksAndLists) {
  torch::manual_seed(1);
  const torch::Tensor items = torch::randint(-2, 3, {300, 4}, torch::kFloat32);
  const torch::Tensor users = torch::randint(-2, 3, {40, 4}, torch::kFloat32);
  const std::vector<int32_t> seen = {1, 2, 3, 250}, positives = {7, 9, 299};
  const std::vector<RetrievalQuery> queries(
      20, {.vectors = 2, .targets = positives, .positives = positives, .seen = seen});
  for (const int64_t index_items : {0, 100}) {
    const CandidateIndex index(300, index_items, /*seed=*/1);
    const auto host = Retriever(items, index, /*block_bytes=*/7000).answer(users, queries, 50);
    const auto device =
        Retriever(items.cuda(), index, /*block_bytes=*/7000).answer(users, queries, 50);
    for (size_t q = 0; q < queries.size(); ++q) {
      EXPECT_EQ(host[q].ranks, device[q].ranks) << q;
      EXPECT_EQ(host[q].top, device[q].top) << q;
    }
  }
}

}  // namespace
}  // namespace pinnerformer
