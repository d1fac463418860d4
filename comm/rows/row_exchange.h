// Moves rows of a table between the ranks that own them and the ranks that use them: only the rows
// of a step, never the whole table.
#pragma once
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace pinnerformer {

// The rows that one rank owns: first, first + stride, first + 2 * stride, ...; the i-th of them is
// its "local row" i. `count` is 0 on some ranks where there are more ranks than rows.
struct OwnedRows {
  int64_t first = 0;
  int64_t stride = 1;
  int64_t count = 0;

  [[nodiscard]] int64_t row(int64_t local) const { return first + local * stride; }
  // Number of owned rows that are less than `row`.
  [[nodiscard]] int64_t before(int64_t row) const {
    return row <= first ? 0 : std::min(count, (row - first + stride - 1) / stride);
  }
};

// The permutation that sorts `rows`, int64 [U], by owner, which is row mod `owners`: int64 [U],
// indices into `rows`. Stable: the rows of one owner keep their order.
[[nodiscard]] torch::Tensor order_by_owner(const torch::Tensor& rows, int64_t owners);

// One step is request(), receive(), return_gradients(), returned(), in this order and on every
// rank. Ranks may request different rows, and none. A "table" is [owned rows, E] float32; rows and
// gradients are on its device, row numbers on the CPU. Requests sorted by order_by_owner() are the
// fastest: no value is copied to another position.
class RowExchange {
 public:
  virtual ~RowExchange() = default;
  // The rows of a table of `total` rows that this rank owns.
  [[nodiscard]] virtual OwnedRows owned(int64_t total) const = 0;

  // Starts to fetch the rows int64 [U] of the table. Throws c10::IndexError for a row outside of
  // the table.
  virtual void request(const torch::Tensor& rows, const torch::Tensor& table) = 0;
  // Waits for the requested rows, float32 [U, E].
  virtual torch::Tensor receive() = 0;
  // Starts to send the gradients [U, E] of these rows to all ranks that own them.
  virtual void return_gradients(const torch::Tensor& gradients) = 0;

  struct Returned {
    torch::Tensor local_row;  // int64 [n]: a row occurs once for each rank that used it
    torch::Tensor gradient;   // float32 [n, E]
  };
  // Waits for what the ranks returned for rows owned here, in rank order and in the order of their
  // requests: adding up in this order gives the same sums for every placement.
  virtual Returned returned() = 0;

  // Rows first .. first + count of a column [owned rows, ...] of any 4-byte type or int64, which
  // may be strided and on any device, in global order, on the coordinator's CPU; undefined on the
  // other ranks. Every rank must call it.
  virtual torch::Tensor collect(const torch::Tensor& column, int64_t first, int64_t count) = 0;
  // The inverse: `slice` [count, ...], on the CPU, is read on the coordinator only and has the
  // right shape on all ranks.
  virtual void distribute(const torch::Tensor& column, const torch::Tensor& slice,
                          int64_t first) = 0;
};

// Every rank owns every row. Gradients are all-gathered as (row, gradient) pairs: with U_r rows of
// rank r and W ranks, a rank receives the sum over the other ranks of U_r * (8 + 4 E) + 8 bytes.
// Tables on the CPU.
[[nodiscard]] std::unique_ptr<RowExchange> make_replicated_exchange(Communicator& comm);
// Rank (row mod W) owns a row. Requests, rows and gradients are sent by all-to-all. Of its own U
// rows, (W - 1) / W are owned elsewhere; for each of these a rank receives and sends 4 E bytes for
// the row, 4 E for the gradient and 8 for the request, and 8 bytes per other rank. Apart from the
// last term this does not depend on W. `control` moves row numbers and counts, `tensors` what is on
// the device of the table; both are the same for tables on the CPU.
[[nodiscard]] std::unique_ptr<RowExchange> make_sharded_exchange(Communicator& control,
                                                                 Communicator& tensors);

}  // namespace pinnerformer
