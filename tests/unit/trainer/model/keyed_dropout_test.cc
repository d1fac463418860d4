// Dropout as a function of (key of the row, site, element).
#include "trainer/model/keyed_dropout.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

namespace pinnerformer {
namespace {

torch::Tensor keys_of(const std::vector<int64_t>& keys) {
  return torch::tensor(keys, torch::kInt64);
}

torch::Tensor mask_of(const std::vector<int64_t>& keys, int64_t positions, int64_t site,
                      double p = 0.3) {
  const torch::Tensor ones = torch::ones({std::ssize(keys), positions, 16});
  return keyed_dropout(ones, keys_of(keys), site, p) > 0;
}

TEST(KeyedDropout, BatchAroundARowDoesNotMatter) {
  const torch::Tensor alone = mask_of({42}, 9, 1);
  EXPECT_TRUE(torch::equal(mask_of({7, 42, -3}, 9, 1)[1], alone[0]));
  EXPECT_TRUE(torch::equal(mask_of({42, 7}, 9, 1)[0], alone[0]));
}

TEST(KeyedDropout, PaddingDoesNotMatter) {
  const torch::Tensor exact = mask_of({42}, 9, 1);
  EXPECT_TRUE(torch::equal(mask_of({42}, 50, 1).narrow(1, 0, 9), exact));
}

TEST(KeyedDropout, PartsOfARowHaveTheMaskOfTheRow) {
  const torch::Tensor whole = mask_of({42, 43}, 9, 1);  // [2, 9, 16]
  const torch::Tensor parts = keyed_dropout(torch::ones({3, 16}), keys_of({42, 43, 42}), 1, 0.3,
                                            keys_of({5 * 16, 0, 16})) > 0;
  EXPECT_TRUE(torch::equal(parts[0], whole[0][5]));
  EXPECT_TRUE(torch::equal(parts[1], whole[1][0]));
  EXPECT_TRUE(torch::equal(parts[2], whole[0][1]));
}

TEST(KeyedDropout, KeySiteAndElementAllMatter) {
  const torch::Tensor mask = mask_of({42, 43}, 100, 1);
  EXPECT_FALSE(torch::equal(mask[0], mask[1]));
  EXPECT_FALSE(torch::equal(mask_of({42}, 100, 2)[0], mask[0]));
  // Agreement of two independent masks with keep rate q is q^2 + (1 - q)^2 = 0.58.
  const double agree = (mask[0] == mask[1]).to(torch::kFloat64).mean().item<double>();
  EXPECT_NEAR(agree, 0.58, 0.05);
  const double neighbours = (mask[0].narrow(0, 0, 99) == mask[0].narrow(0, 1, 99))
                                .to(torch::kFloat64)
                                .mean()
                                .item<double>();
  EXPECT_NEAR(neighbours, 0.58, 0.05);
}

TEST(KeyedDropout, KeepsTheRateAndTheExpectation) {
  std::vector<int64_t> keys(64);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<int64_t>(i) - 20;
  constexpr double kElements = 64 * 50 * 16;
  for (const double p : {0.01, 0.1, 0.5, 0.9}) {
    const torch::Tensor ones = torch::ones({64, 50, 16});
    const torch::Tensor out = keyed_dropout(ones, keys_of(keys), 3, p);
    const double kept = (out > 0).to(torch::kFloat64).mean().item<double>();
    EXPECT_NEAR(kept, 1 - p, 5 * std::sqrt(p * (1 - p) / kElements)) << p;
    EXPECT_NEAR(out.max().item<double>(), 1 / (1 - p), 1e-5 / (1 - p));
    EXPECT_NEAR(out.to(torch::kFloat64).mean().item<double>(), 1,
                5 * std::sqrt(p / (1 - p) / kElements));
    // Every row has its own share, or some users would always lose more.
    const torch::Tensor rows = (out > 0).to(torch::kFloat64).mean({1, 2});
    EXPECT_LT((rows - (1 - p)).abs().max().item<double>(), 5 * std::sqrt(p * (1 - p) / 800));
  }
}

TEST(KeyedDropout, BackwardUsesTheSameMask) {
  torch::Tensor input = torch::randn({3, 20, 8}).requires_grad_(true);
  const torch::Tensor keys = keys_of({1, 2, 3});
  const torch::Tensor first = keys_of({0, 800, 160});
  const torch::Tensor out = keyed_dropout(input, keys, 4, 0.4, first);
  const torch::Tensor weight = torch::randn_like(out);
  (out * weight).sum().backward();
  const torch::Tensor scale =
      keyed_dropout(torch::ones_like(input).detach(), keys, 4, 0.4, first);  // mask / (1 - p)
  EXPECT_TRUE(torch::allclose(input.grad(), weight * scale));
  EXPECT_TRUE(torch::equal(out.detach(), input.detach() * scale));
  EXPECT_GT((input.grad() == 0).sum().item<int64_t>(), 100);
}

// What a GPU computes by one kernel, with the bodies that it has in common with the CPU.
TEST(KeyedDropout, AddingAtOnceIsAddingWhatWasDropped) {
  const torch::Tensor keys = keys_of({1, 2, 3}), first = keys_of({0, 800, 160});
  for (const auto type : {torch::kFloat32, torch::kBFloat16})
    for (const std::optional<torch::Tensor>& parts :
         {std::optional<torch::Tensor>(), std::optional(first)}) {
      const torch::Tensor weight = torch::randn({3, 20, 8});
      const auto run = [&](const auto& add) {
        torch::manual_seed(5);
        const torch::Tensor residual = torch::randn({3, 20, 8}).requires_grad_(true);
        const torch::Tensor branch = torch::randn({3, 8, 20}).transpose(1, 2).to(type);
        branch.requires_grad_(true);
        const torch::Tensor sum = add(residual, branch, keys, 4, 0.4, parts);
        (sum * weight).sum().backward();
        return std::vector<torch::Tensor>{sum.detach(), residual.grad(), branch.grad()};
      };
      const auto plain = run([](const auto& residual, const auto& branch, const auto&... rest) {
        return residual + keyed_dropout(branch, rest...);
      });
      const auto at_once = run([](const auto&... all) { return add_dropped_at_once(all...); });
      const double rounding = type == torch::kBFloat16 ? 1.0 / 32 : 1e-6;
      for (size_t i = 0; i < plain.size(); ++i) {
        EXPECT_EQ(at_once[i].scalar_type(), plain[i].scalar_type()) << i;
        EXPECT_TRUE(torch::allclose(at_once[i], plain[i], rounding, rounding)) << i << ", " << type;
        EXPECT_EQ(at_once[i].sizes(), plain[i].sizes());
      }
      EXPECT_GT((at_once[2] == 0).sum().item<int64_t>(), 100)
          << "dropped elements have no gradient";
    }
}

TEST(KeyedDropout, OnACpuABranchIsDroppedAndThenAdded) {
  const torch::Tensor keys = keys_of({1, 2}), residual = torch::randn({2, 3, 4}),
                      branch = torch::randn({2, 3, 4});
  EXPECT_TRUE(torch::equal(add_dropped(residual, branch, keys, 1, 0.3),
                           residual + keyed_dropout(branch, keys, 1, 0.3)));
}

TEST(KeyedDropout, LeavesItsInputAlone) {
  const torch::Tensor input = torch::ones({2, 4, 4});
  const torch::Tensor before = input.clone();
  static_cast<void>(keyed_dropout(input, keys_of({1, 2}), 0, 0.5));
  EXPECT_TRUE(torch::equal(input, before));
}

TEST(KeyedDropout, NoDropoutIsTheIdentity) {
  const torch::Tensor input = torch::randn({2, 3, 4});
  EXPECT_TRUE(keyed_dropout(input, keys_of({1, 2}), 0, 0).is_same(input));
}

TEST(KeyedDropout, TypesAndStridesShareOneMask) {
  const torch::Tensor wide = torch::ones({2, 8, 6});
  const torch::Tensor out = keyed_dropout(wide, keys_of({5, 6}), 1, 0.5);
  const torch::Tensor half = keyed_dropout(wide.to(torch::kBFloat16), keys_of({5, 6}), 1, 0.5);
  EXPECT_EQ(half.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(half.to(torch::kFloat32), out));
  const torch::Tensor strided = torch::ones({2, 6, 8}).transpose(1, 2);
  EXPECT_TRUE(torch::equal(keyed_dropout(strided, keys_of({5, 6}), 1, 0.5), out));
}

TEST(KeyedDropout, HandlesNoRowsAndRefusesOne) {
  EXPECT_EQ(keyed_dropout(torch::ones({0, 3, 4}), keys_of({}), 0, 0.5).numel(), 0);
  EXPECT_THROW(static_cast<void>(keyed_dropout(torch::ones({1, 1}), keys_of({1}), 0, 1.0)),
               c10::Error);
  EXPECT_THROW(static_cast<void>(keyed_dropout(torch::ones({1, 1}), keys_of({1}), 0, -0.1)),
               c10::Error);
}

}  // namespace
}  // namespace pinnerformer
