// pinnerformer bench plan: what the plan of a step costs one rank of a job with many of them.
#include <charconv>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "comm/counting_communicator.h"
#include "launch/bench/bench_data.h"
#include "launch/bench/imagined_ranks.h"
#include "launch/bench/measure_comm.h"
#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/job/process_memory.h"
#include "trainer/loop/step_inputs.h"
#include "trainer/loop/step_plan.h"

namespace pinnerformer {
namespace {

double thread_cpu_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

struct PlanCost {
  int64_t ranks = 0;
  double cpu_ms_median = 0, cpu_ms_p95 = 0;
  int64_t bytes_received = 0;  // in a step
  int64_t collectives = 0;     // likewise
  double memory_mib = 0;       // peak of the process so far
};

// The batch of one rank, as a job of `ranks` such ranks has it.
TrainingBatch as_part_of(TrainingBatch batch, int64_t ranks) {
  batch.global_slots = batch.slots * ranks;
  return batch;
}

PlanCost measure(const TrainingData& data, const RunConfig& config,
                 const std::vector<TrainingBatch>& batches, int64_t ranks, int64_t steps) {
  constexpr int64_t kWarmup = 3;
  ImaginedRanks others(static_cast<int>(ranks));
  CountingCommunicator comm(others);
  WaitTimer waits(torch::kCPU);
  StepPlanner planner(data, config, config.objective, {&comm, &comm}, nullptr, waits);
  PlanCost cost{.ranks = ranks};
  std::vector<double> ms;
  int64_t bytes = 0, calls = 0;
  for (int64_t step = 0; step < kWarmup + steps; ++step) {
    const TrainingBatch batch =
        as_part_of(batches[static_cast<size_t>(step) % batches.size()], ranks);
    const double begin = thread_cpu_ms();
    const StepPlan plan = planner.plan(batch, step);
    const StepInputs inputs = build_step_inputs(batch, plan, config.negatives, torch::kCPU);
    if (step >= kWarmup) ms.push_back(thread_cpu_ms() - begin);
    if (step + 1 == kWarmup) {
      bytes = comm.bytes_received();
      calls = comm.calls();
    }
  }
  cost.cpu_ms_median = quantile(ms, 0.5);
  cost.cpu_ms_p95 = quantile(ms, 0.95);
  cost.bytes_received = (comm.bytes_received() - bytes) / steps;
  cost.collectives = (comm.calls() - calls) / steps;
  cost.memory_mib = peak_memory_mib();
  return cost;
}

std::vector<int64_t> numbers_of_ranks(const std::vector<std::string>& words) {
  constexpr int64_t kMost = 1 << 20;
  std::vector<int64_t> numbers;
  for (const std::string& word : words) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size() || number < 1 || number > kMost)
      throw UsageError("--ranks: expected whole numbers from 1 to " + std::to_string(kMost) +
                       ", found '" + word + "'");
    numbers.push_back(number);
  }
  return numbers;
}

nlohmann::ordered_json to_json(const PlanCost& cost) {
  return {{"ranks", cost.ranks},
          {"cpu_ms_median", cost.cpu_ms_median},
          {"cpu_ms_p95", cost.cpu_ms_p95},
          {"bytes_received", cost.bytes_received},
          {"collectives", cost.collectives},
          {"memory_mib", cost.memory_mib}};
}

void print(const PlanCost& cost) {
  std::printf("%8lld %12.3f %12.3f %16lld %12lld %12.0f\n", static_cast<long long>(cost.ranks),
              cost.cpu_ms_median, cost.cpu_ms_p95, static_cast<long long>(cost.bytes_received),
              static_cast<long long>(cost.collectives), cost.memory_mib);
}

}  // namespace

int bench_plan(const Arguments& arguments) {
  std::vector<std::string> words = {"8", "128", "1024"};
  int64_t steps = 30;
  CommandLine cli("bench plan",
                  "Measures one rank's share of a step's plan (pairs, pool of negatives, masks) in "
                  "jobs of many ranks. The other ranks' data are made up, and their network is "
                  "infinitely fast; train.global_batch_users are the users of one rank.",
                  "pinnerformer bench plan --ranks 8,128,1024 --config configs/pinnerformer.yaml "
                  "train.global_batch_users=128 item.table.placement=none");
  cli.add_option("ranks", "N,N", &words, "numbers of ranks");
  cli.add_option("steps", "N", &steps, "steps measured");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  if (steps < 1) throw UsageError("bench plan: --steps is 1 or more");
  RunConfig config = cli.config();
  if (config.item.table.placement != ItemPlacement::kNone)
    throw UsageError("bench plan: set item.table.placement=none; `bench table` measures tables");
  config.objective.sample_end = SampleEnd::kLatest;
  keep_freed_memory();
  constexpr int64_t kContentWidth = 8;  // the plan reads no vectors
  const BenchData bench_data(config, kContentWidth, /*rank=*/0);
  const Dataset dataset = Dataset::open(bench_data.path());
  const TrainingData data = full_window_data(dataset, config);
  std::vector<TrainingBatch> batches;
  {
    ImaginedRanks alone(1);
    const auto loader = make_loader(data, config, config.objective, {&alone, &alone}, {});
    while (batches.size() < 4) batches.push_back(loader->next());
  }
  std::printf("%8s %12s %12s %16s %12s %12s\n", "ranks", "CPU ms", "p95 ms", "bytes received",
              "collectives", "memory MiB");
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const int64_t ranks : numbers_of_ranks(words)) {
    const PlanCost cost = measure(data, config, batches, ranks, steps);
    print(cost);
    results.push_back(to_json(cost));
  }
  write_json_file(cli.json_file(), {{"benchmark", "plan"},
                                    {"users_per_rank", config.train.global_batch_users},
                                    {"steps", steps},
                                    {"results", results}});
  return kDone;
}

}  // namespace pinnerformer
