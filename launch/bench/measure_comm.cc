#include "launch/bench/measure_comm.h"

#include <torch/cuda.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "comm/mpi/mpi_communicator.h"

namespace pinnerformer {
namespace {

constexpr int kWarmUp = 2;
constexpr int kMostShifts = 16;

// Microseconds from the common start of all ranks to the result on this one.
template <class Call>
double time_us(const Ranks& ranks, Call call) {
  ranks.control->barrier("start of a measurement");
  const auto begin = std::chrono::steady_clock::now();
  call();
  if (ranks.device.is_cuda()) torch::cuda::synchronize(ranks.device.index());
  return 1e6 * seconds_since(begin);
}

// Small whole numbers that differ by rank: their sum is exact in float32.
torch::Tensor values_of(int rank, int64_t elements) {
  return torch::arange(elements, torch::kInt64).remainder(7).add(rank + 1).to(torch::kFloat32);
}

bool sums_right(const Ranks& ranks, int64_t elements) {
  torch::Tensor sum = values_of(ranks.tensors->rank(), elements).to(ranks.device);
  ranks.tensors->all_reduce(sum, "all-reduce check")->wait();
  const int n = ranks.tensors->size();
  const torch::Tensor expected = values_of(0, elements) * n + n * (n - 1) / 2;
  torch::Tensor wrong = torch::tensor({torch::equal(sum.cpu(), expected) ? 0 : 1}, torch::kInt64);
  ranks.control->all_reduce(wrong, "ranks with a wrong sum")->wait();
  return wrong.item<int64_t>() == 0;
}

}  // namespace

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(std::lround(q * last))];
}

AllReduceTiming time_all_reduce(const Ranks& ranks, int64_t bytes, int repetitions, bool plain) {
  const int64_t elements = std::max<int64_t>(1, bytes / 4);
  AllReduceTiming timing;
  timing.bytes = 4 * elements;
  timing.correct = sums_right(ranks, elements);
  torch::Tensor buffer =
      torch::zeros({elements}, torch::TensorOptions(torch::kFloat32).device(ranks.device));
  std::vector<double> ours, theirs;
  for (int i = -kWarmUp; i < repetitions; ++i) {
    const double us = time_us(
        ranks, [&] { ranks.tensors->all_reduce(buffer, "all-reduce measurement")->wait(); });
    const double plain_us = plain ? time_us(ranks, [&] { plain_mpi_all_reduce(buffer); }) : 0;
    if (i < 0) continue;
    ours.push_back(us);
    theirs.push_back(plain_us);
  }
  timing.median_us = quantile(ours, 0.5);
  timing.p95_us = quantile(ours, 0.95);
  const double n = ranks.tensors->size();
  timing.bus_gb_per_second =
      2 * (n - 1) / n * static_cast<double>(timing.bytes) / timing.median_us / 1000;
  if (plain) timing.plain_median_us = quantile(theirs, 0.5);
  return timing;
}

std::optional<SlowestLink> find_slowest_link(const Ranks& ranks, int64_t bytes) {
  Communicator& comm = *ranks.tensors;
  const int n = comm.size();
  if (n == 1) return std::nullopt;
  const int shifts = std::min(n - 1, kMostShifts);
  const auto options = torch::TensorOptions(torch::kUInt8).device(ranks.device);
  torch::Tensor out = torch::zeros({bytes / 4}, options.dtype(torch::kFloat32));
  torch::Tensor in = torch::zeros_like(out);
  torch::Tensor mine = torch::zeros({1, shifts}, torch::kFloat64);
  for (int shift = 1; shift <= shifts; ++shift) {
    std::vector<int64_t> send(static_cast<size_t>(n), 0), receive(static_cast<size_t>(n), 0);
    send[static_cast<size_t>((comm.rank() + shift) % n)] = out.numel();
    receive[static_cast<size_t>((comm.rank() - shift + n) % n)] = in.numel();
    std::vector<double> times;
    for (int i = 0; i < 4; ++i)
      times.push_back(time_us(
          ranks, [&] { comm.all_to_all(in, out, receive, send, "link measurement")->wait(); }));
    mine[0][shift - 1] = *std::ranges::min_element(times);
  }
  torch::Tensor all = torch::zeros({n, shifts}, torch::kFloat64);
  const std::vector<int64_t> one_each(static_cast<size_t>(n), 1);
  ranks.control->all_gather(all, mine, one_each, "times of the links")->wait();
  const int64_t worst = all.argmax().item<int64_t>();
  const auto speed = [&](double us) { return static_cast<double>(bytes) / us / 1000; };
  const int receiver = static_cast<int>(worst / shifts),
            shift = static_cast<int>(worst % shifts) + 1;
  return SlowestLink{.from = (receiver - shift + n) % n,
                     .to = receiver,
                     .gb_per_second = speed(all.max().item<double>()),
                     .median_gb_per_second = speed(all.median().item<double>())};
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace pinnerformer
