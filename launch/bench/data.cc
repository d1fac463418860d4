// pinnerformer bench data: the data path on one core, each part beside the raw figure of the same
// machine in the same run. Rounds of both alternate, so that both see the same neighbours.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "comm/rows/row_copy.h"
#include "configs/run_config.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/data_loader.h"
#include "dataloader/sampling/epoch_plan.h"
#include "launch/bench/measure_comm.h"
#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/job/process_memory.h"
#include "launch/job/training_setup.h"
#include "trainer/loop/metrics.h"
#include "trainer/objective/objective.h"

namespace pinnerformer {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 15;

double seconds_of(const std::function<void()>& work) {
  const Clock::time_point begin = Clock::now();
  work();
  return seconds_since(begin);
}

double rounded(double value) { return std::round(value * 1e4) / 1e4; }

// Medians over rounds of (ours, raw), and of their ratio, as rates of `bytes` per round.
ordered_json compare(double bytes, const std::function<void()>& ours,
                     const std::function<void()>& raw) {
  std::vector<double> our_rate, raw_rate, ratio;
  for (int round = -1; round < kRounds; ++round) {  // the first one warms up
    const double mine = seconds_of(ours);
    const double machine = seconds_of(raw);
    if (round < 0) continue;
    our_rate.push_back(bytes / mine / 1e9);
    raw_rate.push_back(bytes / machine / 1e9);
    ratio.push_back(machine / mine);
  }
  return {{"gb_per_second", rounded(quantile(our_rate, 0.5))},
          {"raw_gb_per_second", rounded(quantile(raw_rate, 0.5))},
          {"ratio", rounded(quantile(ratio, 0.5))}};
}

// Dataset::read() of whole blocks in the order of an epoch, against pread() of the same bytes into
// one buffer.
ordered_json bench_blocks(const Dataset& dataset, const DataOptions& options) {
  const EpochShape shape{dataset.users(), 1024, options.block_users, options.shuffle_blocks, 1};
  const int64_t blocks = std::min<int64_t>(200, dataset.users() / options.block_users);
  const BlockOrder order(shape, 0);
  const int64_t users = std::max<int64_t>(blocks, 1) * options.block_users;
  const std::vector<Slice> chosen = order.runs({0, std::min(users, dataset.users())});
  std::vector<FileRange> ranges;
  for (const Slice& block : chosen)
    for (FileRange& range : dataset.file_ranges(block.first, block.count))
      ranges.push_back(std::move(range));
  std::map<std::string, File> files;
  int64_t bytes = 0, largest = 0;
  for (const FileRange& range : ranges) {
    if (!files.contains(range.path)) files.emplace(range.path, File::open(range.path));
    bytes += range.bytes;
    largest = std::max(largest, range.bytes);
  }
  std::vector<char> buffer(static_cast<size_t>(largest));
  EventBlock block;
  ordered_json result = compare(
      static_cast<double>(bytes),
      [&] {
        for (const Slice& one : chosen) dataset.read(one.first, one.count, block);
      },
      [&] {
        for (const FileRange& range : ranges)
          files.at(range.path).read_at(range.offset, buffer.data(), range.bytes);
      });
  result["block_users"] = options.block_users;
  result["blocks"] = chosen.size();
  result["mib"] = bytes >> 20;
  return result;
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::unique_ptr<DataLoader> make_loader(const RunConfig& config, const TrainingData& data, int rank,
                                        int world) {
  const LoaderSpec spec{
      window_spec(config.objective, config.model.max_length, data.part.train_until),
      data.part,
      config.train.global_batch_users,
      config.run.seed,
      rank,
      world};
  return std::make_unique<DataLoader>(*data.dataset, data.users, data.positives, spec, config.data,
                                      LoaderPosition{});
}

TrainingBatch next_of(DataLoader& loader) {
  TrainingBatch batch = loader.next();
  if (batch.failure) std::rethrow_exception(batch.failure);
  return batch;
}

struct Loaded {
  ordered_json figures;
  torch::Tensor items;  // those of the last batches, as the model will look them up
};

// Finished batches of one rank; CPU time counts what all threads of the process took.
Loaded bench_windows(const RunConfig& config, const TrainingData& data, double seconds) {
  const auto loader = make_loader(config, data, 0, 1);
  static_cast<void>(next_of(*loader));  // waits for the first shuffle buffer: not counted
  int64_t windows = 0, batches = 0;
  double tokens = 0, padded = 0;
  std::vector<torch::Tensor> items;
  const double cpu = cpu_seconds();
  const Clock::time_point begin = Clock::now();
  double wall = 0;
  while (wall < seconds) {
    const TrainingBatch batch = next_of(*loader);
    windows += batch.inputs.users();
    ++batches;
    tokens += static_cast<double>(batch.inputs.length.sum().item<int64_t>());
    padded += static_cast<double>(batch.inputs.item.numel());
    if (items.size() < 8) items.push_back(batch.inputs.item.flatten());
    wall = seconds_since(begin);
  }
  const double used = cpu_seconds() - cpu;
  return {{{"windows_per_core_second", rounded(static_cast<double>(windows) / used)},
           {"windows_per_second", rounded(static_cast<double>(windows) / wall)},
           {"windows", windows},
           {"batches", batches},
           {"max_length", config.model.max_length},
           {"mean_length", rounded(tokens / static_cast<double>(windows))},
           {"padding", rounded(1 - tokens / padded)}},
          torch::cat(items)};
}

// How even the work of so many ranks is, over one epoch: the tokens of the rank with most, step by
// step, against the mean. They take turns here: one loader each, all in this process.
ordered_json bench_ranks(const RunConfig& config, const TrainingData& data, int64_t world) {
  std::vector<std::unique_ptr<DataLoader>> ranks;
  for (int rank = 0; rank < static_cast<int>(world); ++rank)
    ranks.push_back(make_loader(config, data, rank, static_cast<int>(world)));
  double all = 0, largest = 0, padded = 0;
  while (ranks[0]->position().epoch == 0) {
    double most = 0;
    for (const auto& rank : ranks) {
      const TrainingBatch batch = next_of(*rank);
      const auto tokens = static_cast<double>(batch.inputs.length.sum().item<int64_t>());
      most = std::max(most, tokens);
      all += tokens;
      padded += static_cast<double>(batch.inputs.item.numel());
    }
    largest += most * static_cast<double>(world);
  }
  return {{"ranks", world},
          {"largest_over_mean_tokens", rounded(largest / all)},
          {"padding", rounded(1 - all / padded)}};
}

// Rows of the item vectors for whole batches, as the model looks them up, against a copy of as many
// bytes.
ordered_json bench_vectors(const Dataset& dataset, const torch::Tensor& items) {
  const torch::Tensor& table = dataset.item_vectors();
  if (!table.defined()) return nullptr;
  torch::Tensor rows = gather_rows(table, items);
  const torch::Tensor source = rows.clone();
  const auto bytes = static_cast<size_t>(rows.nbytes());
  ordered_json result = compare(
      static_cast<double>(bytes), [&] { rows = gather_rows(table, items); },
      [&] {
        rows = torch::empty_like(source);
        std::memcpy(rows.mutable_data_ptr(), source.const_data_ptr(), bytes);
      });
  result["width"] = dataset.vector_width();
  result["rows"] = items.size(0);
  return result;
}

}  // namespace

int bench_data(const Arguments& arguments) {
  double seconds = 10;
  int64_t ranks = 2;
  CommandLine cli("bench data",
                  "Measures block reading against raw reads, finished batches per second, and "
                  "gathered item vectors against a memory copy.",
                  "pinnerformer bench data data.path=build/synth model.max_length=256");
  cli.add_option("seconds", "S", &seconds, "how long to take batches");
  cli.add_option("ranks", "N", &ranks, "report how evenly N ranks would share the work");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  const RunConfig config = cli.config();
  if (config.data.path.empty()) throw UsageError("data.path names no dataset");
  if (ranks < 1) throw UsageError("--ranks: expected at least 1");
  torch::set_num_threads(1);
  keep_freed_memory();
  const Clock::time_point begin = Clock::now();
  const Dataset dataset = Dataset::open(config.data.path);
  const TrainingData data = training_data(dataset, config);
  ordered_json result{{"dataset", config.data.path},
                      {"users", dataset.users()},
                      {"events", dataset.events()},
                      {"open_seconds", rounded(seconds_since(begin))}};
  Loaded loaded = bench_windows(config, data, seconds);
  result["windows"] = std::move(loaded.figures);
  result["memory_mib"] = {{"resident", rounded(resident_memory_mib())},
                          {"peak", rounded(peak_memory_mib())}};
  result["work"] = bench_ranks(config, data, ranks);
  result["blocks"] = bench_blocks(dataset, config.data);
  result["vectors"] = bench_vectors(dataset, loaded.items);
  std::cout << result.dump(2) << std::endl;
  write_json_file(cli.json_file(), result);
  return kDone;
}

}  // namespace pinnerformer
