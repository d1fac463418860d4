// pinnerformer bench table: item table against memory copies.
#include <charconv>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/enum_name.h"
#include "launch/bench/registry.h"
#include "launch/bench/table.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/job/process_memory.h"
#include "launch/job/session.h"

namespace pinnerformer {
namespace {

nlohmann::json to_json(const TableBenchOptions& options, const TableBench& bench, int ranks) {
  nlohmann::json object{{"bench", "table"},
                        {"world_size", ranks},
                        {"placement", enum_name(options.table.placement)},
                        {"optimizer", enum_name(options.table.optimizer)},
                        {"dim", options.table.dim},
                        {"unique_rows", options.unique},
                        {"steps", options.steps},
                        {"results", nlohmann::json::array()}};
  for (const TableBenchResult& result : bench.results)
    object["results"].push_back({{"rows", result.rows},
                                 {"step_ms_median", result.step_ms_median},
                                 {"step_ms_p95", result.step_ms_p95},
                                 {"step_ms_same_rows", result.step_ms_same_rows},
                                 {"bytes_to_move", result.bytes_to_move},
                                 {"bytes_per_second", result.bytes_per_second},
                                 {"copy_bytes_per_second", result.copy_bytes_per_second},
                                 {"share_of_copy_rate", result.share_of_copy_rate},
                                 {"bytes_on_wire", result.bytes_on_wire},
                                 {"bytes_on_wire_formula", result.bytes_on_wire_formula}});
  if (bench.save)
    object["save"] = {{"bytes", bench.save->bytes},
                      {"save_seconds", bench.save->save_seconds},
                      {"load_seconds", bench.save->load_seconds},
                      {"save_memory_mib", bench.save->save_memory_mib},
                      {"load_memory_mib", bench.save->load_memory_mib}};
  return object;
}

void print(const TableBench& bench) {
  std::printf("%12s %12s %12s %14s %14s %14s %16s\n", "rows", "step ms", "p95 ms", "same rows ms",
              "copy GB/s", "of copy rate", "bytes on wire");
  for (const TableBenchResult& result : bench.results)
    std::printf("%12lld %12.2f %12.2f %14.2f %14.2f %14.2f %16lld\n",
                static_cast<long long>(result.rows), result.step_ms_median, result.step_ms_p95,
                result.step_ms_same_rows, result.copy_bytes_per_second * 1e-9,
                result.share_of_copy_rate, static_cast<long long>(result.bytes_on_wire));
  if (bench.save)
    std::printf("saved %.2f GB in %.1f s with %.0f MiB more memory, loaded in %.1f s with %.0f\n",
                static_cast<double>(bench.save->bytes) * 1e-9, bench.save->save_seconds,
                bench.save->save_memory_mib, bench.save->load_seconds, bench.save->load_memory_mib);
}

std::vector<int64_t> sizes(const std::vector<std::string>& words, int64_t least) {
  std::vector<int64_t> values;
  for (const std::string& word : words) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < least)
      throw UsageError("--rows: expected whole numbers of at least --unique = " +
                       std::to_string(least) + ", found '" + word + "'");
    values.push_back(value);
  }
  return values;
}

}  // namespace

int bench_item_table(const Arguments& arguments) {
  TableBenchOptions options;
  options.table.placement = ItemPlacement::kRowSharded;
  std::vector<std::string> rows = {"100000", "10000000"};
  CommandLine cli("bench table",
                  "Measures lookup and update of an item table against memory copies.",
                  "mpirun -n 2 pinnerformer bench table --rows 100000,10000000 --json table.json");
  cli.add_option("rows", "N,N", &rows, "sizes of the table");
  cli.add_option("unique", "N", &options.unique, "distinct rows of a step, over all ranks");
  cli.add_option("dim", "E", &options.table.dim, "floats of a row");
  cli.add_option("placement", "NAME", &options.table.placement, "replicated or row_sharded");
  cli.add_option("optimizer", "NAME", &options.table.optimizer,
                 "rowwise_adagrad, lazy_adam or adam");
  cli.add_option("steps", "N", &options.steps, "steps that are measured");
  cli.add_option("save-to", "DIR", &options.save_to,
                 "also save the largest table there and load it again; the files are removed");
  if (!cli.parse(arguments)) return kDone;
  if (options.table.placement == ItemPlacement::kNone)
    throw UsageError("--placement = none: expected one of replicated, row_sharded");
  if (options.unique < 1 || options.table.dim < 1 || options.steps < 1)
    throw UsageError("--unique, --dim and --steps: expected 1 or more");
  options.rows = sizes(rows, options.unique);

  CommOptions comm;
  comm.backend = CommBackend::kMpi;  // rows live in host memory
  const Session session(comm);
  keep_freed_memory();  // as a training does
  const TableBench bench = bench_table(options, *session.ranks().control);
  if (!session.coordinator()) return kDone;
  print(bench);
  write_json_file(cli.json_file(), to_json(options, bench, session.ranks().control->size()));
  return kDone;
}

}  // namespace pinnerformer
