#include "comm/row_checks.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace pinnerformer {

void check_rows(const torch::Tensor& whole, const std::vector<int64_t>& counts,
                const Communicator& comm, const std::string& name) {
  TORCH_CHECK(std::cmp_equal(counts.size(), comm.size()), name, ": ", counts.size(), " counts for ",
              comm.size(), " ranks; expected one per rank");
  TORCH_CHECK(std::ranges::all_of(counts, [](int64_t rows) { return rows >= 0; }), name,
              ": negative count");
  const int64_t sum = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  TORCH_CHECK(sum == whole.size(0), name, ": counts sum to ", sum, " rows, the tensor has ",
              whole.size(0));
}

void check_gather_rows(const torch::Tensor& whole, const torch::Tensor& part,
                       const std::vector<int64_t>& counts, const Communicator& comm,
                       const std::string& name) {
  check_rows(whole, counts, comm, name);
  const int64_t mine = counts[static_cast<size_t>(comm.rank())];
  TORCH_CHECK(part.size(0) == mine, name, ": rank ", comm.rank(), " has ", part.size(0),
              " rows, its count says ", mine);
  TORCH_CHECK(part.sizes().slice(1) == whole.sizes().slice(1), name, ": rows of ",
              part.sizes().slice(1), " and of ", whole.sizes().slice(1));
}

}  // namespace pinnerformer
