#include "launch/doctor/machine_topology.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <set>

#include "dataloader/base/printable.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
constexpr int kMostCores = 1 << 16;
constexpr int kFewForGpu = 4;

// The first line of a small file, "" where it cannot be read.
std::string first_line(const fs::path& file) {
  std::string line;
  std::ifstream in(file);
  std::getline(in, line);
  return printable(line.substr(0, 4096));
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

// NUMA node of each core. Empty where the kernel knows of none.
std::map<int, int> nodes_of_cores(const fs::path& root) {
  std::map<int, int> nodes;
  for (const fs::path& entry : entries(root / "sys/devices/system/node")) {
    const std::string name = entry.filename();
    if (!name.starts_with("node") || name.find_first_not_of("0123456789", 4) != std::string::npos)
      continue;
    const std::vector<int> number = parse_cpu_list(name.substr(4));
    if (number.empty()) continue;
    for (const int core : parse_cpu_list(first_line(entry / "cpulist"))) nodes[core] = number[0];
  }
  return nodes;
}

std::string list(const std::set<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

// -1 where the kernel does not say: one node, or a virtual machine.
int node_of_gpu(const fs::path& root, const std::string& address) {
  if (address.empty()) return -1;
  const std::vector<int> node =
      parse_cpu_list(first_line(root / "sys/bus/pci/devices" / address / "numa_node"));
  return node.empty() ? -1 : node[0];
}

struct Port {
  std::string name;
  bool active = false;
  double gbit_per_second = 0;
};

std::vector<Port> ports(const fs::path& root) {
  std::vector<Port> found;
  for (const fs::path& card : entries(root / "sys/class/infiniband"))
    for (const fs::path& port : entries(card / "ports"))
      found.push_back({card.filename().string() + " port " + port.filename().string(),
                       first_line(port / "state").find("ACTIVE") != std::string::npos,
                       std::strtod(first_line(port / "rate").c_str(), nullptr)});
  return found;
}

}  // namespace

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> numbers;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int first = 0;
    auto read = std::from_chars(at, end, first);
    if (read.ec != std::errc() || first < 0 || first > kMostCores) break;
    int last = first;
    if (read.ptr < end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
    if (read.ec != std::errc() || last > kMostCores) break;
    for (int number = first; number <= last; ++number) numbers.push_back(number);
    if (read.ptr == end || *read.ptr != ',') break;
    at = read.ptr + 1;
  }
  return numbers;
}

std::vector<int> usable_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (size_t core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(static_cast<int>(core));
  return cores;
}

Check cores_check(const fs::path& root, const std::vector<int>& cores, int threads,
                  const std::string& gpu_address) {
  const std::map<int, int> nodes = nodes_of_cores(root);
  std::set<int> mine;
  for (const int core : cores)
    if (const auto node = nodes.find(core); node != nodes.end()) mine.insert(node->second);
  std::string finding = std::to_string(threads) + " thread(s) on " + std::to_string(cores.size()) +
                        " core(s)" + (mine.empty() ? "" : " of NUMA node(s) " + list(mine));
  if (threads > std::ssize(cores))
    return {"cores", Health::kNote,
            finding + ": threads wait for each other; lower OMP_NUM_THREADS or give a rank more"};
  const int gpu_node = node_of_gpu(root, gpu_address);
  if (gpu_node >= 0 && !mine.empty() && !mine.contains(gpu_node))
    return {"cores", Health::kNote,
            finding + ", but the GPU is on node " + std::to_string(gpu_node) +
                ": bind ranks to the node of their GPU"};
  if (!gpu_address.empty() && std::ssize(cores) < kFewForGpu)
    return {"cores", Health::kNote,
            finding +
                ": too few beside a GPU, where the main thread, autograd's, the loader's and "
                "NCCL's run at once; give a rank 8 (launch slurm --cpus-per-rank 8)"};
  if (mine.size() > 1)
    return {"cores", Health::kNote,
            finding +
                ": memory of another node is slower; bind ranks (mpirun --bind-to numa, "
                "launch slurm --bind numa)"};
  return {"cores", Health::kOk, finding};
}

Check network_cards_check(const fs::path& root, bool has_gpu) {
  const std::string name = "network cards";
  const std::vector<Port> all = ports(root);
  if (all.empty()) return {name, Health::kNote, "no InfiniBand or RoCE card"};
  const double fastest = std::ranges::max_element(all, {}, &Port::gbit_per_second)->gbit_per_second;
  std::string faults;
  for (const Port& port : all)
    if (!port.active || port.gbit_per_second < fastest)
      faults += "; " + port.name + (port.active ? " is slower than the others" : " is down");
  const bool direct =
      fs::exists(root / "sys/module/nvidia_peermem") || fs::exists(root / "sys/module/nv_peer_mem");
  if (has_gpu && !direct) faults += "; no GPUDirect: the module nvidia_peermem is not loaded";
  const std::string found = std::to_string(all.size()) + " port(s), " +
                            std::to_string(static_cast<int>(fastest)) + " Gbit/s";
  if (!faults.empty()) return {name, Health::kNote, found + faults};
  return {name, Health::kOk, found + (direct ? ", GPUDirect" : "")};
}

}  // namespace pinnerformer
