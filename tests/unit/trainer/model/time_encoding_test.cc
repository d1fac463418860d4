// Time features against the same formula in integers and long double.
#include "trainer/model/time_encoding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace pinnerformer {
namespace {

constexpr int64_t kMicro = 1'000'000;

// cos and sin of 2 pi t / p + phase with t mod p taken exactly.
struct Wave {
  double cosine = 0, sine = 0;
};
Wave wave(int64_t seconds, double period_seconds, double phase) {
  const auto period = static_cast<__int128>(std::llround(period_seconds * kMicro));
  const auto within = static_cast<int64_t>(static_cast<__int128>(seconds) * kMicro % period);
  const long double angle = 2 * std::numbers::pi_v<long double> * static_cast<long double>(within) /
                                static_cast<long double>(period) +
                            static_cast<long double>(phase);
  return {static_cast<double>(std::cos(angle)), static_cast<double>(std::sin(angle))};
}

void expect_formula(TimeEncoding encoding, const std::vector<double>& periods,
                    const std::vector<int64_t>& seconds) {
  const torch::Tensor phase = encoding->named_parameters()["phase"].detach().view({2, -1});
  const torch::Tensor found =
      encoding(torch::tensor(seconds, torch::kInt64).unsqueeze(0)).detach();  // [1, S, 2P + 1]
  const auto count = std::ssize(periods);
  ASSERT_EQ(found.sizes(), (std::vector<int64_t>{1, std::ssize(seconds), 2 * count + 1}));
  ASSERT_EQ(found.scalar_type(), torch::kFloat32);
  for (int64_t s = 0; s < std::ssize(seconds); ++s) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t t = seconds[static_cast<size_t>(s)];
      const double period = periods[static_cast<size_t>(i)];
      EXPECT_NEAR(found[0][s][i].item<double>(), wave(t, period, phase[0][i].item<double>()).cosine,
                  2e-6)
          << "t " << t << ", period " << period;
      EXPECT_NEAR(found[0][s][count + i].item<double>(),
                  wave(t, period, phase[1][i].item<double>()).sine, 2e-6)
          << "t " << t << ", period " << period;
    }
    EXPECT_NEAR(
        found[0][s][2 * count].item<double>(),
        std::log1p(static_cast<double>(seconds[static_cast<size_t>(s)])) / std::log1p(28.0 * 86400),
        2e-6);
  }
}

TEST(TimeEncoding, HasTheChannelsOfThePaper) {
  EXPECT_EQ(TimeEncoding(absolute_time_periods())->channels(), 25);
  EXPECT_EQ(TimeEncoding(relative_time_periods())->channels(), 65);
}

TEST(TimeEncoding, PeriodsAreThoseOfThePaper) {
  const auto absolute = absolute_time_periods();
  ASSERT_EQ(absolute.size(), 12U);
  EXPECT_DOUBLE_EQ(absolute.front(), 15 * 60);
  EXPECT_DOUBLE_EQ(absolute.back(), 365 * 86400);
  const auto relative = relative_time_periods();
  ASSERT_EQ(relative.size(), 32U);
  EXPECT_DOUBLE_EQ(relative.front(), 1);
  EXPECT_NEAR(relative.back(), 28 * 86400, 1e-6);
  for (size_t i = 1; i < relative.size(); ++i)
    EXPECT_NEAR(relative[i] / relative[i - 1], std::pow(28.0 * 86400, 1 / 31.0), 1e-9);
}

// 2017-06-01, one second later, 2040-02-29 23:59:59 (beyond 32 bits), 9999-12-31.
TEST(TimeEncoding, DatesKeepTheirSeconds) {
  const std::vector<int64_t> dates{1496275200, 1496275201, 2214172799, 253402214400};
  expect_formula(TimeEncoding(absolute_time_periods()), absolute_time_periods(), dates);
  expect_formula(TimeEncoding(relative_time_periods()), relative_time_periods(), dates);
}

TEST(TimeEncoding, AgesAndGapsFromZeroToYears) {
  const std::vector<int64_t> ages{0, 1, 2, 59, 3600, 86399, 86400, 28 * 86400, 400 * 86400};
  expect_formula(TimeEncoding(relative_time_periods()), relative_time_periods(), ages);
}

TEST(TimeEncoding, ZeroIsOneZeroZero) {
  TimeEncoding encoding(relative_time_periods());
  const torch::Tensor found = encoding(torch::zeros({1, 1}, torch::kInt64)).flatten().detach();
  EXPECT_TRUE(torch::equal(found.narrow(0, 0, 32), torch::ones({32})));
  EXPECT_TRUE(torch::equal(found.narrow(0, 32, 33), torch::zeros({33})));
}

TEST(TimeEncoding, LearnsItsPhases) {
  TimeEncoding encoding(absolute_time_periods());
  {
    const torch::NoGradGuard no_grad;
    encoding->named_parameters()["phase"].copy_(torch::linspace(-2, 2, 24));
  }
  expect_formula(encoding, absolute_time_periods(), {1496275200, 2214172799});
  encoding(torch::full({1, 1}, 1496275200, torch::kInt64)).sum().backward();
  EXPECT_GT(encoding->named_parameters()["phase"].grad().abs().min().item<float>(), 0);
  // Periods are no parameters: they stay fixed and out of the optimizer.
  EXPECT_EQ(encoding->parameters().size(), 1U);
}

}  // namespace
}  // namespace pinnerformer
