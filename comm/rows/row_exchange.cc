#include "comm/rows/row_exchange.h"

#include <numeric>
#include <span>
#include <vector>

namespace pinnerformer {

torch::Tensor order_by_owner(const torch::Tensor& rows, int64_t owners) {
  const std::span<const int64_t> values(rows.const_data_ptr<int64_t>(),
                                        static_cast<size_t>(rows.numel()));
  std::vector<int64_t> next(static_cast<size_t>(owners) + 1, 0);
  for (const int64_t row : values) ++next[static_cast<size_t>(row % owners) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  torch::Tensor order = torch::empty_like(rows);
  auto* indices = order.data_ptr<int64_t>();
  for (size_t i = 0; i < values.size(); ++i)
    indices[next[static_cast<size_t>(values[i] % owners)]++] = static_cast<int64_t>(i);
  return order;
}

}  // namespace pinnerformer
