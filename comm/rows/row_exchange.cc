#include "comm/rows/row_exchange.h"

#include <numeric>
#include <span>
#include <utility>

#include "comm/rows/row_copy.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRoot = 0;

int64_t sum(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::vector<int64_t> to_vector(const torch::Tensor& counts) {
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + counts.numel()};
}

torch::Tensor empty_rows(int64_t count, const torch::Tensor& like) {
  std::vector<int64_t> shape = like.sizes().vec();
  shape[0] = count;
  return torch::empty(shape, like.options());
}

// Communicators know few types; bits are bits.
torch::Tensor as_movable(const torch::Tensor& column) {
  return column.element_size() == 4 ? column.view(torch::kFloat32) : column;
}

// Row indices come from us; one outside of the table is a bug here or bad data further up.
void check_rows(const torch::Tensor& rows, int64_t kept) {
  const int64_t* ids = rows.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < rows.numel(); ++i)
    TORCH_CHECK_INDEX(ids[i] >= 0 && ids[i] < kept, "row ", ids[i], " of a table of ", kept,
                      " rows was asked for");
}

class ReplicatedExchange : public RowExchange {
 public:
  explicit ReplicatedExchange(Communicator& comm) : comm_(comm) {}

  KeptRows kept(int64_t total) const override { return {0, 1, total}; }

  void request(const torch::Tensor& rows, const torch::Tensor& table) override {
    check_rows(rows, table.size(0));
    rows_ = rows;
    table_ = table;
    torch::Tensor counts = torch::empty({comm_.size()}, torch::kInt64);
    comm_
        .all_gather(counts, torch::tensor({rows.numel()}, torch::kInt64),
                    std::vector<int64_t>(static_cast<size_t>(comm_.size()), 1), "rows used")
        ->wait();
    counts_ = to_vector(counts);
    used_ = torch::empty({sum(counts_)}, torch::kInt64);
    work_ = comm_.all_gather(used_, rows_, counts_, "used rows");
  }

  torch::Tensor receive() override { return gather_rows(table_, rows_); }

  void return_gradients(const torch::Tensor& gradients) override {
    work_->wait();
    mine_ = gradients.contiguous();
    gradients_ = empty_rows(sum(counts_), mine_);
    work_ = comm_.all_gather(gradients_, mine_, counts_, "row gradients");
  }

  Returned returned() override {
    work_->wait();
    work_.reset();
    return {std::move(used_), std::move(gradients_)};
  }

  torch::Tensor collect(const torch::Tensor& column, int64_t first, int64_t count) override {
    return comm_.rank() == kRoot ? column.narrow(0, first, count).contiguous() : torch::Tensor();
  }

  void distribute(const torch::Tensor& column, const torch::Tensor& slice, int64_t first) override {
    const torch::Tensor rows = slice.contiguous();
    broadcast_from_root(rows, comm_, "rows of a checkpoint");
    column.narrow(0, first, slice.size(0)).copy_(rows);
  }

 private:
  Communicator& comm_;
  torch::Tensor rows_, table_, used_, mine_, gradients_;
  std::vector<int64_t> counts_;
  std::unique_ptr<Work> work_;
};

class ShardedExchange : public RowExchange {
 public:
  explicit ShardedExchange(Communicator& comm) : comm_(comm) {}

  KeptRows kept(int64_t total) const override {
    const int64_t rank = comm_.rank(), ranks = comm_.size();
    return {rank, ranks, std::max<int64_t>(0, (total - rank + ranks - 1) / ranks)};
  }

  void request(const torch::Tensor& rows, const torch::Tensor& table) override {
    const torch::Tensor by_owner = local_by_owner(rows);
    asked_ = exchange_counts(sent_);
    wanted_ = torch::empty({sum(asked_)}, torch::kInt64);
    comm_.all_to_all(wanted_, by_owner, asked_, sent_, "requested rows")->wait();
    outgoing_ = gather_rows(table, wanted_);
    incoming_ = empty_rows(rows.numel(), table);
    work_ = comm_.all_to_all(incoming_, outgoing_, sent_, asked_, "rows");
  }

  torch::Tensor receive() override {
    work_->wait();
    if (!order_.defined()) return std::move(incoming_);
    torch::Tensor rows = torch::empty_like(incoming_);
    scatter_rows(rows, order_, incoming_);
    return rows;
  }

  void return_gradients(const torch::Tensor& gradients) override {
    outgoing_ = gradients.contiguous();
    if (order_.defined()) outgoing_ = gather_rows(outgoing_, order_);
    incoming_ = empty_rows(sum(asked_), gradients);
    work_ = comm_.all_to_all(incoming_, outgoing_, asked_, sent_, "row gradients");
  }

  Returned returned() override {
    work_->wait();
    work_.reset();
    return {std::move(wanted_), std::move(incoming_)};
  }

  torch::Tensor collect(const torch::Tensor& column, int64_t first, int64_t count) override {
    const std::vector<int64_t> parts = parts_of(first, count);
    const torch::Tensor part = kept_part(column, first, parts[static_cast<size_t>(comm_.rank())]);
    const torch::Tensor gathered = gather_on_root(part, parts, comm_, "rows of a checkpoint");
    if (!gathered.defined()) return {};
    torch::Tensor slice = torch::empty_like(gathered);
    for_each_owner(slice, first, parts, [&](torch::Tensor rows, int64_t offset) {
      rows.copy_(gathered.narrow(0, offset, rows.size(0)));
    });
    return slice;
  }

  void distribute(const torch::Tensor& column, const torch::Tensor& slice, int64_t first) override {
    const std::vector<int64_t> parts = parts_of(first, slice.size(0));
    const auto mine = static_cast<size_t>(comm_.rank());
    const std::vector<int64_t> none(parts.size(), 0);
    std::vector<int64_t> received = none;
    received[kRoot] = parts[mine];
    const bool root = comm_.rank() == kRoot;
    torch::Tensor grouped = empty_rows(root ? slice.size(0) : 0, slice);
    if (root)
      for_each_owner(slice, first, parts, [&](const torch::Tensor& rows, int64_t offset) {
        grouped.narrow(0, offset, rows.size(0)).copy_(rows);
      });
    const torch::Tensor arrived = empty_rows(parts[mine], slice);
    comm_
        .all_to_all(as_movable(arrived), as_movable(grouped), received, root ? parts : none,
                    "rows of a checkpoint")
        ->wait();
    kept_part(column, first, parts[mine]).copy_(arrived);
  }

 private:
  // Local rows at their owners, in owner order; order_ says which of `rows` each is, and is
  // undefined where they are in that order already: then values and gradients stay where they are.
  torch::Tensor local_by_owner(const torch::Tensor& rows) {
    const auto ranks = static_cast<int64_t>(comm_.size());
    const int64_t* ids = rows.const_data_ptr<int64_t>();
    torch::Tensor local = torch::empty_like(rows);
    auto* local_row = local.data_ptr<int64_t>();
    sent_.assign(static_cast<size_t>(ranks), 0);
    bool in_order = true;
    int64_t last = 0;  // owner
    for (int64_t i = 0; i < rows.numel(); ++i) {
      TORCH_CHECK_INDEX(ids[i] >= 0, "row ", ids[i], " of a table was asked for");
      const int64_t owner = ids[i] % ranks;
      local_row[i] = ids[i] / ranks;
      ++sent_[static_cast<size_t>(owner)];
      in_order = in_order && owner >= last;
      last = owner;
    }
    order_ = in_order ? torch::Tensor() : order_by_keeper(rows, ranks);
    return in_order ? local : local.index_select(0, order_);
  }

  std::vector<int64_t> exchange_counts(std::vector<int64_t>& sent) {
    const std::vector<int64_t> one(sent.size(), 1);
    torch::Tensor counts = torch::empty({comm_.size()}, torch::kInt64);
    comm_.all_to_all(counts, torch::tensor(sent, torch::kInt64), one, one, "rows requested")
        ->wait();
    return to_vector(counts);
  }

  // How many of the rows first .. first + count each rank keeps.
  [[nodiscard]] std::vector<int64_t> parts_of(int64_t first, int64_t count) const {
    std::vector<int64_t> parts;
    for (int64_t rank = 0; rank < comm_.size(); ++rank) {
      const KeptRows all{rank, comm_.size(), INT64_MAX};
      parts.push_back(all.before(first + count) - all.before(first));
    }
    return parts;
  }

  [[nodiscard]] torch::Tensor kept_part(const torch::Tensor& column, int64_t first,
                                        int64_t count) const {
    const KeptRows kept{comm_.rank(), comm_.size(), INT64_MAX};
    return column.narrow(0, count == 0 ? 0 : kept.before(first), count);
  }

  // The rows of a slice that each rank keeps, as a view, and where they stand grouped by rank.
  template <class Use>
  void for_each_owner(const torch::Tensor& slice, int64_t first, const std::vector<int64_t>& parts,
                      Use use) const {
    const auto ranks = static_cast<int64_t>(comm_.size());
    int64_t offset = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const int64_t count = parts[static_cast<size_t>(rank)];
      if (count == 0) continue;
      const int64_t begin = (rank - first % ranks + ranks) % ranks;
      use(slice.slice(0, begin, slice.size(0), ranks), offset);
      offset += count;
    }
  }

  Communicator& comm_;
  std::vector<int64_t> sent_, asked_;  // rows asked from, and by, each rank
  torch::Tensor order_;                // int64 [U], see local_by_owner()
  torch::Tensor wanted_;               // int64 local rows that the ranks asked for
  torch::Tensor outgoing_, incoming_;  // of the exchange under way
  std::unique_ptr<Work> work_;
};

}  // namespace

torch::Tensor order_by_keeper(const torch::Tensor& rows, int64_t keepers) {
  const std::span<const int64_t> values(rows.const_data_ptr<int64_t>(),
                                        static_cast<size_t>(rows.numel()));
  std::vector<int64_t> next(static_cast<size_t>(keepers) + 1, 0);
  for (const int64_t row : values) ++next[static_cast<size_t>(row % keepers) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  torch::Tensor order = torch::empty_like(rows);
  auto* places = order.data_ptr<int64_t>();
  for (size_t i = 0; i < values.size(); ++i)
    places[next[static_cast<size_t>(values[i] % keepers)]++] = static_cast<int64_t>(i);
  return order;
}

torch::Tensor gather_on_root(const torch::Tensor& part, const std::vector<int64_t>& parts,
                             Communicator& comm, const std::string& name) {
  const bool root = comm.rank() == kRoot;
  const std::vector<int64_t> none(parts.size(), 0);
  std::vector<int64_t> sent = none;
  sent[kRoot] = part.size(0);
  torch::Tensor gathered = empty_rows(root ? sum(parts) : 0, part);
  comm.all_to_all(as_movable(gathered), as_movable(part.contiguous()), root ? parts : none, sent,
                  name)
      ->wait();
  return root ? gathered : torch::Tensor();
}

void broadcast_from_root(const torch::Tensor& tensor, Communicator& comm, const std::string& name) {
  comm.broadcast(as_movable(tensor), kRoot, name)->wait();
}

std::unique_ptr<RowExchange> make_replicated_exchange(Communicator& comm) {
  return std::make_unique<ReplicatedExchange>(comm);
}

std::unique_ptr<RowExchange> make_sharded_exchange(Communicator& comm) {
  return std::make_unique<ShardedExchange>(comm);
}

}  // namespace pinnerformer
