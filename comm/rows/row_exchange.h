// Moves rows of a table between the ranks that keep them and the ranks that use them: only the rows
// of a step, never the table.
#pragma once
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// The rows that one rank keeps: first, first + stride, first + 2 * stride, ...; the i-th of them is
// its "local row" i. `count` may be 0 where there are more ranks than rows.
struct KeptRows {
  int64_t first = 0;
  int64_t stride = 1;
  int64_t count = 0;

  [[nodiscard]] int64_t row(int64_t local) const { return first + local * stride; }
  // Local rows below the first one that is not before `row`.
  [[nodiscard]] int64_t before(int64_t row) const {
    return row <= first ? 0 : std::min(count, (row - first + stride - 1) / stride);
  }
};

// Places of `rows`, int64 [U], by keeper, which is row mod `keepers`. Rows of one keeper stay as
// they were.
[[nodiscard]] torch::Tensor order_by_keeper(const torch::Tensor& rows, int64_t keepers);

// Cheapest where the rows asked for come in the order of their keepers, as order_by_keeper() puts
// them: then no value has to be moved to its place and back.
//
// One step is request(), receive(), return_gradients(), returned(), in this order and on every
// rank; ranks may ask for different rows, and for none. CPU tensors; a "table" is [kept rows, E]
// float32.
class RowExchange {
 public:
  virtual ~RowExchange() = default;
  [[nodiscard]] virtual KeptRows kept(int64_t total) const = 0;

  // Starts to fetch the rows int64 [U] of the table.
  virtual void request(const torch::Tensor& rows, const torch::Tensor& table) = 0;
  // The rows asked for, float32 [U, E].
  virtual torch::Tensor receive() = 0;
  // Starts to send the gradients [U, E] of these rows to all ranks that keep them.
  virtual void return_gradients(const torch::Tensor& gradients) = 0;

  struct Returned {
    torch::Tensor local_row;  // int64 [n]: one row may stand here once for each rank that used it
    torch::Tensor gradient;   // float32 [n, E]
  };
  // What the ranks returned for rows kept here, in rank order and in the order of their requests:
  // adding up in this order gives the same sums for every way of keeping rows.
  virtual Returned returned() = 0;

  // Rows first .. first + count of a column [kept rows, ...] of any 4-byte type or int64, which may
  // be strided, in global order, on rank 0; undefined elsewhere. Every rank must call it.
  virtual torch::Tensor collect(const torch::Tensor& column, int64_t first, int64_t count) = 0;
  // The inverse: `slice` [count, ...] is read on rank 0 only and has the right shape everywhere.
  virtual void distribute(const torch::Tensor& column, const torch::Tensor& slice,
                          int64_t first) = 0;
};

// The parts [parts[r], ...] of all ranks one after another, on rank 0; undefined elsewhere. Any
// 4-byte type or int64. Every rank must call it.
[[nodiscard]] torch::Tensor gather_on_root(const torch::Tensor& part,
                                           const std::vector<int64_t>& parts, Communicator& comm,
                                           const std::string& name);
// Copies rank 0's tensor to all ranks, in place; types as above.
void broadcast_from_root(const torch::Tensor& tensor, Communicator& comm, const std::string& name);

// Every rank keeps every row. Gradients are all-gathered as (row, gradient) pairs: with U_r rows of
// rank r and W ranks, a rank receives sum over the others of U_r * (8 + 4 E) + 8 bytes.
[[nodiscard]] std::unique_ptr<RowExchange> make_replicated_exchange(Communicator& comm);
// Rank (row mod W) keeps a row. Requests, rows and gradients travel by all-to-all: for its own U
// rows, of which the share (W - 1) / W lies elsewhere, a rank receives and sends 4 E bytes each for
// rows and gradients and 8 for requests, and 8 for every other rank: independent of W.
[[nodiscard]] std::unique_ptr<RowExchange> make_sharded_exchange(Communicator& comm);

}  // namespace pinnerformer
