// Every rank owns every row: nothing is fetched, gradients are all-gathered.
#include <memory>
#include <utility>
#include <vector>

#include "comm/ranks.h"
#include "comm/rows/row_copy.h"
#include "comm/rows/row_exchange.h"
#include "comm/rows/row_transport.h"

namespace pinnerformer {
namespace {

class ReplicatedExchange : public RowExchange {
 public:
  explicit ReplicatedExchange(Communicator& comm) : comm_(comm) {}

  OwnedRows owned(int64_t total) const override { return {0, 1, total}; }

  void request(const torch::Tensor& rows, const torch::Tensor& table) override {
    require_rows_of(table, rows);
    rows_ = rows;
    table_ = table;
    torch::Tensor counts = torch::empty({comm_.size()}, torch::kInt64);
    comm_
        .all_gather(counts, torch::tensor({rows.numel()}, torch::kInt64),
                    std::vector<int64_t>(static_cast<size_t>(comm_.size()), 1), "rows used")
        ->wait();
    counts_ = to_vector(counts);
    used_ = torch::empty({total_of(counts_)}, torch::kInt64);
    work_ = comm_.all_gather(used_, rows_, counts_, "used rows");
  }

  torch::Tensor receive() override { return gather_rows(table_, rows_); }

  void return_gradients(const torch::Tensor& gradients) override {
    work_->wait();
    mine_ = gradients.contiguous();
    gradients_ = empty_rows(total_of(counts_), mine_);
    work_ = comm_.all_gather(gradients_, mine_, counts_, "row gradients");
  }

  Returned returned() override {
    work_->wait();
    work_.reset();
    return {std::move(used_), std::move(gradients_)};
  }

  torch::Tensor collect(const torch::Tensor& column, int64_t first, int64_t count) override {
    return comm_.rank() == kCoordinator ? column.narrow(0, first, count).contiguous()
                                        : torch::Tensor();
  }

  void distribute(const torch::Tensor& column, const torch::Tensor& slice, int64_t first) override {
    const torch::Tensor rows = slice.contiguous();
    broadcast_from_coordinator(rows, comm_, "rows of a checkpoint");
    column.narrow(0, first, slice.size(0)).copy_(rows);
  }

 private:
  Communicator& comm_;
  torch::Tensor rows_, table_, used_, mine_, gradients_;
  std::vector<int64_t> counts_;
  std::unique_ptr<Work> work_;
};

}  // namespace

std::unique_ptr<RowExchange> make_replicated_exchange(Communicator& comm) {
  return std::make_unique<ReplicatedExchange>(comm);
}

}  // namespace pinnerformer
