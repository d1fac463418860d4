// A machine as a plan sees it: how fast a rank computes, moves bytes and talks to other ranks. A
// YAML file of `key: value` lines, written by hand or by `pinnerformer bench machine`.
#pragma once
#include <string>
#include <vector>

namespace pinnerformer {

// Rates are those that a training reaches, not those of a data sheet. Per rank, with all ranks of
// the node at work.
struct Machine {
  std::string name;
  bool gpu = false;
  double ranks_per_node = 1;
  double memory_gib = 0;             // that a rank may use: of its GPU, or its share of the host's
  double runtime_mib = 0;            // taken by the program and its libraries before any tensor
  double onednn = 0;                 // 1: oneDNN multiplies float32, with copies of the operands
  double fp32_tflops = 0;            // matrix products in float32
  double bf16_tflops = 0;            // and in bfloat16
  double memory_gb_per_second = 0;   // read and written by kernels without products
  double step_overhead_ms = 0;       // of a step, whatever its size
  double pair_overhead_us = 0;       // of every pair of a rank: its batch, labels and look-ups
  double local_gb_per_second = 0;    // all-reduce within a node: 2 (n-1)/n bytes / time
  double local_latency_us = 0;       // of an all-reduce of few bytes there
  double network_gb_per_second = 0;  // of a rank's share of the network between nodes
  double network_latency_us = 0;
  double disk_write_gb_per_second = 0;  // of rank 0, a checkpoint's files with their fsync
  double disk_read_gb_per_second = 0;   // of a node, the events of a dataset
  double straggler_percent = 0;         // by which the times of ranks for one step deviate
};

// The text of a machine file, with a comment on every line.
[[nodiscard]] std::string to_yaml(const Machine& machine);
// Throws ConfigError, naming file and line, for an unknown, missing or impossible value;
// MissingConfigError where there is no file.
[[nodiscard]] Machine read_machine(const std::string& file);

// "a100", "cpu", "h200".
[[nodiscard]] std::vector<std::string> known_machines();
// Throws ConfigError naming the known ones.
[[nodiscard]] Machine known_machine(const std::string& name);

}  // namespace pinnerformer
