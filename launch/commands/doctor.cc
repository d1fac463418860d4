// pinnerformer doctor: whether a training started the same way would work, and the speed of its
// links.
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "comm/agreement.h"
#include "comm/communicator.h"
#include "comm/host_name.h"
#include "launch/bench/measure_comm.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/launcher_rank.h"
#include "launch/commands/registry.h"
#include "launch/doctor/doctor_checks.h"
#include "launch/doctor/file_system_checks.h"
#include "launch/doctor/machine_topology.h"
#include "launch/doctor/rank_comparison.h"
#include "launch/doctor/rank_speed.h"
#include "launch/job/session.h"

namespace pinnerformer {
namespace {

constexpr size_t kLongestFinding = 400;
constexpr std::array<int64_t, 3> kSizes = {8, 1 << 20, 64 << 20};
constexpr double kLongestWait = 60;  // seconds; a check must answer soon
constexpr int64_t kLinkBytes = 1 << 20;

const char* word(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kNote:
      return "note";
    case Health::kFailed:
      return "FAILED";
  }
  TORCH_CHECK(false, "unknown health");
}

std::string number(double value, const char* format = "%.3g") {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

// One row for all ranks: the finding they share, or the worst with the rank that has it.
Check over_ranks(Communicator& control, const Check& mine) {
  const std::string text = std::to_string(static_cast<int>(mine.health)) + mine.finding;
  const auto all = gather_texts(control, text, kLongestFinding, "findings");
  const auto worst = std::ranges::max_element(all, {}, [](const auto& t) { return t.at(0); });
  Check row{mine.name, static_cast<Health>(worst->at(0) - '0'), worst->substr(1)};
  if (std::ranges::count(all, all[0]) != std::ssize(all))
    row.finding =
        "rank " + std::to_string(worst - all.begin()) + ": " + row.finding + " (ranks differ)";
  return row;
}

Check host_check(const std::vector<std::string>& hosts) {
  std::map<std::string, int> ranks;
  for (const auto& host : hosts) ++ranks[host];
  std::string text;
  for (const auto& [host, count] : ranks)
    text += (text.empty() ? "" : ", ") + host + " with " + std::to_string(count);
  return {"hosts", Health::kOk, text};
}

Check job_check(const Communicator& control) {
  const std::string size = std::to_string(control.size());
  if (!launcher_rank()) return {"job", Health::kNote, "one process, without a launcher"};
  return {"job", Health::kOk, "one job of " + size + " rank(s)"};
}

Check all_reduce_check(const AllReduceTiming& timing) {
  const std::string name = "all-reduce of " + std::to_string(timing.bytes) + " B";
  if (!timing.correct) return {name, Health::kFailed, "a wrong sum"};
  return {name, Health::kOk,
          "right, " + number(timing.median_us) + " us, " + number(timing.bus_gb_per_second) +
              " GB/s on the bus"};
}

Check link_check(const std::optional<SlowestLink>& link) {
  const std::string name = "slowest pair";
  if (!link) return {name, Health::kNote, "one rank has no pair"};
  const bool lame = link->gb_per_second < link->median_gb_per_second / 4;
  return {name, lame ? Health::kNote : Health::kOk,
          "rank " + std::to_string(link->from) + " to rank " + std::to_string(link->to) + ", " +
              number(link->gb_per_second) + " GB/s; the median pair has " +
              number(link->median_gb_per_second)};
}

// A number of every rank, in rank order.
std::vector<double> gather(Communicator& control, double mine, const std::string& name) {
  torch::Tensor all = torch::zeros({control.size()}, torch::kFloat64);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, torch::full({1}, mine, torch::kFloat64), one_each, name)->wait();
  return {all.data_ptr<double>(), all.data_ptr<double>() + all.numel()};
}

// All ranks compute at the same time, as in a training: what they take from each other shows.
std::vector<Check> speed_checks(const Ranks& ranks, const std::vector<std::string>& hosts) {
  ranks.control->barrier("start of the products");
  const double product = product_gflops(ranks.device);
  ranks.control->barrier("start of the copies");
  const double copy = copy_gb_per_second(ranks.device);
  return {
      rate_check("matrix product", "GFLOP/s", gather(*ranks.control, product, "products"), hosts),
      rate_check("copy", "GB/s", gather(*ranks.control, copy, "copies"), hosts)};
}

Check clocks_of(Communicator& control, const std::vector<std::string>& hosts) {
  constexpr int kReadings = 11;
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  std::vector<std::vector<int64_t>> readings;
  for (int i = 0; i < kReadings; ++i) {
    control.barrier("clocks");
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const int64_t mine = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    torch::Tensor all = torch::zeros({control.size()}, torch::kInt64);
    control.all_gather(all, torch::full({1}, mine, torch::kInt64), one_each, "clock readings")
        ->wait();
    readings.emplace_back(all.data_ptr<int64_t>(), all.data_ptr<int64_t>() + all.numel());
  }
  return clock_check(readings, hosts);
}

Check cores_of_hosts(Communicator& control, const std::vector<std::string>& hosts) {
  constexpr size_t kLongestList = 16'384;
  std::string mine;
  for (const int core : usable_cores()) mine += std::to_string(core) + ",";
  const auto lists = gather_texts(control, mine.substr(0, kLongestList), kLongestList, "cores");
  const auto threads = gather(control, torch::get_num_threads(), "threads");
  std::vector<RankCores> ranks;
  for (size_t rank = 0; rank < lists.size(); ++rank)
    ranks.push_back({parse_cpu_list(lists[rank]), static_cast<int>(threads[rank])});
  return shared_cores_check(ranks, hosts);
}

// Rank 0 alone writes the run directory; what it finds is what all ranks show.
std::vector<Check> run_directory_checks(Communicator& control, const std::string& directory) {
  if (directory.empty()) return {};
  const bool mine = control.rank() == kCoordinator;
  const auto folder = existing_folder(directory);
  std::vector<Check> rows;
  for (Check (*check)(const std::filesystem::path&) : {&durable_write_check, &inode_check}) {
    const Check found = mine ? check(folder) : Check{};
    const std::string text =
        mine ? found.name + "\n" + std::to_string(static_cast<int>(found.health)) + found.finding
             : "";
    const std::string told =
        gather_texts(control, text.substr(0, kLongestFinding), kLongestFinding, "run directory")[0];
    const size_t line = told.find('\n');
    rows.push_back({told.substr(0, line), static_cast<Health>(told.at(line + 1) - '0'),
                    told.substr(line + 2)});
  }
  return rows;
}

struct Diagnosis {
  std::vector<Check> checks;
  std::vector<AllReduceTiming> timings;
};

// Every rank calls it, and every rank gets the same.
Diagnosis examine(const Session& session, const RunConfig& config) {
  const Ranks ranks = session.ranks();
  const std::vector<std::string> hosts = gather_texts(*ranks.control, host_name(), 64, "hosts");
  Diagnosis found;
  found.checks = {job_check(*ranks.control), host_check(hosts)};
  for (const Check& check : check_machine(config, ranks.device))
    found.checks.push_back(over_ranks(*ranks.control, check));
  for (Check& check : run_directory_checks(*ranks.control, config.run.directory))
    found.checks.push_back(std::move(check));
  found.checks.push_back(cores_of_hosts(*ranks.control, hosts));
  found.checks.push_back(clocks_of(*ranks.control, hosts));
  for (Check& check : speed_checks(ranks, hosts)) found.checks.push_back(std::move(check));
  if (ranks.control->size() > 1)
    for (const int64_t bytes : kSizes) {
      found.timings.push_back(time_all_reduce(ranks, bytes, bytes > (1 << 20) ? 5 : 20,
                                              /*plain=*/false));
      found.checks.push_back(all_reduce_check(found.timings.back()));
    }
  found.checks.push_back(link_check(find_slowest_link(ranks, kLinkBytes)));
  return found;
}

void print(const std::vector<Check>& checks) {
  size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  for (const Check& check : checks) {
    const std::string state = word(check.health);
    std::cout << check.name << std::string(width + 2 - check.name.size(), ' ') << state
              << std::string(8 - state.size(), ' ') << check.finding << "\n";
  }
  std::cout << std::flush;
}

nlohmann::json as_json(const Diagnosis& found, int ranks, bool healthy) {
  nlohmann::json checks = nlohmann::json::array(), timings = nlohmann::json::array();
  for (const Check& check : found.checks)
    checks.push_back(
        {{"name", check.name}, {"health", word(check.health)}, {"finding", check.finding}});
  for (const AllReduceTiming& timing : found.timings)
    timings.push_back({{"bytes", timing.bytes},
                       {"correct", timing.correct},
                       {"us_median", timing.median_us},
                       {"bus_gb_per_second", timing.bus_gb_per_second}});
  return {{"healthy", healthy}, {"ranks", ranks}, {"checks", checks}, {"all_reduce", timings}};
}

int report(const CommandLine& cli, const Diagnosis& found, int ranks, bool speaks) {
  const bool healthy = std::ranges::none_of(
      found.checks, [](const Check& check) { return check.health == Health::kFailed; });
  if (speaks) {
    print(found.checks);
    write_json_file(cli.json_file(), as_json(found, ranks, healthy));
  }
  return healthy ? kDone : kCommFailed;
}

}  // namespace

int command_doctor(const Arguments& arguments) {
  CommandLine cli("doctor",
                  "Checks whether a training started just like this would work: ranks, versions, "
                  "GPUs, network, file locks, disk.",
                  "mpirun -n 2 pinnerformer doctor data.path=build/quickstart/dataset");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  RunConfig config = cli.config();
  for (double* wait : {&config.comm.timeout_seconds, &config.comm.first_timeout_seconds})
    *wait = std::min(*wait, kLongestWait);
  // Ranks without GPUs of their own are a finding: the others are still worth knowing.
  CommOptions comm = config.comm;
  if (comm.backend == CommBackend::kNccl) comm.backend = CommBackend::kAuto;
  std::optional<Session> session;
  try {
    session.emplace(comm);
  } catch (const CommError& error) {
    return report(cli, {{{"job", Health::kFailed, error.what()}}, {}}, 1, speaks_for_all_ranks());
  }
  const Diagnosis found = examine(*session, config);
  return report(cli, found, session->ranks().control->size(), session->coordinator());
}

}  // namespace pinnerformer
