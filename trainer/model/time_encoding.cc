#include "trainer/model/time_encoding.h"

#include <cmath>
#include <numbers>

namespace pinnerformer {
namespace {

constexpr int64_t kMicro = 1'000'000;
constexpr double kHour = 3600, kDay = 86400, kFourWeeks = 28 * kDay;

}  // namespace

std::vector<double> absolute_time_periods() {
  return {kHour / 4, kHour / 2,  kHour * 3 / 4, kHour,    kHour * 2, kHour * 4,
          kHour * 8, kHour * 16, kDay,          kDay * 7, kDay * 28, kDay * 365};
}

std::vector<double> relative_time_periods() {
  std::vector<double> periods;
  for (int i = 0; i < 32; ++i) periods.push_back(std::pow(kFourWeeks, i / 31.0));
  return periods;
}

// Note [Integer modulo]
// float32 resolves epoch seconds to 128 s only, so t is reduced modulo the period in int64 first.
// Microseconds make the log-spaced periods integers too; a year-9999 date still fits.
TimeEncodingImpl::TimeEncodingImpl(const std::vector<double>& period_seconds) {
  std::vector<int64_t> periods;
  for (const double seconds : period_seconds)
    periods.push_back(std::llround(seconds * static_cast<double>(kMicro)));
  period_us_ = register_buffer("period_us", torch::tensor(periods, torch::kInt64));
  phase_ = register_parameter("phase", torch::zeros({2 * period_us_.size(0)}));
}

int64_t TimeEncodingImpl::channels() const { return 2 * period_us_.size(0) + 1; }

torch::Tensor TimeEncodingImpl::forward(const torch::Tensor& seconds) {
  const torch::Tensor within = (seconds * kMicro).unsqueeze(-1).remainder(period_us_);
  const torch::Tensor turns = (within.to(torch::kFloat64) / period_us_).to(torch::kFloat32);
  const torch::Tensor angle = turns * (2 * std::numbers::pi);  // [B, S, P]
  const torch::Tensor log_time =
      torch::log1p(seconds.to(torch::kFloat32)).unsqueeze(-1) / std::log1p(kFourWeeks);
  const auto phase = phase_.chunk(2);
  return torch::cat({torch::cos(angle + phase[0]), torch::sin(angle + phase[1]), log_time}, -1);
}

}  // namespace pinnerformer
