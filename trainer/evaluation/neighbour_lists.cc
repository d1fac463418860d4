// Lists grow to twice their bound before the weakest half is dropped.
#include "trainer/evaluation/neighbour_lists.h"

#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace pinnerformer {
namespace {

// Entries are sent as the words of their bytes.
static_assert(std::is_trivially_copyable_v<Neighbour> && sizeof(Neighbour) == sizeof(int64_t));

bool is_stronger(const Neighbour& a, const Neighbour& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.item < b.item;
}

void keep_strongest(std::vector<Neighbour>& list, int64_t most) {
  if (std::ssize(list) <= most) return;
  std::nth_element(list.begin(), list.begin() + most, list.end(), is_stronger);
  list.resize(static_cast<size_t>(most));
}

}  // namespace

int64_t most_neighbours(int64_t items) {
  constexpr int64_t kEntries = int64_t{1} << 24;
  constexpr int64_t kLeast = 50;
  return std::max(kLeast, kEntries / std::max<int64_t>(1, items));
}

void NeighbourLists::add(int32_t item, const Neighbour& neighbour, int64_t most) {
  std::vector<Neighbour>& list = lists_[static_cast<size_t>(item)];
  if (std::ssize(list) >= 2 * most) keep_strongest(list, most);
  list.push_back(neighbour);
}

void NeighbourLists::trim(int64_t most) {
  for (std::vector<Neighbour>& list : lists_) {
    keep_strongest(list, most);
    // nth_element leaves an order of its own; sums of floats must not depend on it.
    std::sort(list.begin(), list.end(), is_stronger);
    list.shrink_to_fit();
  }
}

void NeighbourLists::broadcast(Communicator& comm) {
  if (comm.size() == 1) return;
  torch::Tensor sizes = torch::empty({items()}, torch::kInt64);
  for (size_t i = 0; i < lists_.size(); ++i)
    sizes.mutable_data_ptr<int64_t>()[i] = std::ssize(lists_[i]);
  comm.broadcast(sizes, 0, "neighbour counts")->wait();
  torch::Tensor words = torch::empty({sizes.sum().item<int64_t>()}, torch::kInt64);
  const int64_t* size = sizes.const_data_ptr<int64_t>();
  const auto each_list = [&](const auto& copy) {
    int64_t* word = words.mutable_data_ptr<int64_t>();
    for (size_t i = 0; i < lists_.size(); word += size[i++]) {
      lists_[i].resize(static_cast<size_t>(size[i]));
      if (size[i] > 0) copy(word, lists_[i]);
    }
  };
  if (comm.rank() == 0)
    each_list([](int64_t* word, const std::vector<Neighbour>& list) {
      std::memcpy(word, list.data(), list.size() * sizeof(Neighbour));
    });
  comm.broadcast(words, 0, "neighbours")->wait();
  if (comm.rank() != 0)
    each_list([](const int64_t* word, std::vector<Neighbour>& list) {
      std::memcpy(static_cast<void*>(list.data()), word, list.size() * sizeof(Neighbour));
    });
}

}  // namespace pinnerformer
