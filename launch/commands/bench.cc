// pinnerformer bench NAME: picks the benchmark.
#include <algorithm>
#include <array>
#include <vector>

#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/launcher_rank.h"

namespace pinnerformer {
namespace {

std::string help() {
  std::string text =
      "Measures a part of the program and prints the result as JSON.\n\n"
      "Usage: pinnerformer bench NAME [options]\n\n";
  for (const Benchmark& benchmark : benchmarks())
    text += "  " + benchmark.name + std::string(12 - benchmark.name.size(), ' ') +
            benchmark.summary + "\n";
  return text + "\nExample: mpirun -n 2 pinnerformer bench allreduce --bytes 67108864\n" +
         "`pinnerformer bench NAME --help` shows the options of one.\n";
}

}  // namespace

std::span<const Benchmark> benchmarks() {
  static const std::array table = {
      Benchmark{"allreduce", "sums over all ranks, beside MPI's own", bench_allreduce},
      Benchmark{"data", "block reading, finished batches, gathered vectors", bench_data},
      Benchmark{"encoder", "a block of the encoder at several lengths", bench_encoder},
      Benchmark{"machine", "all that `plan --machine` needs to know, as YAML", bench_machine},
      Benchmark{"plan", "a rank's share of the plan of a step, in jobs of many ranks", bench_plan},
      Benchmark{"step", "training steps on batches at hand", bench_step},
      Benchmark{"table", "an item table against memory copies", bench_item_table},
  };
  return table;
}

int command_bench(const Arguments& arguments) {
  if (arguments.empty())
    throw UsageError("bench: name a benchmark; `pinnerformer bench --help` lists them");
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    print_once(help());
    return kDone;
  }
  std::vector<std::string> names;
  for (const Benchmark& benchmark : benchmarks()) names.push_back(benchmark.name);
  require_known("benchmark", arguments[0], names);
  const auto found = std::ranges::find(benchmarks(), arguments[0], &Benchmark::name);
  return found->run(Arguments(arguments.begin() + 1, arguments.end()));
}

}  // namespace pinnerformer
