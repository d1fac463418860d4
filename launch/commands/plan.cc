// pinnerformer plan: what a training would take and how fast it would be, without starting it.
#include "launch/plan/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "dataloader/base/printable.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/vectors/semantic_ids.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/commands/data_shape.h"
#include "launch/commands/registry.h"
#include "launch/plan/figures.h"

namespace pinnerformer {
namespace {

using nlohmann::ordered_json;

template <class... Values>
std::string text_of(const char* format, Values... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

struct PlanArguments {
  int64_t ranks = 0, nodes = 0;
  std::string gpu, machine;
  int64_t users = 0, items = 0, content_width = -1, events_per_user = 0;
  double pairs_per_user = 0;
};

void add_plan_arguments(CommandLine& cli, PlanArguments* options) {
  cli.accept_config();
  cli.add_required("ranks", "N", &options->ranks, "ranks of the training");
  cli.add_option("nodes", "N", &options->nodes, "nodes they are on; 0: as many as they fill");
  cli.add_option("gpu", "NAME", &options->gpu, "a machine that is known: h200, a100 or cpu");
  cli.add_option("machine", "FILE", &options->machine,
                 "a machine's description, as `pinnerformer bench machine --out FILE` writes it");
  cli.add_option("users", "N", &options->users, "users of an epoch; 0: those of data.path");
  cli.add_option("items", "N", &options->items, "items; 0: those of data.path");
  cli.add_option("events-per-user", "N", &options->events_per_user, "0: those of data.path");
  cli.add_option("content-width", "C", &options->content_width,
                 "width of the content vectors, 0 for none; -1: as in data.path");
  cli.add_option("pairs-per-user", "P", &options->pairs_per_user,
                 "pairs of a user's sample in the loss; 0: as many as the objective draws");
}

void check(const PlanArguments& options) {
  if (options.ranks < 1 || options.ranks > 1'000'000)
    throw UsageError("plan: --ranks is from 1 to 1000000, not " + std::to_string(options.ranks));
  if (options.nodes < 0 || options.nodes > options.ranks)
    throw UsageError("plan: --nodes is from 1 to the number of ranks, not " +
                     std::to_string(options.nodes));
  if (!options.gpu.empty() && !options.machine.empty())
    throw UsageError("plan: --gpu and --machine both describe the machine: give one of them");
  if (options.users < 0 || options.items < 0 || options.events_per_user < 0 ||
      options.content_width < -1 || options.pairs_per_user < 0)
    throw UsageError(
        "plan: --users, --items, --events-per-user, --content-width and "
        "--pairs-per-user are not negative");
}

Machine machine_of(const PlanArguments& options) {
  if (!options.machine.empty()) return read_machine(options.machine);
  const std::string name = options.gpu.empty() ? "cpu" : options.gpu;
  require_known("machine", name, known_machines());
  return known_machine(name);
}

bool is_there(const std::string& dataset) {
  return !dataset.empty() && std::filesystem::exists(dataset);
}

// A mistyped data.path must not look like a plan of that dataset.
void note_assumed_data(const std::string& dataset) {
  if (dataset.empty() || is_there(dataset)) return;
  std::cerr << "note: data.path = " << printable(dataset)
            << " does not exist: what --users, --items, --events-per-user and --content-width do "
               "not say is assumed\n";
}

// Of data.path where there is a dataset; what the command line says goes before it.
DataShape data_of(const RunConfig& config, const PlanArguments& options) {
  constexpr double kAssumed = 1e6, kAssumedWidth = 256;
  const CodebookOptions codebooks;
  const auto longest = static_cast<double>(config.model.max_length);
  DataShape data{.users = kAssumed,
                 .items = kAssumed,
                 .content_width = kAssumedWidth,
                 .events_per_user = 4 * longest,
                 .window = longest,
                 .pairs_per_user = options.pairs_per_user,
                 .code_levels = real(codebooks.levels),
                 .codes = real(codebooks.levels * codebooks.codes)};
  if (is_there(config.data.path)) {
    const DataShape assumed = data;
    data = data_shape(Dataset::open(config.data.path), config);
    data.pairs_per_user = options.pairs_per_user;
    if (data.codes == 0) {  // they are to be made
      data.code_levels = assumed.code_levels;
      data.codes = assumed.codes;
    }
  }
  if (options.users > 0) data.users = static_cast<double>(options.users);
  if (options.items > 0) data.items = static_cast<double>(options.items);
  if (options.content_width >= 0) data.content_width = static_cast<double>(options.content_width);
  if (options.events_per_user > 0) {
    data.events_per_user = static_cast<double>(options.events_per_user);
    data.window = mean_window(data.events_per_user, config);
  }
  return data;
}

void print_memory(const Plan& plan) {
  std::cout << "memory of rank 0, MiB\n";
  for (const PlanPart& part : plan.memory)
    std::cout << text_of("  %-26s %11.1f  ", part.name.c_str(), part.value / kMiB) << part.formula
              << (plan.machine.gpu && part.on_host ? " (host)" : "") << "\n";
  std::cout << text_of("  %-26s %11.1f  of %.1f\n", plan.machine.gpu ? "on the GPU" : "together",
                       plan.memory_bytes / kMiB, plan.machine.memory_gib * 1024);
}

void print_step(const Plan& plan) {
  std::cout << "step of the slowest rank, ms\n";
  for (const PlanPart& part : plan.step)
    std::cout << text_of("  %-28s %9.3f  ", part.name.c_str(), part.value) << part.formula << "\n";
  std::cout << text_of("  %-28s %9.3f\n", "together", plan.step_ms);
}

void print_scaling(const Plan& plan) {
  std::cout << "the same global batch on other numbers of ranks, ms\n"
            << "   ranks   compute  exchange      plan   waiting      step     users/s  "
               "efficiency  MiB a rank\n";
  for (const ScaleRow& row : plan.scaling) {
    std::cout << text_of("  %6.0f", row.ranks);
    if (!row.possible) {
      std::cout << "  more ranks than users of a step: raise train.global_batch_users\n";
      continue;
    }
    std::cout << text_of(" %9.2f %9.2f %9.2f %9.2f %9.2f %11.0f %10.0f %% %11.0f\n", row.compute_ms,
                         row.communication_ms, row.plan_ms, row.straggler_ms, row.step_ms,
                         row.users_per_second, 100 * row.efficiency, row.memory_bytes / kMiB);
  }
}

std::string with_key(const PlanPart& part) {
  return part.name + (part.key.empty() ? "" : " (" + part.key + ")");
}

void print_rest(const Plan& plan) {
  std::cout << text_of("speed       %.0f users/s, an epoch of %.0f users in %.2f h\n",
                       plan.users_per_second, plan.data.users, plan.epoch_seconds / 3600)
            << text_of("data        %.1f MB/s read\n", plan.read_bytes_per_second / 1e6)
            << text_of(
                   "checkpoint  %.1f MiB, written in %.1f s beside the training; a step waits "
                   "%.1f ms, %.2f %% of the time\n",
                   plan.checkpoint_bytes / kMiB, plan.save_seconds, plan.stall_ms,
                   plan.stall_percent)
            << text_of("disk        %.1f MiB for checkpoints\n", plan.disk_bytes / kMiB)
            << "limits      speed: " << with_key(plan.slowest)
            << "; memory: " << with_key(plan.largest) << "\n"
            << std::flush;
}

void print(const Plan& plan) {
  std::cout << text_of("%.0f ranks of '", plan.shape.ranks) << plan.machine.name
            << text_of("', %.0f a node; %.0f parameters\n", plan.machine.ranks_per_node,
                       plan.shape.parameters)
            << text_of(
                   "data: %.0f users, %.0f items, content width %.0f; a step has %.0f users, "
                   "of %.1f events and %.1f pairs each\n",
                   plan.data.users, plan.data.items, plan.data.content_width,
                   plan.shape.global_users, plan.shape.window,
                   plan.shape.pairs / plan.shape.part_users);
  print_memory(plan);
  print_step(plan);
  print_scaling(plan);
  print_rest(plan);
}

ordered_json json_of(const std::vector<PlanPart>& parts) {
  ordered_json list = ordered_json::array();
  for (const PlanPart& part : parts)
    list.push_back({{"part", part.name},
                    {"value", part.value},
                    {"formula", part.formula},
                    {"key", part.key},
                    {"on_host", part.on_host}});
  return list;
}

int64_t whole(double count) { return std::llround(count); }

ordered_json json_of(const ScaleRow& row) {
  if (!row.possible) return {{"ranks", whole(row.ranks)}, {"possible", false}};
  return {{"ranks", whole(row.ranks)},    {"possible", true},
          {"compute_ms", row.compute_ms}, {"exposed_communication_ms", row.communication_ms},
          {"plan_ms", row.plan_ms},       {"waiting_ms", row.straggler_ms},
          {"step_ms", row.step_ms},       {"users_per_second", row.users_per_second},
          {"efficiency", row.efficiency}, {"memory_bytes", whole(row.memory_bytes)}};
}

ordered_json json_of(const Plan& plan) {
  ordered_json scaling = ordered_json::array();
  for (const ScaleRow& row : plan.scaling) scaling.push_back(json_of(row));
  return {{"machine", plan.machine.name},
          {"device", plan.machine.gpu ? "gpu" : "cpu"},
          {"ranks", whole(plan.shape.ranks)},
          {"parameters", whole(plan.shape.parameters)},
          {"memory", json_of(plan.memory)},
          {"memory_bytes", whole(plan.memory_bytes)},
          {"step", json_of(plan.step)},
          {"step_ms", plan.step_ms},
          {"users_per_second", plan.users_per_second},
          {"epoch_seconds", plan.epoch_seconds},
          {"read_bytes_per_second", plan.read_bytes_per_second},
          {"checkpoint_bytes", whole(plan.checkpoint_bytes)},
          {"save_seconds", plan.save_seconds},
          {"stall_ms", plan.stall_ms},
          {"stall_percent", plan.stall_percent},
          {"disk_bytes", whole(plan.disk_bytes)},
          {"limit_of_speed", {{"part", plan.slowest.name}, {"key", plan.slowest.key}}},
          {"limit_of_memory", {{"part", plan.largest.name}, {"key", plan.largest.key}}},
          {"scaling", scaling}};
}

}  // namespace

int command_plan(const Arguments& arguments) {
  PlanArguments options;
  CommandLine cli("plan",
                  "Estimates what a training takes and how fast it is, from its configuration and "
                  "the description of a machine. Starts nothing and needs neither GPU nor data.",
                  "pinnerformer plan --config configs/two_nodes.yaml --ranks 16 --gpu h200");
  add_plan_arguments(cli, &options);
  if (!cli.parse(arguments)) return kDone;
  check(options);
  const RunConfig config = cli.config();
  Machine machine = machine_of(options);
  const auto ranks = static_cast<double>(options.ranks);
  if (options.nodes > 0)
    machine.ranks_per_node = std::ceil(ranks / static_cast<double>(options.nodes));
  if (options.ranks > config.train.global_batch_users)
    throw ConfigError(
        "train.global_batch_users = " + std::to_string(config.train.global_batch_users) +
        ": fewer users in a step "
        "than the " +
        std::to_string(options.ranks) + " ranks of --ranks");
  note_assumed_data(config.data.path);
  const Plan plan = make_plan(config, data_of(config, options), machine, ranks);
  print(plan);
  write_json_file(cli.json_file(), json_of(plan));
  require_fit(plan);
  return kDone;
}

}  // namespace pinnerformer
