// pinnerformer bench machine: the figures of this machine that a plan is made from.
#include "launch/plan/machine.h"

#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/file.h"
#include "dataloader/base/published_file.h"
#include "launch/bench/bench_data.h"
#include "launch/bench/measure_comm.h"
#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/job/agreed_precision.h"
#include "launch/job/process_memory.h"
#include "launch/job/session.h"
#include "launch/plan/block_cost.h"
#include "trainer/loop/trainer.h"
#include "trainer/model/autocast.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/model/linear.h"

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;

// Of the block that is timed.
constexpr int64_t kWindow = 64;  // events of a user
constexpr int64_t kWidth = 256;  // H

// Users of a rank in a step: enough to fill the device.
int64_t users_on(torch::Device device) { return device.is_cuda() ? 1024 : 32; }
int64_t events_on(torch::Device device) { return users_on(device) * kWindow; }

// Seconds of `work`, in `rounds` after one that warms up.
std::vector<double> seconds_of(const std::function<torch::Tensor()>& work, int64_t rounds) {
  std::vector<double> seconds;
  for (int64_t round = -1; round < rounds; ++round) {
    const Clock::time_point begin = Clock::now();
    static_cast<void>(work().sum().item<float>());  // waits for the device
    if (round >= 0) seconds.push_back(seconds_since(begin));
  }
  return seconds;
}

torch::Tensor values(int64_t rows, int64_t columns, torch::Device device) {
  return torch::randn({rows, columns}, torch::TensorOptions(device).requires_grad(true));
}

// What a block does beside its products, forward and backward.
double kernel_seconds(torch::Device device, int64_t rounds) {
  constexpr double kDropout = 0.1;
  const int64_t events = events_on(device);
  const torch::Tensor input = values(events, kWidth, device),
                      wide = values(events, 4 * kWidth, device);
  const torch::Tensor keys =
      torch::arange(events, torch::TensorOptions(device).dtype(torch::kInt64));
  const auto norm = [](const torch::Tensor& x) { return torch::layer_norm(x, {kWidth}); };
  const auto work = [&] {
    const torch::Tensor middle = input + keyed_dropout(norm(input), keys, 0, kDropout);
    const torch::Tensor result = middle + keyed_dropout(norm(middle), keys, 1, kDropout);
    const torch::Tensor sum = result.sum() + torch::gelu(wide).sum();
    sum.backward();
    return sum.detach();
  };
  return quantile(seconds_of(work, rounds), 0.5);
}

// The block that is timed, as a plan counts it.
BlockCost timed_block(torch::Device device) {
  ModelOptions model;
  model.block = BlockKind::kTransformer;
  model.hidden = kWidth;
  return block_cost(model, kWindow, device.is_cuda());
}

double kernel_bytes(torch::Device device) {
  return block_touched_bytes(timed_block(device), static_cast<double>(events_on(device)), kWidth);
}

// A model too small to matter.
RunConfig small_config(int64_t users) {
  RunConfig config;
  config.model.max_length = 16;
  config.model.layers = config.model.heads = 1;
  config.model.hidden = config.model.output = config.model.item_hidden = 8;
  config.objective.positions = 8;
  config.objective.sample_end = SampleEnd::kLatest;
  config.negatives.in_batch = 64;
  config.negatives.random = 64;
  config.train.global_batch_users = users;
  return config;
}

struct StepCost {
  double step_ms = 0;
  std::vector<double> ms;
};

StepCost time_step(const Session& session, RunConfig config, int64_t rounds) {
  config.train.precision = agreed_precision(config.train.precision, session.ranks());
  const BenchData data(config, /*content_width=*/8, session.ranks().control->rank());
  const Dataset dataset = Dataset::open(data.path());
  Trainer trainer(full_window_data(dataset, config), config, config.comm, session.ranks(), "");
  StepCost cost;
  cost.ms = trainer.time_steps(/*warmup=*/3, rounds).ms;
  cost.step_ms = quantile(cost.ms, 0.5);
  return cost;
}

// A step's fixed cost, and what it grows by with every pair of a rank.
void measure_overhead(Machine& machine, const Session& session, int64_t rounds) {
  const int64_t ranks = session.ranks().control->size(), few = 8 * ranks, many = 128 * ranks;
  const StepCost small = time_step(session, small_config(few), rounds);
  const StepCost large = time_step(session, small_config(many), rounds);
  const auto pairs =
      static_cast<double>((many - few) / ranks * small_config(few).objective.positions);
  machine.pair_overhead_us = std::max(0.0, 1000 * (large.step_ms - small.step_ms) / pairs);
  machine.step_overhead_ms = small.step_ms;
}

// A step of blocks that are wide enough for their products to take most of the time.
RunConfig block_config(int64_t layers, bool bf16, const Ranks& ranks) {
  RunConfig config = small_config(users_on(ranks.device) * ranks.control->size());
  config.model.max_length = kWindow;
  config.model.hidden = kWidth;
  config.model.heads = 4;
  config.model.layers = layers;
  config.train.precision = bf16 ? Precision::kBf16 : Precision::kFp32;
  return config;
}

struct ProductRate {
  double tflops = 0;
  std::vector<double> step_ms;  // of the longer steps it comes from
};

// From what a training takes for one more block. A loop of products alone runs at another rate
// than the same products in a training.
ProductRate product_rate(const Session& session, bool bf16, double kernels, int64_t rounds) {
  constexpr int64_t kFew = 1, kMany = 3;
  const Ranks ranks = session.ranks();
  const StepCost few = time_step(session, block_config(kFew, bf16, ranks), rounds);
  const StepCost many = time_step(session, block_config(kMany, bf16, ranks), rounds);
  const double block = (many.step_ms - few.step_ms) / 1000 / (kMany - kFew);
  const double operations = block_operations(
      timed_block(ranks.device), static_cast<double>(events_on(ranks.device)), kWindow, kWidth);
  const double seconds = std::max({block - kernels, block / 2, 1e-6});
  return {operations / seconds / 1e12, many.ms};
}

double relative_deviation(const std::vector<double>& values) {
  const double median = quantile(values, 0.5);
  return (quantile(values, 0.84) - median) / median;  // one standard deviation of a normal one
}

void measure_links(Machine& machine, const Ranks& ranks, int64_t rounds) {
  constexpr int64_t kLarge = int64_t{8} << 20, kSmall = 4096;
  const auto repetitions = static_cast<int>(rounds);
  const AllReduceTiming large = time_all_reduce(ranks, kLarge, repetitions, /*plain=*/false);
  const AllReduceTiming small = time_all_reduce(ranks, kSmall, repetitions, /*plain=*/false);
  machine.local_gb_per_second = machine.network_gb_per_second = large.bus_gb_per_second;
  machine.local_latency_us = machine.network_latency_us = small.median_us;
}

// Rank 0 alone: it is the one that saves.
void measure_disk(Machine& machine, const std::string& directory) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  const std::string path = directory + "/pinnerformer-bench-" + std::to_string(::getpid()) + ".tmp";
  const std::string content(kBytes, 'x');
  const Clock::time_point begin = Clock::now();
  write_durable(path, content);
  machine.disk_write_gb_per_second = kBytes / seconds_since(begin) / 1e9;
  const Clock::time_point middle = Clock::now();
  static_cast<void>(read_whole_file(path, kBytes));
  machine.disk_read_gb_per_second = kBytes / seconds_since(middle) / 1e9;
  std::filesystem::remove(path);
}

double host_memory_gib() {
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 30);
}

struct MachineArguments {
  std::string out, directory = ".", name = "measured";
  int64_t rounds = 15;
};

Machine measure(const Session& session, const MachineArguments& options) {
  const Ranks ranks = session.ranks();
  Machine machine{.name = options.name, .gpu = ranks.device.is_cuda()};
  machine.ranks_per_node = ranks.control->size();
  machine.onednn = !machine.gpu && products_by_onednn() ? 1 : 0;
  machine.memory_gib = host_memory_gib() / machine.ranks_per_node;
  const double kernels = kernel_seconds(ranks.device, options.rounds);
  machine.memory_gb_per_second = kernel_bytes(ranks.device) / kernels / 1e9;
  const ProductRate products = product_rate(session, /*bf16=*/false, kernels, options.rounds);
  machine.fp32_tflops = products.tflops;
  machine.bf16_tflops = has_bfloat16(ranks.device.type())
                            ? product_rate(session, true, kernels, options.rounds).tflops
                            : machine.fp32_tflops;
  measure_overhead(machine, session, options.rounds);
  machine.straggler_percent =
      ranks.control->size() == 1 ? 0 : 100 * relative_deviation(products.step_ms);
  if (ranks.control->size() > 1) {
    measure_links(machine, ranks, options.rounds);
  } else {  // nothing to measure: a plan for more ranks needs a figure all the same
    const Machine usual = known_machine(machine.gpu ? "a100" : "cpu");
    machine.local_gb_per_second = usual.local_gb_per_second;
    machine.local_latency_us = usual.local_latency_us;
    machine.network_gb_per_second = usual.network_gb_per_second;
    machine.network_latency_us = usual.network_latency_us;
  }
  if (session.coordinator()) measure_disk(machine, options.directory);
  return machine;
}

}  // namespace

int bench_machine(const Arguments& arguments) {
  MachineArguments options;
  CommandLine cli("bench machine",
                  "Measures what `pinnerformer plan --machine FILE` needs to know of this machine, "
                  "with all ranks at work, and writes it as YAML.",
                  "mpirun -n 2 pinnerformer bench machine --out machine.yaml");
  cli.add_required("out", "FILE", &options.out, "the machine file to write");
  cli.add_option("name", "TEXT", &options.name, "the machine's name");
  cli.add_option("directory", "DIR", &options.directory, "where to measure the disk");
  cli.add_option("rounds", "N", &options.rounds, "measurements of each figure");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  if (options.rounds < 1) throw UsageError("bench machine: --rounds is 1 or more");
  require_ending("out", options.out, "YAML", {".yaml", ".yml", ".txt"});
  check_replaceable(options.out);  // before a minute of measuring
  keep_freed_memory();
  const Session session(cli.config().comm);
  const double runtime_mib = peak_memory_mib();
  Machine machine = measure(session, options);
  machine.runtime_mib = runtime_mib;
  if (!session.coordinator()) return kDone;
  const std::string text = to_yaml(machine);
  publish_text(options.out, text);
  std::cout << text << std::flush;
  write_json_file(cli.json_file(), {{"machine", options.out}});
  return kDone;
}

}  // namespace pinnerformer
