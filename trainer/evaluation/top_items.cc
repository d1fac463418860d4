// torch::topk returns any of several equal scores. Here the result must not depend on the device,
// the block or the number of ranks, so ties are resolved by column.
#include "trainer/evaluation/top_items.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

namespace pinnerformer {
namespace {

struct Scored {
  float score;
  int64_t column;
};

bool better(const Scored& a, const Scored& b) {
  return a.score != b.score ? a.score > b.score : a.column < b.column;
}

// All columns of one row at or above the threshold: needed where the k-th score is a tie.
std::vector<Scored> at_least(const torch::Tensor& row, float threshold) {
  const torch::Tensor columns = row.ge(threshold).nonzero().squeeze(1);
  const torch::Tensor scores = row.index_select(0, columns).cpu();
  const torch::Tensor on_host = columns.cpu();
  std::vector<Scored> found;
  for (int64_t i = 0; i < scores.numel(); ++i) {
    found.push_back({scores.const_data_ptr<float>()[i], on_host.const_data_ptr<int64_t>()[i]});
  }
  return found;
}

}  // namespace

std::vector<std::vector<int64_t>> top_columns(const torch::Tensor& scores, int64_t k) {
  const int64_t columns = scores.size(1);
  // One more than k, to see whether the k-th score is a tie.
  const int64_t wide = std::min(k + 1, columns);
  const auto [values, indices] = scores.topk(wide, 1);
  const torch::Tensor value = values.cpu().contiguous();
  const torch::Tensor index = indices.cpu().contiguous();
  std::vector<std::vector<int64_t>> result(static_cast<size_t>(scores.size(0)));
  for (int64_t row = 0; row < scores.size(0); ++row) {
    const float* row_value = value.const_data_ptr<float>() + row * wide;
    const int64_t* row_index = index.const_data_ptr<int64_t>() + row * wide;
    std::vector<Scored> best;
    const bool tied = wide > k && k > 0 && row_value[k] == row_value[k - 1];
    if (tied && row_value[k] > -std::numeric_limits<float>::infinity()) {
      best = at_least(scores[row], row_value[k]);
    } else {
      for (int64_t i = 0; i < std::min(k, wide); ++i) best.push_back({row_value[i], row_index[i]});
    }
    std::sort(best.begin(), best.end(), better);
    for (const Scored& entry : best) {
      if (static_cast<int64_t>(result[static_cast<size_t>(row)].size()) == k) break;
      if (entry.score > -std::numeric_limits<float>::infinity()) {
        result[static_cast<size_t>(row)].push_back(entry.column);
      }
    }
  }
  return result;
}

std::vector<int64_t> round_robin(const std::vector<std::vector<int64_t>>& lists, size_t k) {
  std::vector<int64_t> blended;
  std::unordered_set<int64_t> taken;
  std::vector<size_t> position(lists.size(), 0);
  bool grew = true;
  while (grew && blended.size() < k) {
    grew = false;
    for (size_t l = 0; l < lists.size() && blended.size() < k; ++l) {
      size_t& next = position[l];
      while (next < lists[l].size() && taken.contains(lists[l][next])) ++next;
      if (next == lists[l].size()) continue;
      taken.insert(lists[l][next]);
      blended.push_back(lists[l][next]);
      grew = true;
    }
  }
  return blended;
}

}  // namespace pinnerformer
