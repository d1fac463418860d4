#include "launch/report/metrics_file.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "dataloader/base/file.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

constexpr int64_t kBlock = int64_t{1} << 20;
constexpr size_t kMostLine = size_t{1} << 16;  // a record has some hundred bytes
constexpr size_t kMostNamed = 5;
constexpr size_t kMostWorldSizes = 20;

// Calls visit(line, whole) for every line; `whole` is false for a last line without its end. A line
// that is too long is passed on cut, so that it is no JSON.
void visit_lines(const File& file,
                 const std::function<void(std::string_view line, bool whole)>& visit) {
  const int64_t size = file.size();
  std::string block, line;
  for (int64_t offset = 0; offset < size; offset += kBlock) {
    block.resize(static_cast<size_t>(std::min(kBlock, size - offset)));
    file.read_at(offset, block.data(), std::ssize(block));
    for (size_t begin = 0; begin < block.size();) {
      const size_t end = std::min(block.find('\n', begin), block.size());
      const size_t room = kMostLine - std::min(kMostLine, line.size());
      line.append(block, begin, std::min(end - begin, room));
      if (end < block.size()) {
        visit(line, true);
        line.clear();
      }
      begin = end + 1;
    }
  }
  if (!line.empty()) visit(line, false);
}

double number_of(const json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_number() ? found->get<double>()
                                                     : std::numeric_limits<double>::quiet_NaN();
}

double number_or_0(const json& record, const char* key) {
  const double value = number_of(record, key);
  return std::isfinite(value) ? value : 0;
}

// The step of a record; 0 where the line is none.
int64_t step_of(const json& record) {
  const double step = record.is_object() ? number_of(record, "step") : 0;
  constexpr double kMostSteps = 1e15;
  return step >= 1 && step <= kMostSteps && step == std::floor(step) ? static_cast<int64_t>(step)
                                                                     : 0;
}

void add_time(const json& record, int64_t steps, TimeSpent& time) {
  const auto count = static_cast<double>(steps);
  const double step = number_or_0(record, "step_ms");
  const double data = number_or_0(record, "data_wait_ms");
  const double comm = number_or_0(record, "comm_wait_ms");
  time.data += count * data;
  time.comm += count * comm;
  time.compute += count * std::max(0.0, step - data - comm);
  time.save += number_or_0(record, "save_stall_ms");
}

void add_validation(const json& record, int64_t step, RunMetrics& metrics) {
  const auto found = record.find("validation");
  if (found == record.end() || !found->is_object()) return;
  const ValidationFigures figures{.step = step,
                                  .recall_at_10 = number_of(*found, "recall_at_10"),
                                  .recall_at_50 = number_of(*found, "recall_at_50"),
                                  .ndcg_at_10 = number_of(*found, "ndcg_at_10")};
  metrics.validation_recall.add(step, figures.recall_at_10);
  const bool better =
      !metrics.best_validation || figures.recall_at_10 > metrics.best_validation->recall_at_10;
  if (std::isfinite(figures.recall_at_10) && better) metrics.best_validation = figures;
}

void add_world_size(const json& record, RunMetrics& metrics) {
  const double found = number_of(record, "world_size");
  if (!(found >= 1 && found < 1e9)) return;
  const auto ranks = static_cast<int64_t>(found);
  std::vector<int64_t>& sizes = metrics.world_sizes;
  if (sizes.size() < kMostWorldSizes && std::ranges::find(sizes, ranks) == sizes.end())
    sizes.push_back(ranks);
}

// `steps` that the record stands for.
void add_record(const json& record, int64_t step, int64_t steps, RunMetrics& metrics) {
  add_time(record, steps, metrics.time);
  add_validation(record, step, metrics);
  add_world_size(record, metrics);
  metrics.records += 1;
  metrics.last_step = step;
  metrics.last_loss = number_of(record, "loss");
  metrics.last_temperature = number_of(record, "temperature");
  metrics.largest_memory_mib =
      std::max(metrics.largest_memory_mib, number_or_0(record, "memory_mib"));
  metrics.largest_gpu_memory_mib =
      std::max(metrics.largest_gpu_memory_mib, number_or_0(record, "gpu_memory_mib"));
  metrics.skipped_users +=
      static_cast<int64_t>(std::clamp(number_or_0(record, "skipped_users"), 0.0, 1e15));
  metrics.loss.add(step, metrics.last_loss);
  metrics.temperature.add(step, metrics.last_temperature);
  metrics.learning_rate.add(step, number_of(record, "learning_rate"));
  metrics.grad_norm.add(step, number_of(record, "grad_norm"));
  metrics.users_per_second.add(step, number_of(record, "users_per_second"));
  metrics.step_ms.add(step, number_of(record, "step_ms"));
}

}  // namespace

RunMetrics read_metrics(const std::string& path, int64_t first_steps) {
  const File file = File::open(path);
  RunMetrics metrics;
  int64_t line_number = 0, damaged = 0;
  visit_lines(file, [&](std::string_view line, bool whole) {
    ++line_number;
    const json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    const int64_t step = step_of(record);
    if (step > metrics.last_step) {
      const int64_t steps =
          metrics.records == 0 ? std::min(step, first_steps) : step - metrics.last_step;
      add_record(record, step, steps, metrics);
      return;
    }
    if (!whole) return;
    if (static_cast<size_t>(++damaged) <= kMostNamed)
      metrics.problems.push_back(
          path + ", line " + std::to_string(line_number) +
          (step > 0 ? " goes back to step " + std::to_string(step) : " is no record of a step") +
          " and was left out");
  });
  if (static_cast<size_t>(damaged) > kMostNamed)
    metrics.problems.push_back(path + ": " + std::to_string(damaged) +
                               " lines in all were left out");
  return metrics;
}

}  // namespace pinnerformer
