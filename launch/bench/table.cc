#include "launch/bench/table.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>

#include "comm/counting_communicator.h"
#include "comm/rows/row_exchange.h"
#include "comm/sum_over_ranks.h"
#include "dataloader/base/random.h"
#include "dataloader/base/slice.h"
#include "launch/bench/measure_comm.h"
#include "launch/job/process_memory.h"
#include "trainer/checkpoint/item_table_file.h"
#include "trainer/items/item_table.h"
#include "trainer/items/unique.h"

namespace pinnerformer {
namespace {

constexpr int64_t kWarmUpSteps = 3;
constexpr int64_t kSeed = 1;

using Clock = std::chrono::steady_clock;

// The largest of all ranks' values. Collectives sum, so every rank writes into a place of its own.
double slowest(double seconds, Communicator& comm) {
  torch::Tensor all = torch::zeros({comm.size()});
  all[comm.rank()] = seconds;
  comm.all_reduce(all, "times of the ranks")->wait();
  return all.max().item<double>();
}

// A copy of 64 MiB on all ranks at once. It also leaves the caches as a transformer would: without
// anything of the table.
class MemoryCopy {
 public:
  explicit MemoryCopy(Communicator& comm) : comm_(comm) {}

  // Bytes per second over all ranks.
  double rate() {
    comm_.barrier("copy");
    const Clock::time_point begin = Clock::now();
    std::memcpy(to_.data(), from_.data(), kBytes);
    const double seconds = slowest(seconds_since(begin), comm_);
    ++from_[to_[0] % kBytes];  // a copy that nobody reads may be left out
    return static_cast<double>(kBytes) * comm_.size() / seconds;
  }

 private:
  static constexpr size_t kBytes = size_t{64} << 20;
  Communicator& comm_;
  std::vector<unsigned char> from_ = std::vector<unsigned char>(kBytes, 1), to_ = from_;
};

// This rank's part of the distinct rows of a step, drawn from the first `rows` of a table.
torch::Tensor rows_of_step(const TableBenchOptions& options, int64_t rows, int64_t step,
                           const Communicator& comm) {
  KeyedRandom random(RandomStream::kSynth, {kSeed, rows, step});
  std::vector<int64_t> drawn;
  while (std::ssize(drawn) < options.unique) {
    while (std::ssize(drawn) < options.unique) drawn.push_back(random.below(rows));
    drawn = unique(drawn).values;
  }
  const Slice mine = rank_slice(options.unique, comm.rank(), comm.size());
  return torch::tensor(drawn, torch::kInt64).narrow(0, mine.first, mine.count).clone();
}

// What a step of all ranks together must receive from other ranks (comm/rows/row_exchange.h).
int64_t wire_formula(const TableBenchOptions& options, const torch::Tensor& rows,
                     Communicator& comm) {
  const int64_t ranks = comm.size(), row_bytes = 4 * options.table.dim;
  const int64_t counts = 8 * ranks * (ranks - 1);
  if (options.table.placement == ItemPlacement::kReplicated)
    return counts + options.unique * (ranks - 1) * (8 + row_bytes);
  const int64_t elsewhere = rows.remainder(ranks).ne(comm.rank()).sum().item<int64_t>();
  return counts + sum_over_ranks(elsewhere, comm, "rows of other ranks") * (8 + 2 * row_bytes);
}

void take_step(ItemTable& table, const torch::Tensor& rows) {
  table.request(rows.index_select(0, order_by_owner(rows, table.owned().stride)));
  const torch::Tensor gradients = table.receive();  // any values will do
  table.return_gradients(gradients);
  table.update(/*learning_rate=*/1e-3);
}

TableBenchResult bench_rows(const TableBenchOptions& options, int64_t rows, Communicator& comm) {
  CountingCommunicator counting(comm);
  ItemTable table(options.table, OptimizerOptions(), rows, kSeed, {&counting, &counting});
  TableBenchResult result;
  result.rows = rows;
  MemoryCopy copy(comm);
  std::vector<double> seconds, seconds_of_same_rows, copy_rates;
  int64_t received = 0;
  const auto measure = [&](int64_t drawn_from, int64_t step, std::vector<double>& times) {
    const torch::Tensor used = rows_of_step(options, drawn_from, step, comm);
    const double copy_rate = copy.rate();
    const int64_t before = counting.bytes_received();
    comm.barrier("step");
    const Clock::time_point begin = Clock::now();
    take_step(table, used);
    const double taken = slowest(seconds_since(begin), comm);
    if (step < kWarmUpSteps) return;
    times.push_back(taken);
    copy_rates.push_back(copy_rate);
    received += counting.bytes_received() - before;
    result.bytes_on_wire_formula += wire_formula(options, used, comm);
  };
  const int64_t smallest = *std::ranges::min_element(options.rows);
  for (int64_t step = 0; step < kWarmUpSteps + options.steps; ++step) {
    measure(rows, step, seconds);
    measure(smallest, step, seconds_of_same_rows);
  }
  const double median = quantile(seconds, 0.5);
  result.step_ms_median = 1000 * median;
  result.step_ms_p95 = 1000 * quantile(seconds, 0.95);
  result.step_ms_same_rows = 1000 * quantile(seconds_of_same_rows, 0.5);
  const int64_t owners = options.table.placement == ItemPlacement::kReplicated ? comm.size() : 1;
  result.bytes_to_move = options.unique * (1 + 2 * owners) * 4 * options.table.dim;
  result.bytes_per_second = static_cast<double>(result.bytes_to_move) / median;
  result.copy_bytes_per_second = quantile(copy_rates, 0.5);
  result.share_of_copy_rate = result.bytes_per_second / result.copy_bytes_per_second;
  result.bytes_on_wire = sum_over_ranks(received, comm, "bytes received");
  return result;
}

// Runs `work` on all ranks: the time and the rise of the peak memory of the worst of them.
struct Cost {
  double seconds = 0;
  double memory_mib = 0;
};
Cost cost_of(const std::function<void()>& work, Communicator& comm) {
  release_freed_memory();  // or what was used before would serve the work unseen
  forget_peak_memory();
  const double before = peak_memory_mib();
  comm.barrier("begin");
  const Clock::time_point begin = Clock::now();
  work();
  const double seconds = seconds_since(begin);
  return {slowest(seconds, comm), slowest(peak_memory_mib() - before, comm)};
}

TableSaveResult bench_save(const TableBenchOptions& options, Communicator& comm) {
  const int64_t rows = *std::ranges::max_element(options.rows);
  ItemTable table(options.table, OptimizerOptions(), rows, kSeed, {&comm, &comm});
  const ItemVocabulary vocabulary{
      rows - 1, [](int64_t item) { return splitmix64(static_cast<uint64_t>(item)); }};
  const bool root = comm.rank() == 0;
  if (root) std::filesystem::create_directories(options.save_to);
  TableSaveResult result;
  const Cost saved = cost_of(
      [&] {
        for (const auto& [name, write] : item_table_writers(table, vocabulary, comm))
          result.bytes += write(root ? options.save_to + "/" + name : "").bytes;
      },
      comm);
  const Cost loaded =
      cost_of([&] { load_item_table(root ? options.save_to : "", table, comm); }, comm);
  result.bytes = sum_over_ranks(result.bytes, comm, "bytes of the table");
  result.save_seconds = saved.seconds;
  result.save_memory_mib = saved.memory_mib;
  result.load_seconds = loaded.seconds;
  result.load_memory_mib = loaded.memory_mib;
  if (root)
    for (const char* name : {kItemTableFile, kItemTableTrainingFile})
      std::filesystem::remove(options.save_to + "/" + name);
  return result;
}

}  // namespace

TableBench bench_table(const TableBenchOptions& options, Communicator& comm) {
  TableBench bench;
  for (const int64_t rows : options.rows) bench.results.push_back(bench_rows(options, rows, comm));
  if (!options.save_to.empty()) bench.save = bench_save(options, comm);
  return bench;
}

}  // namespace pinnerformer
