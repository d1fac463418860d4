// pinnerformer bench step: training steps of a given shape on synthetic users that fill it.
#include <ATen/Parallel.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "launch/bench/bench_data.h"
#include "launch/bench/measure_comm.h"
#include "launch/bench/registry.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/job/agreed_precision.h"
#include "launch/job/process_memory.h"
#include "launch/job/session.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

int bench_step(const Arguments& arguments) {
  int64_t warmup = 3, steps = 20, content_width = 256;
  CommandLine cli(
      "bench step",
      "Times training steps on batches at hand: no reading, no checkpoint. The shape is "
      "that of the configuration.",
      "mpirun -n 2 pinnerformer bench step model.max_length=64 model.hidden=64 "
      "model.layers=2 model.heads=4 train.global_batch_users=64");
  cli.add_option("warmup", "N", &warmup, "steps before the clock starts");
  cli.add_option("steps", "N", &steps, "steps measured");
  cli.add_option("content-width", "C", &content_width, "width of the items' content vectors");
  cli.accept_config();
  if (!cli.parse(arguments)) return kDone;
  if (warmup < 0 || steps < 1 || content_width < 1)
    throw UsageError("bench step: --warmup is 0 or more, --steps and --content-width 1 or more");
  RunConfig config = cli.config();
  if (config.item.semantic_ids)
    throw ConfigError(
        "bench step makes items of its own, which have no semantic ids: give "
        "item.semantic_ids=false");
  config.objective.sample_end = SampleEnd::kLatest;
  keep_freed_memory();
  const Session session(config.comm);
  config.train.precision = agreed_precision(config.train.precision, session.ranks());
  const BenchData data(config, content_width, session.ranks().control->rank());
  const Dataset dataset = Dataset::open(data.path());
  Trainer trainer(full_window_data(dataset, config), config, config.comm, session.ranks(), "");
  const Trainer::StepTimes times = trainer.time_steps(warmup, steps);
  const double median = quantile(times.ms, 0.5);
  const nlohmann::ordered_json result{
      {"benchmark", "step"},
      {"ranks", session.ranks().control->size()},
      {"device", session.ranks().device.str()},
      {"threads_per_rank", at::get_num_threads()},
      {"users_per_second", 1000 * static_cast<double>(config.train.global_batch_users) / median},
      {"step_ms_median", median},
      {"step_ms_p95", quantile(times.ms, 0.95)},
      {"steps", steps},
      {"shape",
       {{"global_batch_users", config.train.global_batch_users},
        {"max_length", config.model.max_length},
        {"mean_window", times.mean_window},
        {"hidden", config.model.hidden},
        {"layers", config.model.layers},
        {"heads", config.model.heads},
        {"output", config.model.output},
        {"content_width", content_width},
        {"positions", config.objective.positions},
        {"negatives", config.negatives.in_batch + config.negatives.random},
        {"precision", enum_name(config.train.precision)},
        {"parameters", count_parameters(trainer.model())}}}};
  if (session.coordinator()) {
    std::cout << result.dump(2) << std::endl;
    write_json_file(cli.json_file(), result);
  }
  return kDone;
}

}  // namespace pinnerformer
