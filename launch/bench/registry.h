// The parts of `pinnerformer bench`, one per file bench_*.cc.
#pragma once
#include <span>
#include <string>

#include "launch/cli/exit_code.h"

namespace pinnerformer {

struct Benchmark {
  std::string name;
  std::string summary;
  int (*run)(const Arguments& arguments);
};

// In the order `pinnerformer bench --help` shows them.
std::span<const Benchmark> benchmarks();

int bench_allreduce(const Arguments& arguments);
int bench_data(const Arguments& arguments);
int bench_encoder(const Arguments& arguments);
int bench_plan(const Arguments& arguments);
int bench_step(const Arguments& arguments);
int bench_machine(const Arguments& arguments);
int bench_item_table(const Arguments& arguments);

}  // namespace pinnerformer
