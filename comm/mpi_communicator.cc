#include "comm/mpi_communicator.h"

#include <c10/util/BFloat16.h>
#include <mpi.h>
#include <sched.h>

#include <chrono>
#include <climits>
#include <exception>
#include <utility>

#include "comm/mpi_check.h"

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;

MPI_Datatype mpi_type(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return MPI_FLOAT;
    case torch::kFloat64:
      return MPI_DOUBLE;
    case torch::kBFloat16:
      return MPI_UINT16_T;  // MPI knows no bfloat16: moved as bits, summed by our own operation
    case torch::kInt64:
      return MPI_INT64_T;
    case torch::kUInt8:
      return MPI_UINT8_T;
    default:
      TORCH_CHECK(false, "no MPI type for ", type);
  }
}

extern "C" void sum_bfloat16(void* input, void* inout, int* count, MPI_Datatype*) {
  const auto* in = static_cast<const c10::BFloat16*>(input);
  auto* out = static_cast<c10::BFloat16*>(inout);
  for (int i = 0; i < *count; ++i) out[i] = c10::BFloat16(float(out[i]) + float(in[i]));
}

void check_tensor(const torch::Tensor& tensor, const std::string& name) {
  TORCH_CHECK(tensor.device().is_cpu(), name, ": the MPI back end moves CPU tensors, not ",
              tensor.device());
  TORCH_CHECK(tensor.is_contiguous(), name, ": tensor is not contiguous");
  TORCH_CHECK(tensor.numel() <= INT_MAX, name, ": more than 2^31 - 1 elements in one call");
}

// Rows per rank -> elements and displacements, as MPI's v-collectives want them.
struct Layout {
  std::vector<int> counts, offsets;
  Layout(const std::vector<int64_t>& rows, const torch::Tensor& tensor, int ranks) {
    TORCH_CHECK(std::cmp_equal(rows.size(), ranks), "one count per rank, not ", rows.size());
    const int64_t total = tensor.size(0);
    const int64_t width = total == 0 ? 0 : tensor.numel() / total;
    int64_t offset = 0;
    for (const int64_t count : rows) {
      counts.push_back(static_cast<int>(count * width));
      offsets.push_back(static_cast<int>(offset * width));
      offset += count;
    }
    TORCH_CHECK(offset == total, "counts sum to ", offset, " rows, the tensor has ", total);
  }
};

class MpiWork : public Work {
 public:
  MpiWork(MPI_Request request, std::string name, double timeout, std::vector<torch::Tensor> keep,
          std::vector<Layout> layouts)
      : request_(request),
        name_(std::move(name)),
        timeout_(timeout),
        issued_(Clock::now()),
        keep_(std::move(keep)),
        layouts_(std::move(layouts)) {}

  // An exception is on its way and the job ends: the request must not be waited for.
  ~MpiWork() override = default;

  void wait() override {
    for (int polls = 0;; ++polls) {
      int done = 0;
      PF_MPI_CHECK(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
      if (done) return;
      // Ranks may share a core: spinning without a yield would starve the one we wait for.
      if (polls > 100) sched_yield();
      const std::chrono::duration<double> waited = Clock::now() - issued_;
      if (waited.count() > timeout_)
        throw CommError("collective '" + name_ + "' did not finish within " +
                        c10::str(timeout_) +
                        " s (comm.timeout_seconds): a rank is lost, frozen or far behind");
    }
  }

 private:
  MPI_Request request_;
  std::string name_;
  double timeout_;
  Clock::time_point issued_;
  std::vector<torch::Tensor> keep_;  // MPI reads and writes their memory until the request is done
  std::vector<Layout> layouts_;      // likewise the count arrays
};

class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(double timeout) : timeout_(timeout) {
    PF_MPI_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
    PF_MPI_CHECK(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN));
    PF_MPI_CHECK(MPI_Comm_rank(comm_, &rank_));
    PF_MPI_CHECK(MPI_Comm_size(comm_, &size_));
    PF_MPI_CHECK(MPI_Op_create(sum_bfloat16, /*commute=*/1, &bfloat16_sum_));
  }
  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized || std::uncaught_exceptions() > 0) return;  // the job is being aborted
    MPI_Op_free(&bfloat16_sum_);
    MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override {
    check_tensor(tensor, name);
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), static_cast<int>(tensor.numel()),
                                mpi_type(tensor.scalar_type()), sum_of(tensor), comm_, &request));
    return work(request, name, {tensor});
  }

  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    check_pair(output, input, name);
    std::vector<Layout> layout{{counts, output, size_}};
    MPI_Request request = MPI_REQUEST_NULL;
    const MPI_Datatype type = mpi_type(input.scalar_type());
    PF_MPI_CHECK(MPI_Iallgatherv(input.data_ptr(), static_cast<int>(input.numel()), type,
                                 output.data_ptr(), layout[0].counts.data(),
                                 layout[0].offsets.data(), type, comm_, &request));
    return work(request, name, {output, input}, std::move(layout));
  }

  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override {
    check_pair(output, input, name);
    std::vector<Layout> layout{{counts, input, size_}};
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ireduce_scatter(input.data_ptr(), output.data_ptr(), layout[0].counts.data(),
                                     mpi_type(input.scalar_type()), sum_of(input), comm_,
                                     &request));
    return work(request, name, {output, input}, std::move(layout));
  }

  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    check_pair(output, input, name);
    std::vector<Layout> layout{{send_counts, input, size_}, {recv_counts, output, size_}};
    const MPI_Datatype type = mpi_type(input.scalar_type());
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ialltoallv(input.data_ptr(), layout[0].counts.data(),
                                layout[0].offsets.data(), type, output.data_ptr(),
                                layout[1].counts.data(), layout[1].offsets.data(), type, comm_,
                                &request));
    return work(request, name, {output, input}, std::move(layout));
  }

  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    check_tensor(tensor, name);
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ibcast(tensor.data_ptr(), static_cast<int>(tensor.numel()),
                            mpi_type(tensor.scalar_type()), root, comm_, &request));
    return work(request, name, {tensor});
  }

  void barrier(const std::string& name) override {
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ibarrier(comm_, &request));
    work(request, name, {})->wait();
  }

 private:
  static void check_pair(const torch::Tensor& output, const torch::Tensor& input,
                         const std::string& name) {
    check_tensor(output, name);
    check_tensor(input, name);
    TORCH_CHECK(output.scalar_type() == input.scalar_type(), name, ": output is ",
                output.scalar_type(), ", input ", input.scalar_type());
  }

  MPI_Op sum_of(const torch::Tensor& tensor) const {
    return tensor.scalar_type() == torch::kBFloat16 ? bfloat16_sum_ : MPI_SUM;
  }

  std::unique_ptr<Work> work(MPI_Request request, const std::string& name,
                             std::vector<torch::Tensor> keep, std::vector<Layout> layouts = {}) {
    return std::make_unique<MpiWork>(request, name, timeout_, std::move(keep), std::move(layouts));
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Op bfloat16_sum_ = MPI_OP_NULL;
  int rank_ = 0;
  int size_ = 1;
  double timeout_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds) {
  return std::make_unique<MpiCommunicator>(timeout_seconds);
}

}  // namespace pinnerformer
