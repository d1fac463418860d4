// pinnerformer bench encoder: one block of the configured kind at several lengths, forward and
// backward; of a recurrent kind the recurrence alone as well, beside a loop over the events, and
// what a user's state costs.
#include <ATen/Parallel.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "dataloader/base/enum_name.h"
#include "launch/bench/measure_comm.h"
#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/job/process_memory.h"
#include "trainer/model/encoder_kinds.h"
#include "trainer/model/linear_recurrence.h"

namespace pinnerformer {
namespace {

// Positions of all users of a batch: the same number at every length.
constexpr int64_t kPositions = 1 << 14;
constexpr double kLongestRadius = 0.99;
// Of a user with a state: single events that are timed, and the seconds between events.
constexpr int64_t kEvents = 101, kEventSeconds = 3600;

// The median time of a call in milliseconds.
double median_ms(int64_t repetitions, const std::function<void()>& work) {
  work();
  std::vector<double> ms;
  for (int64_t i = 0; i < repetitions; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
                     .count());
  }
  return quantile(ms, 0.5);
}

double block_ms(const ModelOptions& options, int64_t users, int64_t repetitions) {
  const int64_t length = options.max_length;
  const std::shared_ptr<EncoderBlock> block = encoder_kind(options.block).make(options, 1);
  const torch::Tensor states = torch::randn({users, length, options.hidden}).requires_grad_(true);
  const Sequences sequences{torch::full({users}, length, torch::kInt64),
                            torch::randint(100'000, {users, length}).to(torch::kInt64).cumsum(1),
                            torch::arange(users)};
  return median_ms(repetitions, [&] { block->forward(states, sequences).sum().backward(); });
}

// Complex numbers by LibTorch, one event after the other.
torch::Tensor recurrence_by_loop(const torch::Tensor& input, const torch::Tensor& weight) {
  const auto complex_of = [](const torch::Tensor& t) {
    const auto parts = t.chunk(2, -1);
    return torch::complex(parts[0], parts[1]);
  };
  const torch::Tensor events = complex_of(input), factor = complex_of(weight);
  torch::Tensor state = torch::zeros_like(events.select(1, 0));
  std::vector<torch::Tensor> states;
  for (int64_t s = 0; s < input.size(1); ++s)
    states.push_back(state = factor * state + events.select(1, s));
  const torch::Tensor all = torch::stack(states, 1);
  return torch::cat({torch::real(all), torch::imag(all)}, -1);
}

nlohmann::ordered_json recurrence_ms(const ModelOptions& options, int64_t users,
                                     int64_t repetitions) {
  const torch::Tensor input =
      torch::randn({users, options.max_length, 2 * options.hidden}).requires_grad_(true);
  const torch::Tensor angle = torch::rand({options.hidden}) * 6;
  const torch::Tensor weight =
      (torch::cat({torch::cos(angle), torch::sin(angle)}) * kLongestRadius).requires_grad_(true);
  const double ours =
      median_ms(repetitions, [&] { linear_recurrence(input, weight).sum().backward(); });
  const double loop =
      median_ms(repetitions, [&] { recurrence_by_loop(input, weight).sum().backward(); });
  return {{"ms", ours}, {"loop_ms", loop}, {"times_as_fast", loop / ours}};
}

// What a user costs whose past is a state: its bytes, and the time that one new event takes after
// `length` earlier ones.
nlohmann::ordered_json state_cost(const ModelOptions& options, int64_t repetitions) {
  const torch::NoGradGuard no_grad;
  const std::shared_ptr<EncoderBlock> block = encoder_kind(options.block).make(options, 1);
  block->eval();
  auto& recurrent = dynamic_cast<RecurrentBlock&>(*block);
  const auto events = [&](int64_t count) {
    return Sequences{torch::full({1}, count, torch::kInt64),
                     torch::arange(count).unsqueeze(0) * kEventSeconds,
                     torch::zeros({1}, torch::kInt64)};
  };
  torch::Tensor state = torch::zeros({1, recurrent.state_width()});
  recurrent.go_on(torch::randn({1, options.max_length, options.hidden}), events(options.max_length),
                  state);
  const torch::Tensor next = torch::randn({1, 1, options.hidden});
  const double ms = median_ms(repetitions, [&] { recurrent.go_on(next, events(1), state); });
  return {{"bytes", state.nbytes()}, {"us_per_event", 1000 * ms}};
}

}  // namespace

int bench_encoder(const Arguments& arguments) {
  int64_t shortest = 64, longest = 4096, repetitions = 5;
  CommandLine cli("bench encoder",
                  "Times one block of model.block, forward and backward, at lengths from the "
                  "shortest to the longest, each four times the one before. A batch has 16,384 "
                  "positions at every length: the time of a block whose cost is linear in the "
                  "length stays the same. Of a recurrent block also the state of one user: its "
                  "bytes, and the time of one more event after so many.",
                  "pinnerformer bench encoder model.block=lru model.features.position=false "
                  "model.hidden=64");
  cli.add_option("shortest", "N", &shortest, "events of the first batch");
  cli.add_option("longest", "N", &longest, "events of the last batch, at most");
  cli.add_option("repetitions", "N", &repetitions, "calls, of which the median is taken");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  if (shortest < 1 || longest < shortest || longest > kPositions || repetitions < 1)
    throw UsageError(
        "bench encoder: --shortest is at least 1, --longest at least that and at most " +
        std::to_string(kPositions) + ", --repetitions at least 1");
  keep_freed_memory();
  ModelOptions options = cli.config().model;
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (int64_t length = shortest; length <= longest; length *= 4) {
    const int64_t users = kPositions / length;
    options.max_length = length;
    nlohmann::ordered_json row{
        {"length", length}, {"users", users}, {"ms", block_ms(options, users, repetitions)}};
    if (is_recurrent(options.block)) {
      row["recurrence"] = recurrence_ms(options, users, repetitions);
      row["state"] = state_cost(options, kEvents);
    }
    results.push_back(row);
  }
  const nlohmann::ordered_json result{{"benchmark", "encoder"},
                                      {"block", enum_name(options.block)},
                                      {"hidden", options.hidden},
                                      {"threads", at::get_num_threads()},
                                      {"results", results}};
  std::cout << result.dump(2) << std::endl;
  write_json_file(cli.json_file(), result);
  return kDone;
}

}  // namespace pinnerformer
