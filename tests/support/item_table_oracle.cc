// Gradients are functions of (step, part, row), so that any split over ranks sees the same ones.
#include "tests/support/item_table_oracle.h"

#include <cmath>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/random.h"
#include "dataloader/base/slice.h"
#include "tests/support/whole_item_table.h"
#include "trainer/items/item_table.h"
#include "trainer/items/unique.h"

namespace pinnerformer {
namespace {

constexpr int64_t kParts = 12;
constexpr int64_t kSeed = 5;

double rate_at(const TableRun& run, int64_t step) {
  return run.table.learning_rate * (1 - static_cast<double>(step) / 200);
}

// Rows that a part uses, about a third of all; every fifth part uses none.
std::vector<int64_t> rows_of_part(const TableRun& run, int64_t step, int64_t part) {
  std::vector<int64_t> rows;
  if ((step + part) % 5 == 0) return rows;
  KeyedRandom random(RandomStream::kSynth, {step, part});
  for (int64_t row = 0; row < run.rows - 3; ++row)  // the last rows are never used
    if (random.below(3) == 0) rows.push_back(row);
  return rows;
}

torch::Tensor gradient_of(const TableRun& run, int64_t step, int64_t part, int64_t row) {
  const auto phase = static_cast<double>(step * 131 + part * 17 + row * 7);
  return torch::sin(torch::arange(run.table.dim, torch::kFloat32) * 1.9 + phase) * 0.1;
}

}  // namespace

TableRun table_run(const std::string& placement, const std::string& optimizer) {
  TableRun run;
  run.table.placement = enum_value<ItemPlacement>(placement);
  run.table.optimizer = enum_value<RowOptimizerKind>(optimizer);
  run.table.dim = 5;
  run.table.learning_rate = 0.02;
  run.optimizer.epsilon = 1e-5;
  return run;
}

std::map<std::string, torch::Tensor> train_item_table(const TableRun& run, const Ranks& ranks) {
  Communicator& comm = *ranks.control;
  ItemTable table(run.table, run.optimizer, run.rows, kSeed, ranks);
  const Slice mine = rank_slice(kParts, comm.rank(), comm.size());
  for (int64_t step = 0; step < run.steps; ++step) {
    std::vector<int64_t> uses;
    std::vector<torch::Tensor> gradients{torch::zeros({0, run.table.dim})};
    for (int64_t part = mine.first; part < mine.first + mine.count; ++part)
      for (const int64_t row : rows_of_part(run, step, part)) {
        uses.push_back(row);
        gradients.push_back(gradient_of(run, step, part, row).unsqueeze(0));
      }
    const Unique rows = unique(uses);
    table.request(torch::tensor(rows.values, torch::kInt64));
    const torch::Tensor values = table.receive().requires_grad_(true);
    const torch::Tensor used =
        torch::embedding(values, torch::tensor(rows.position, torch::kInt64).to(ranks.device));
    (used * torch::cat(gradients).to(ranks.device)).sum().backward();
    table.return_gradients(values.grad());
    table.update(rate_at(run, step));
  }
  return whole_item_table(table, comm);
}

torch::Tensor initial_rows(const TableRun& run) {
  const auto alone = make_single_communicator();
  const ItemTable table(run.table, run.optimizer, run.rows, kSeed, {alone.get(), alone.get()});
  return table.model_state().at("rows").clone();
}

std::map<std::string, torch::Tensor> train_dense_table(const TableRun& run,
                                                       const torch::Tensor& initial) {
  const auto f64 = torch::kFloat64;
  const auto& o = run.optimizer;
  torch::Tensor rows = initial.to(f64), updates = torch::zeros({run.rows}, torch::kInt32);
  torch::Tensor sums = torch::zeros({run.rows}, f64);
  torch::Tensor m = torch::zeros_like(rows), v = torch::zeros_like(rows);
  for (int64_t step = 0; step < run.steps; ++step) {
    torch::Tensor gradient = torch::zeros_like(rows);
    for (int64_t part = 0; part < kParts; ++part)
      for (const int64_t row : rows_of_part(run, step, part))
        gradient[row] += gradient_of(run, step, part, row).to(f64);
    torch::Tensor used = gradient.abs().sum(1) > 0;  // [R]
    if (run.table.optimizer == RowOptimizerKind::kAdam) used = used.logical_or(updates > 0);
    updates += used.to(torch::kInt32);
    const torch::Tensor on = used.to(f64).unsqueeze(1);
    if (run.table.optimizer == RowOptimizerKind::kRowwiseAdagrad) {
      sums += gradient.square().mean(1);
      rows -= rate_at(run, step) * gradient / (sums.sqrt() + o.epsilon).unsqueeze(1);
      continue;
    }
    m = torch::where(on > 0, o.beta1 * m + (1 - o.beta1) * gradient, m);
    v = torch::where(on > 0, o.beta2 * v + (1 - o.beta2) * gradient.square(), v);
    const torch::Tensor taken = updates.to(f64).clamp_min(1).unsqueeze(1);
    const torch::Tensor mean = m / (1 - torch::pow(o.beta1, taken));
    const torch::Tensor square = v / (1 - torch::pow(o.beta2, taken));
    rows -= on * rate_at(run, step) * mean / (square.sqrt() + o.epsilon);
  }
  std::map<std::string, torch::Tensor> columns{{"rows", rows}, {"updates", updates}};
  if (run.table.optimizer == RowOptimizerKind::kRowwiseAdagrad) {
    columns["adagrad"] = sums;
  } else {
    columns["adam.m"] = m;
    columns["adam.v"] = v;
  }
  return columns;
}

double relative_error(const torch::Tensor& found, const torch::Tensor& expected) {
  const torch::Tensor error = (found.to(torch::kFloat64) - expected.to(torch::kFloat64)).abs();
  return error.max().item<double>() /
         std::max(1e-12, expected.to(torch::kFloat64).abs().max().item<double>());
}

}  // namespace pinnerformer
