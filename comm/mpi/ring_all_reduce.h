// Sums of large tensors over MPI, without blocking and at the pace of memory.
#pragma once
#include <mpi.h>
#include <torch/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pinnerformer {

// A sum over all ranks of a communicator, in place, by the ring: a piece of the tensor is cut into
// as many chunks as there are ranks; each chunk goes round once to be summed and once more to be
// handed out, so that a rank receives 2(n-1)/n of the bytes (Patarasu and Yuan, 2009). Some pieces
// are under way at a time, few enough that what a rank adds up is still in its cache; MPI's own
// non-blocking sum has all of a tensor under way at once.
class RingAllReduce {
 public:
  // Messages of one sum have kTags consecutive tags, the same on every rank.
  static constexpr int kTags = 4;
  // `data`: `elements` of `type`. At least two ranks. The memory stays in use until advance()
  // returned true.
  struct Sum {
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_Op op = MPI_OP_NULL;
    char* data = nullptr;
    int64_t elements = 0;
    int64_t element_size = 0;
    int first_tag = 0;
  };
  explicit RingAllReduce(const Sum& sum);
  // Goes on as far as possible without waiting. True when the sum is there. Throws CommError.
  bool advance();
  // What MPI may still write into when a sum is given up.
  [[nodiscard]] std::vector<torch::Tensor> scratch() const;

 private:
  // One piece under way: first to receive and add n - 1 chunks, then to receive n - 1 sums.
  struct Lane {
    int64_t piece = 0;
    int phase = 0;
    std::array<MPI_Request, 2> requests{MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    torch::Tensor scratch;  // uint8: a chunk to be added
  };
  struct Chunk {
    char* data = nullptr;
    int count = 0;
  };
  bool advance(Lane& lane);
  void start_phase(Lane& lane);
  // The chunk that is sent in a phase; the one that is received is sent in the next.
  [[nodiscard]] Chunk chunk(const Lane& lane, int phase) const;
  [[nodiscard]] bool finished(const Lane& lane) const { return lane.piece >= pieces_; }

  Sum sum_;
  int rank_ = 0;
  int size_ = 1;
  int64_t piece_elements_ = 0;
  int64_t pieces_ = 0;
  std::array<Lane, kTags> lanes_;
};

}  // namespace pinnerformer
