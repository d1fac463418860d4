// Where a rank's cores, GPU and network cards are, as the kernel says it below /sys. `root` is "/",
// or a folder with a /sys of another machine.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "launch/doctor/check.h"

namespace pinnerformer {

// The numbers in a list of the kernel: "0-2,8" -> 0, 1, 2, 8. What is no number ends the list.
[[nodiscard]] std::vector<int> parse_cpu_list(const std::string& text);

// The cores that this process may use.
[[nodiscard]] std::vector<int> usable_cores();

// Whether `threads` threads have a core each, on one NUMA node, that of the GPU with this PCI
// address
// ("0000:18:00.0"; "": no GPU).
[[nodiscard]] Check cores_check(const std::filesystem::path& root, const std::vector<int>& cores,
                                int threads, const std::string& gpu_address);

// InfiniBand ports that are down or slower than the others, and whether the kernel lets a GPU's
// memory be read by the card (GPUDirect). A note where there is a GPU and a card and no such
// module.
[[nodiscard]] Check network_cards_check(const std::filesystem::path& root, bool has_gpu);

}  // namespace pinnerformer
