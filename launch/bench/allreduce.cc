// pinnerformer bench allreduce: the time of sums over all ranks.
#include <iostream>
#include <nlohmann/json.hpp>

#include "launch/bench/measure_comm.h"
#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/job/session.h"

namespace pinnerformer {

int bench_allreduce(const Arguments& arguments) {
  int64_t bytes = 0, repetitions = 20;
  CommandLine cli("bench allreduce",
                  "Times sums of float32 over all ranks; on CPUs, alternately with MPI_Allreduce.",
                  "mpirun -n 2 pinnerformer bench allreduce --bytes 67108864");
  cli.add_option("bytes", "N", &bytes, "one size; 0: 4 KiB, 256 KiB, 1, 25 and 64 MiB");
  cli.add_option("repetitions", "N", &repetitions,
                 "measurements per size, after two that do not count");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  if (bytes < 0 || repetitions < 1)
    throw UsageError("bench allreduce: --bytes is 0 or more, --repetitions 1 or more");
  const Session session(cli.config().comm);
  const Ranks ranks = session.ranks();
  const bool plain = ranks.device.is_cpu() && ranks.control->size() > 1;
  std::vector<int64_t> sizes = {4 << 10, 256 << 10, 1 << 20, 25 << 20, 64 << 20};
  if (bytes > 0) sizes = {bytes};
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const int64_t size : sizes) {
    const AllReduceTiming timing =
        time_all_reduce(ranks, size, static_cast<int>(repetitions), plain);
    nlohmann::ordered_json row{{"bytes", timing.bytes},
                               {"correct", timing.correct},
                               {"us_median", timing.median_us},
                               {"us_p95", timing.p95_us},
                               {"bus_gb_per_second", timing.bus_gb_per_second}};
    if (timing.plain_median_us) row["mpi_allreduce_us_median"] = *timing.plain_median_us;
    results.push_back(row);
  }
  const nlohmann::ordered_json result{{"benchmark", "allreduce"},
                                      {"ranks", ranks.control->size()},
                                      {"device", ranks.device.str()},
                                      {"results", results}};
  if (session.coordinator()) {
    std::cout << result.dump(2) << std::endl;
    write_json_file(cli.json_file(), result);
  }
  return kDone;
}

}  // namespace pinnerformer
