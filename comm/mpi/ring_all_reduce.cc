#include "comm/mpi/ring_all_reduce.h"

#include <algorithm>

#include "comm/communicator.h"
#include "comm/mpi/mpi_check.h"

namespace pinnerformer {
namespace {

constexpr int64_t kChunkBytes = 128 << 10;

}  // namespace

RingAllReduce::RingAllReduce(const Sum& sum) : sum_(sum) {
  PF_MPI_CHECK(MPI_Comm_rank(sum.comm, &rank_));
  PF_MPI_CHECK(MPI_Comm_size(sum.comm, &size_));
  TORCH_CHECK(size_ > 1, "a ring needs at least two ranks");
  piece_elements_ = size_ * (kChunkBytes / sum.element_size);
  pieces_ = (sum.elements + piece_elements_ - 1) / piece_elements_;
  for (int i = 0; i < kTags; ++i) {
    Piece& piece = in_progress_[static_cast<size_t>(i)];
    piece.index = i;
    if (finished(piece)) continue;
    piece.scratch = torch::empty({kChunkBytes}, torch::kUInt8);
    start_phase(piece);
  }
}

bool RingAllReduce::advance() {
  bool all = true;
  for (Piece& piece : in_progress_) all = advance(piece) && all;
  return all;
}

bool RingAllReduce::advance(Piece& piece) {
  while (!finished(piece)) {
    int done = 0, count = 0;
    std::array<MPI_Status, 2> statuses{};
    PF_MPI_CHECK(MPI_Testall(2, piece.requests.data(), &done, statuses.data()));
    if (done == 0) return false;
    const Chunk received = chunk(piece, piece.phase + 1);
    PF_MPI_CHECK(MPI_Get_count(statuses.data(), sum_.type, &count));
    if (count != received.count)
      throw CommError(c10::str("a rank sent ", count, " elements of a sum instead of ",
                               received.count, ": the ranks do not run the same program"));
    if (piece.phase < size_ - 1) {
      PF_MPI_CHECK(MPI_Reduce_local(piece.scratch.const_data_ptr(), received.data, received.count,
                                    sum_.type, sum_.op));
    }
    if (++piece.phase == 2 * (size_ - 1)) {
      piece.phase = 0;
      piece.index += kTags;
    }
    if (!finished(piece)) start_phase(piece);
  }
  return true;
}

void RingAllReduce::start_phase(Piece& piece) {
  const int right = (rank_ + 1) % size_, left = (rank_ + size_ - 1) % size_;
  const int tag = sum_.first_tag + static_cast<int>(piece.index % kTags);
  const Chunk sent = chunk(piece, piece.phase), received = chunk(piece, piece.phase + 1);
  void* target = piece.phase < size_ - 1 ? piece.scratch.data_ptr() : received.data;
  PF_MPI_CHECK(
      MPI_Irecv(target, received.count, sum_.type, left, tag, sum_.comm, &piece.requests[0]));
  PF_MPI_CHECK(
      MPI_Isend(sent.data, sent.count, sum_.type, right, tag, sum_.comm, &piece.requests[1]));
}

// A rank first sends its own chunk. The last chunk that it adds to is its right neighbour's, whose
// sum it then holds: the second round starts by sending that one.
RingAllReduce::Chunk RingAllReduce::chunk(const Piece& piece, int phase) const {
  const int64_t first = piece.index * piece_elements_;
  const int64_t elements = std::min(piece_elements_, sum_.elements - first);
  const int64_t index = (rank_ - phase + 2 * size_) % size_;
  const int64_t begin = elements * index / size_, end = elements * (index + 1) / size_;
  return {sum_.data + (first + begin) * sum_.element_size, static_cast<int>(end - begin)};
}

std::vector<torch::Tensor> RingAllReduce::scratch() const {
  std::vector<torch::Tensor> all;
  for (const Piece& piece : in_progress_) all.push_back(piece.scratch);
  return all;
}

}  // namespace pinnerformer
