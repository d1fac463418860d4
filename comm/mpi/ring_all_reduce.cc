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
  TORCH_CHECK(size_ > 1, "a ring has at least two ranks");
  piece_elements_ = size_ * (kChunkBytes / sum.element_size);
  pieces_ = (sum.elements + piece_elements_ - 1) / piece_elements_;
  for (int i = 0; i < kTags; ++i) {
    Lane& lane = lanes_[static_cast<size_t>(i)];
    lane.piece = i;
    if (finished(lane)) continue;
    lane.scratch = torch::empty({kChunkBytes}, torch::kUInt8);
    start_phase(lane);
  }
}

bool RingAllReduce::advance() {
  bool all = true;
  for (Lane& lane : lanes_) all = advance(lane) && all;
  return all;
}

bool RingAllReduce::advance(Lane& lane) {
  while (!finished(lane)) {
    int done = 0, count = 0;
    std::array<MPI_Status, 2> statuses{};
    PF_MPI_CHECK(MPI_Testall(2, lane.requests.data(), &done, statuses.data()));
    if (done == 0) return false;
    const Chunk received = chunk(lane, lane.phase + 1);
    PF_MPI_CHECK(MPI_Get_count(statuses.data(), sum_.type, &count));
    if (count != received.count)
      throw CommError(c10::str("a rank brought ", count, " elements to a sum instead of ",
                               received.count, ": the ranks do not run the same program"));
    if (lane.phase < size_ - 1) {
      PF_MPI_CHECK(MPI_Reduce_local(lane.scratch.const_data_ptr(), received.data, received.count,
                                    sum_.type, sum_.op));
    }
    if (++lane.phase == 2 * (size_ - 1)) {
      lane.phase = 0;
      lane.piece += kTags;
    }
    if (!finished(lane)) start_phase(lane);
  }
  return true;
}

void RingAllReduce::start_phase(Lane& lane) {
  const int right = (rank_ + 1) % size_, left = (rank_ + size_ - 1) % size_;
  const int tag = sum_.first_tag + static_cast<int>(lane.piece % kTags);
  const Chunk sent = chunk(lane, lane.phase), received = chunk(lane, lane.phase + 1);
  void* target = lane.phase < size_ - 1 ? lane.scratch.data_ptr() : received.data;
  PF_MPI_CHECK(
      MPI_Irecv(target, received.count, sum_.type, left, tag, sum_.comm, &lane.requests[0]));
  PF_MPI_CHECK(
      MPI_Isend(sent.data, sent.count, sum_.type, right, tag, sum_.comm, &lane.requests[1]));
}

// A rank begins with its own chunk. The last it receives to add is the one right of it, which it
// then holds the sum of: the second round goes on from there.
RingAllReduce::Chunk RingAllReduce::chunk(const Lane& lane, int phase) const {
  const int64_t first = lane.piece * piece_elements_;
  const int64_t elements = std::min(piece_elements_, sum_.elements - first);
  const int64_t index = (rank_ - phase + 2 * size_) % size_;
  const int64_t begin = elements * index / size_, end = elements * (index + 1) / size_;
  return {sum_.data + (first + begin) * sum_.element_size, static_cast<int>(end - begin)};
}

std::vector<torch::Tensor> RingAllReduce::scratch() const {
  std::vector<torch::Tensor> all;
  for (const Lane& lane : lanes_) all.push_back(lane.scratch);
  return all;
}

}  // namespace pinnerformer
