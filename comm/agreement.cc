#include "comm/agreement.h"

#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <sstream>

namespace pinnerformer {
namespace {

// The text of `root`, on all ranks.
std::string shared_text(Communicator& control, const std::string& mine, int root) {
  torch::Tensor length = torch::tensor({static_cast<int64_t>(mine.size())}, torch::kInt64);
  control.broadcast(length, root, "length of a different value")->wait();
  torch::Tensor bytes = torch::zeros({length.item<int64_t>()}, torch::kUInt8);
  if (control.rank() == root) std::memcpy(bytes.data_ptr(), mine.data(), mine.size());
  control.broadcast(bytes, root, "different value")->wait();
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<size_t>(bytes.numel())};
}

void find_first_difference(const std::string& first, const std::string& other,
                           Disagreement& found) {
  std::istringstream a(first), b(other);
  do {
    found.line_of_rank_0.clear();
    found.line_of_other.clear();
    std::getline(a, found.line_of_rank_0);
    std::getline(b, found.line_of_other);
  } while (found.line_of_rank_0 == found.line_of_other && (a || b));
}

}  // namespace

std::optional<Disagreement> find_disagreement(Communicator& control,
                                              const std::vector<AgreedItem>& items) {
  const auto count = static_cast<int64_t>(items.size());
  torch::Tensor mine = torch::empty({1, count}, torch::kInt64);
  for (int64_t i = 0; i < count; ++i)
    mine[0][i] =
        static_cast<int64_t>(std::hash<std::string>()(items[static_cast<size_t>(i)].value));
  torch::Tensor all = torch::empty({control.size(), count}, torch::kInt64);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, mine, one_each, "hashes of the job")->wait();
  const auto* hashes = all.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    Disagreement found;
    for (int r = 1; r < control.size(); ++r)
      if (hashes[r * count + i] != hashes[i]) found.ranks.push_back(r);
    if (found.ranks.empty()) continue;
    const AgreedItem& item = items[static_cast<size_t>(i)];
    found.item = item.name;
    const std::string first = shared_text(control, item.value, 0);
    const std::string other = shared_text(control, item.value, found.ranks.front());
    find_first_difference(first, other, found);
    return found;
  }
  return std::nullopt;
}

std::vector<std::string> gather_texts(Communicator& control, const std::string& mine,
                                      size_t longest, const std::string& name) {
  const auto width = static_cast<int64_t>(longest);
  torch::Tensor bytes = torch::zeros({1, width}, torch::kUInt8);
  std::memcpy(bytes.data_ptr(), mine.data(), std::min(mine.size(), longest));
  torch::Tensor all = torch::zeros({control.size(), width}, torch::kUInt8);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, bytes, one_each, name)->wait();
  std::vector<std::string> texts;
  const auto* data = static_cast<const char*>(all.data_ptr());
  for (int r = 0; r < control.size(); ++r)
    texts.emplace_back(data + r * width, ::strnlen(data + r * width, longest));
  return texts;
}

}  // namespace pinnerformer
