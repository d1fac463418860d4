// Rank (row mod W) owns a row: requests, rows and gradients are sent by all-to-all.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "comm/ranks.h"
#include "comm/rows/row_copy.h"
#include "comm/rows/row_exchange.h"
#include "comm/rows/row_transport.h"

namespace pinnerformer {
namespace {

class ShardedExchange : public RowExchange {
 public:
  ShardedExchange(Communicator& control, Communicator& tensors)
      : control_(control), tensors_(tensors) {}

  OwnedRows owned(int64_t total) const override {
    const int64_t rank = control_.rank(), ranks = control_.size();
    return {rank, ranks, std::max<int64_t>(0, (total - rank + ranks - 1) / ranks)};
  }

  void request(const torch::Tensor& rows, const torch::Tensor& table) override {
    const torch::Tensor by_owner = local_by_owner(rows);
    requested_counts_ = exchange_counts(request_counts_);
    requested_rows_ = torch::empty({total_of(requested_counts_)}, torch::kInt64);
    control_
        .all_to_all(requested_rows_, by_owner, requested_counts_, request_counts_, "requested rows")
        ->wait();
    outgoing_ = take_rows(table, requested_rows_);
    incoming_ = empty_rows(rows.numel(), table);
    work_ = tensors_.all_to_all(incoming_, outgoing_, request_counts_, requested_counts_, "rows");
  }

  torch::Tensor receive() override {
    work_->wait();
    if (!order_.defined()) return std::move(incoming_);
    torch::Tensor place = torch::empty_like(order_);  // of each requested row in incoming_
    place.index_copy_(0, order_, torch::arange(order_.numel()));
    return take_rows(incoming_, place);
  }

  void return_gradients(const torch::Tensor& gradients) override {
    outgoing_ = gradients.contiguous();
    if (order_.defined()) outgoing_ = take_rows(outgoing_, order_);
    incoming_ = empty_rows(total_of(requested_counts_), gradients);
    work_ = tensors_.all_to_all(incoming_, outgoing_, requested_counts_, request_counts_,
                                "row gradients");
  }

  Returned returned() override {
    work_->wait();
    work_.reset();
    return {std::move(requested_rows_), std::move(incoming_)};
  }

  torch::Tensor collect(const torch::Tensor& column, int64_t first, int64_t count) override {
    const std::vector<int64_t> parts = parts_of(first, count);
    const torch::Tensor part =
        owned_part(column, first, parts[static_cast<size_t>(control_.rank())]).cpu();
    const torch::Tensor gathered =
        gather_on_coordinator(part, parts, control_, "rows of a checkpoint");
    if (!gathered.defined()) return {};
    torch::Tensor slice = torch::empty_like(gathered);
    for_each_owner(slice, first, parts, [&](const torch::Tensor& rows, int64_t offset) {
      rows.copy_(gathered.narrow(0, offset, rows.size(0)));
    });
    return slice;
  }

  void distribute(const torch::Tensor& column, const torch::Tensor& slice, int64_t first) override {
    const std::vector<int64_t> parts = parts_of(first, slice.size(0));
    const bool coordinator = control_.rank() == kCoordinator;
    torch::Tensor grouped = empty_rows(coordinator ? slice.size(0) : 0, slice);
    if (coordinator)
      for_each_owner(slice, first, parts, [&](const torch::Tensor& rows, int64_t offset) {
        grouped.narrow(0, offset, rows.size(0)).copy_(rows);
      });
    const torch::Tensor part = empty_rows(parts[static_cast<size_t>(control_.rank())], slice);
    scatter_from_coordinator(grouped, part, parts, control_, "rows of a checkpoint");
    owned_part(column, first, part.size(0)).copy_(part);
  }

 private:
  // The local rows at their owners, sorted by owner. Sets order_, the permutation that sorts them;
  // undefined where `rows` are sorted already, so that values and gradients need no copy.
  torch::Tensor local_by_owner(const torch::Tensor& rows) {
    const auto ranks = static_cast<int64_t>(control_.size());
    const int64_t* ids = rows.const_data_ptr<int64_t>();
    torch::Tensor local = torch::empty_like(rows);
    auto* local_row = local.data_ptr<int64_t>();
    request_counts_.assign(static_cast<size_t>(ranks), 0);
    bool in_order = true;
    int64_t last = 0;  // owner
    for (int64_t i = 0; i < rows.numel(); ++i) {
      TORCH_CHECK_INDEX(ids[i] >= 0, "row ", ids[i], " of a table was requested");
      const int64_t owner = ids[i] % ranks;
      local_row[i] = ids[i] / ranks;
      ++request_counts_[static_cast<size_t>(owner)];
      in_order = in_order && owner >= last;
      last = owner;
    }
    order_ = in_order ? torch::Tensor() : order_by_owner(rows, ranks);
    return in_order ? local : local.index_select(0, order_);
  }

  std::vector<int64_t> exchange_counts(std::vector<int64_t>& sent) {
    const std::vector<int64_t> one(sent.size(), 1);
    torch::Tensor counts = torch::empty({control_.size()}, torch::kInt64);
    control_.all_to_all(counts, torch::tensor(sent, torch::kInt64), one, one, "rows requested")
        ->wait();
    return to_vector(counts);
  }

  // How many of the rows first .. first + count each rank owns.
  [[nodiscard]] std::vector<int64_t> parts_of(int64_t first, int64_t count) const {
    std::vector<int64_t> parts;
    for (int64_t rank = 0; rank < control_.size(); ++rank) {
      const OwnedRows all{rank, control_.size(), INT64_MAX};
      parts.push_back(all.before(first + count) - all.before(first));
    }
    return parts;
  }

  [[nodiscard]] torch::Tensor owned_part(const torch::Tensor& column, int64_t first,
                                         int64_t count) const {
    const OwnedRows owned{control_.rank(), control_.size(), INT64_MAX};
    return column.narrow(0, count == 0 ? 0 : owned.before(first), count);
  }

  // Calls use(rows, offset) for each rank that owns rows of the slice: a view of these rows, and
  // the first of their positions when rows are grouped by rank.
  template <class Use>
  void for_each_owner(const torch::Tensor& slice, int64_t first, const std::vector<int64_t>& parts,
                      Use use) const {
    const auto ranks = static_cast<int64_t>(control_.size());
    int64_t offset = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const int64_t count = parts[static_cast<size_t>(rank)];
      if (count == 0) continue;
      const int64_t begin = (rank - first % ranks + ranks) % ranks;
      use(slice.slice(0, begin, slice.size(0), ranks), offset);
      offset += count;
    }
  }

  Communicator& control_;
  Communicator& tensors_;
  std::vector<int64_t> request_counts_;    // rows that this rank requests from each rank
  std::vector<int64_t> requested_counts_;  // rows that each rank requests from this one
  torch::Tensor requested_rows_;           // int64, the latter as local rows
  torch::Tensor order_;                    // int64 [U], see local_by_owner()
  torch::Tensor outgoing_, incoming_;      // buffers of the collective in progress
  std::unique_ptr<Work> work_;
};

}  // namespace

std::unique_ptr<RowExchange> make_sharded_exchange(Communicator& control, Communicator& tensors) {
  return std::make_unique<ShardedExchange>(control, tensors);
}

}  // namespace pinnerformer
