#include "launch/plan/machine.h"

#include <algorithm>
#include <array>
#include <map>

#include "configs/assignment.h"
#include "configs/errors.h"
#include "configs/typed_value.h"
#include "dataloader/base/nearest_name.h"

namespace pinnerformer {
namespace {

struct Figure {
  const char* key;
  double Machine::*value;
  bool may_be_zero;
  const char* help;
};

constexpr std::array kFigures = {
    Figure{"ranks_per_node", &Machine::ranks_per_node, false, "ranks of a node"},
    Figure{"memory_gib", &Machine::memory_gib, false, "memory of a rank: of its GPU, or its share"},
    Figure{"runtime_mib", &Machine::runtime_mib, true, "program and libraries, before any tensor"},
    Figure{"onednn", &Machine::onednn, true, "1: oneDNN multiplies float32 and copies operands"},
    Figure{"fp32_tflops", &Machine::fp32_tflops, false, "matrix products of a rank, float32"},
    Figure{"bf16_tflops", &Machine::bf16_tflops, false, "and bfloat16"},
    Figure{"memory_gb_per_second", &Machine::memory_gb_per_second, false,
           "kernels without products"},
    Figure{"step_overhead_ms", &Machine::step_overhead_ms, true, "of a step, whatever its size"},
    Figure{"pair_overhead_us", &Machine::pair_overhead_us, true, "of a pair of the rank"},
    Figure{"local_gb_per_second", &Machine::local_gb_per_second, false, "all-reduce within a node"},
    Figure{"local_latency_us", &Machine::local_latency_us, true, "of an all-reduce of few bytes"},
    Figure{"network_gb_per_second", &Machine::network_gb_per_second, false, "a rank's share of it"},
    Figure{"network_latency_us", &Machine::network_latency_us, true, "between nodes"},
    Figure{"disk_write_gb_per_second", &Machine::disk_write_gb_per_second, false, "a checkpoint"},
    Figure{"disk_read_gb_per_second", &Machine::disk_read_gb_per_second, false, "events, a node"},
    Figure{"straggler_percent", &Machine::straggler_percent, true, "deviation of ranks in a step"},
};

// What a training reached in our measurements, or about half of the data sheet where there is none.
const std::map<std::string, Machine>& machines() {
  static const std::map<std::string, Machine> known = {
      {"a100",
       {.name = "a100",
        .gpu = true,
        .ranks_per_node = 8,
        .memory_gib = 80,
        .runtime_mib = 900,
        .fp32_tflops = 14,
        .bf16_tflops = 180,
        .memory_gb_per_second = 1500,
        .step_overhead_ms = 6,
        .pair_overhead_us = 0.4,
        .local_gb_per_second = 220,
        .local_latency_us = 30,
        .network_gb_per_second = 20,
        .network_latency_us = 40,
        .disk_write_gb_per_second = 1,
        .disk_read_gb_per_second = 2,
        .straggler_percent = 2}},
      {"h200",
       {.name = "h200",
        .gpu = true,
        .ranks_per_node = 8,
        .memory_gib = 139,
        .runtime_mib = 900,
        .fp32_tflops = 45,
        .bf16_tflops = 600,
        .memory_gb_per_second = 3800,
        .step_overhead_ms = 5,
        .pair_overhead_us = 0.4,
        .local_gb_per_second = 360,
        .local_latency_us = 25,
        .network_gb_per_second = 42,
        .network_latency_us = 40,
        .disk_write_gb_per_second = 1,
        .disk_read_gb_per_second = 2,
        .straggler_percent = 2}},
      {"cpu",
       {.name = "cpu",
        .gpu = false,
        .ranks_per_node = 16,
        .memory_gib = 8,
        .runtime_mib = 230,
        .fp32_tflops = 0.06,
        .bf16_tflops = 0.06,
        .memory_gb_per_second = 5,
        .step_overhead_ms = 3,
        .pair_overhead_us = 4,
        .local_gb_per_second = 2,
        .local_latency_us = 40,
        .network_gb_per_second = 0.15,
        .network_latency_us = 100,
        .disk_write_gb_per_second = 0.5,
        .disk_read_gb_per_second = 0.5,
        .straggler_percent = 4}},
  };
  return known;
}

std::vector<std::string> keys() {
  std::vector<std::string> names = {"name", "device"};
  for (const Figure& figure : kFigures) names.emplace_back(figure.key);
  return names;
}

void set_device(Machine& machine, const YamlLine& line) {
  if (line.value != "cpu" && line.value != "gpu")
    throw ConfigError("device = " + line.value + " (" + line.origin + "): expected cpu or gpu");
  machine.gpu = line.value == "gpu";
}

void set_figure(Machine& machine, const YamlLine& line) {
  const auto* figure = std::ranges::find(kFigures, line.key, &Figure::key);
  if (figure == kFigures.end())
    throw ConfigError("unknown key '" + line.key + "' (" + line.origin + "); did you mean '" +
                      nearest_name(line.key, keys()) + "'?");
  constexpr double kMost = 1e9;
  double value = 0;
  const bool number = assign_text(&value, line.value);
  if (!number || value < 0 || value > kMost || (value == 0 && !figure->may_be_zero))
    throw ConfigError(line.key + " = " + line.value + " (" + line.origin + "): expected a number " +
                      (figure->may_be_zero ? "of at least 0" : "above 0") + " and at most 1e9");
  machine.*figure->value = value;
}

}  // namespace

std::string to_yaml(const Machine& machine) {
  constexpr size_t kCommentColumn = 36;
  std::string text =
      "# A machine for `pinnerformer plan --machine FILE`. Rates of one rank, with all "
      "ranks of the node at work.\nname: \"" +
      machine.name + "\"\n";
  text += std::string("device: ") + (machine.gpu ? "gpu" : "cpu") + "\n";
  for (const Figure& figure : kFigures) {
    double value = machine.*figure.value;
    std::string line = std::string(figure.key) + ": " + value_text(&value);
    line.resize(std::max(line.size() + 2, kCommentColumn), ' ');
    text += line + "# " + figure.help + "\n";
  }
  return text;
}

Machine read_machine(const std::string& file) {
  Machine machine;
  std::vector<std::string> missing = keys();
  std::erase(missing, "onednn");  // younger than the others
  for (const YamlLine& line : read_flat_yaml_file(file)) {
    std::erase(missing, line.key);
    if (line.key == "name") {
      machine.name = line.value;
    } else if (line.key == "device") {
      set_device(machine, line);
    } else {
      set_figure(machine, line);
    }
  }
  if (!missing.empty())
    throw ConfigError("the machine file " + file + " has no " + missing.front() +
                      "; `pinnerformer bench machine --out FILE` writes a whole one");
  return machine;
}

std::vector<std::string> known_machines() {
  std::vector<std::string> names;
  for (const auto& [name, machine] : machines()) names.push_back(name);
  return names;
}

Machine known_machine(const std::string& name) {
  const auto found = machines().find(name);
  if (found != machines().end()) return found->second;
  std::string known;
  for (const std::string& other : known_machines()) known += (known.empty() ? "" : ", ") + other;
  throw ConfigError("--gpu " + name + ": there is no description of this machine; known: " + known +
                    ". Give a file with --machine");
}

}  // namespace pinnerformer
