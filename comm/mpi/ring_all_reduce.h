// Non-blocking sums of large tensors over MPI that reach the speed of memory.
#pragma once
#include <mpi.h>
#include <torch/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pinnerformer {

// A sum over all ranks of a communicator, in place, by the ring: a piece of the tensor is cut into
// as many chunks as there are ranks; each chunk travels round the ring once to be summed and once
// to be distributed, so that a rank receives 2(n-1)/n of the bytes (Patarasu and Yuan, 2009). Only
// kTags pieces are in progress at a time, so that a chunk is still in the cache when it is added.
// MPI's own non-blocking sum works on the whole tensor at once.
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
  // Progresses as far as possible without waiting. True when the sum is complete. Throws CommError.
  bool advance();
  // Buffers that MPI may still write into when a sum is abandoned.
  [[nodiscard]] std::vector<torch::Tensor> scratch() const;

 private:
  // A piece in progress: n - 1 phases receive and add a chunk, n - 1 more receive a sum.
  struct Piece {
    int64_t index = 0;
    int phase = 0;
    std::array<MPI_Request, 2> requests{MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    torch::Tensor scratch;  // uint8: the received chunk, before it is added
  };
  struct Chunk {
    char* data = nullptr;
    int count = 0;
  };
  bool advance(Piece& piece);
  void start_phase(Piece& piece);
  // The chunk that is sent in a phase; the received one is sent in the next phase.
  [[nodiscard]] Chunk chunk(const Piece& piece, int phase) const;
  [[nodiscard]] bool finished(const Piece& piece) const { return piece.index >= pieces_; }

  Sum sum_;
  int rank_ = 0;
  int size_ = 1;
  int64_t piece_elements_ = 0;
  int64_t pieces_ = 0;
  std::array<Piece, kTags> in_progress_;
};

}  // namespace pinnerformer
