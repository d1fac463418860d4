#include "comm/mpi/mpi_communicator.h"

#include <c10/util/BFloat16.h>
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <exception>
#include <functional>
#include <tuple>
#include <utility>

#include "comm/mpi/mpi_check.h"
#include "comm/mpi/ring_all_reduce.h"
#include "comm/row_checks.h"

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;

// Larger sums are limited by memory and use the ring; smaller ones by the number of messages.
constexpr int64_t kRingBytesPerRank = 128 << 10;
constexpr int kTagsPerDuplicate = 1 << 14;  // MPI guarantees tags up to 32767

MPI_Datatype mpi_type(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return MPI_FLOAT;
    case torch::kFloat64:
      return MPI_DOUBLE;
    case torch::kBFloat16:
      return MPI_UINT16_T;  // MPI has no bfloat16: moved as bits, summed by sum_bfloat16()
    case torch::kInt32:
      return MPI_INT32_T;
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

// Rows per rank -> elements and displacements, the arguments of MPI's v-collectives.
struct Layout {
  std::vector<int> counts, offsets;
  Layout(const std::vector<int64_t>& rows, const torch::Tensor& tensor) {
    const int64_t total = tensor.size(0);
    const int64_t width = total == 0 ? 0 : tensor.numel() / total;
    int64_t offset = 0;
    for (const int64_t count : rows) {
      counts.push_back(static_cast<int>(count * width));
      offsets.push_back(static_cast<int>(offset * width));
      offset += count;
    }
  }
};

// MPI progresses only when polled: polling one request advances all sums in progress, as it does
// for MPI's own collectives.
using Rings = std::vector<RingAllReduce*>;

void advance_all(const Rings& rings) {
  for (RingAllReduce* ring : rings) ring->advance();
}

class MpiWork : public Work {
 public:
  MpiWork(std::string name, double timeout, std::vector<torch::Tensor> keep, const Rings& rings)
      : name_(std::move(name)),
        timeout_(timeout),
        issued_(Clock::now()),
        keep_(std::move(keep)),
        rings_(rings) {}

  bool done() final {
    if (done_) return true;
    advance_all(rings_);
    return done_ = test();
  }

  void wait() final {
    for (int polls = 0; !done(); ++polls) {
      // Ranks may share a core: spinning without a yield would starve the rank that is waited for.
      if (polls > 100) sched_yield();
      const std::chrono::duration<double> waited = Clock::now() - issued_;
      if (waited.count() > timeout_)
        throw CommError("collective '" + name_ + "' did not finish within " + c10::str(timeout_) +
                        " s (comm.timeout_seconds): a rank is lost, frozen or far behind");
    }
  }

 protected:
  virtual bool test() = 0;
  // Destroying an unfinished request means that an exception ends the job. Waiting could block, but
  // MPI may still write into the buffers: they are leaked on purpose.
  template <class... More>
  void leak_if_unfinished(More... more) {
    using Buffers = std::tuple<std::vector<torch::Tensor>, More...>;
    if (!done_) static_cast<void>(new Buffers{std::move(keep_), std::move(more)...});
  }

 private:
  bool done_ = false;
  std::string name_;
  double timeout_;
  Clock::time_point issued_;
  std::vector<torch::Tensor> keep_;  // MPI uses their memory until the request is done
  const Rings& rings_;
};

class RequestWork final : public MpiWork {
 public:
  RequestWork(MPI_Request request, std::vector<Layout> layouts, std::string name, double timeout,
              std::vector<torch::Tensor> keep, const Rings& rings)
      : MpiWork(std::move(name), timeout, std::move(keep), rings),
        request_(request),
        layouts_(std::move(layouts)) {}
  ~RequestWork() override { leak_if_unfinished(std::move(layouts_)); }
  RequestWork(const RequestWork&) = delete;
  RequestWork& operator=(const RequestWork&) = delete;

 private:
  bool test() override {
    int done = 0;
    PF_MPI_CHECK(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
    return done != 0;
  }

  MPI_Request request_;
  std::vector<Layout> layouts_;  // MPI reads these arrays until the request is done
};

class RingWork final : public MpiWork {
 public:
  RingWork(const RingAllReduce::Sum& sum, std::string name, double timeout, torch::Tensor keep,
           Rings& rings)
      : MpiWork(std::move(name), timeout, {std::move(keep)}, rings), ring_(sum), rings_(rings) {
    rings_.push_back(&ring_);
  }
  ~RingWork() override {
    std::erase(rings_, &ring_);
    leak_if_unfinished(ring_.scratch());
  }
  RingWork(const RingWork&) = delete;
  RingWork& operator=(const RingWork&) = delete;

 private:
  bool test() override { return ring_.advance(); }

  RingAllReduce ring_;
  Rings& rings_;
};

// Note [Duplicates]
// MPI matches the collectives of a communicator by order alone. If a rank left one out or passed
// another size, it would receive the bytes of another call, or Open MPI would write past a buffer.
// So the name and the size that all ranks agree on select one of several duplicates of the
// communicator: calls that do not belong together almost never match, and the watchdog reports
// that they wait.
class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(double timeout) : timeout_(timeout) {
    for (Duplicate& duplicate : duplicates_) {
      PF_MPI_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &duplicate.comm));
      PF_MPI_CHECK(MPI_Comm_set_errhandler(duplicate.comm, MPI_ERRORS_RETURN));
    }
    PF_MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
    PF_MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &size_));
    PF_MPI_CHECK(MPI_Op_create(sum_bfloat16, /*commute=*/1, &bfloat16_sum_));
  }
  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized || std::uncaught_exceptions() > 0)
      return;  // MPI is gone, or the job is being aborted
    MPI_Op_free(&bfloat16_sum_);
    for (Duplicate& duplicate : duplicates_) MPI_Comm_free(&duplicate.comm);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override {
    check_tensor(tensor, name);
    const auto element = static_cast<int64_t>(tensor.element_size());
    Duplicate& duplicate = duplicate_for(name, tensor.numel());
    const MPI_Datatype type = mpi_type(tensor.scalar_type());
    if (size_ > 1 && tensor.numel() * element > size_ * kRingBytesPerRank)
      return std::make_unique<RingWork>(
          RingAllReduce::Sum{duplicate.comm, type, sum_of(tensor),
                             static_cast<char*>(tensor.data_ptr()), tensor.numel(), element,
                             next_tags(duplicate)},
          name, timeout_, tensor, rings_);
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), static_cast<int>(tensor.numel()),
                                type, sum_of(tensor), duplicate.comm, &request));
    return work(request, name, {tensor});
  }

  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    check_pair(output, input, name);
    check_gather_rows(output, input, counts, *this, name);
    std::vector<Layout> layout{{counts, output}};
    MPI_Request request = MPI_REQUEST_NULL;
    const MPI_Datatype type = mpi_type(input.scalar_type());
    PF_MPI_CHECK(MPI_Iallgatherv(input.data_ptr(), static_cast<int>(input.numel()), type,
                                 output.data_ptr(), layout[0].counts.data(),
                                 layout[0].offsets.data(), type,
                                 duplicate_for(name, output.numel()).comm, &request));
    return work(request, name, {output, input}, std::move(layout));
  }

  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override {
    check_pair(output, input, name);
    check_gather_rows(input, output, counts, *this, name);
    std::vector<Layout> layout{{counts, input}};
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ireduce_scatter(input.data_ptr(), output.data_ptr(), layout[0].counts.data(),
                                     mpi_type(input.scalar_type()), sum_of(input),
                                     duplicate_for(name, input.numel()).comm, &request));
    return work(request, name, {output, input}, std::move(layout));
  }

  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    check_pair(output, input, name);
    check_rows(input, send_counts, *this, name);
    check_rows(output, recv_counts, *this, name);
    std::vector<Layout> layout{{send_counts, input}, {recv_counts, output}};
    const MPI_Datatype type = mpi_type(input.scalar_type());
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ialltoallv(input.data_ptr(), layout[0].counts.data(), layout[0].offsets.data(),
                                type, output.data_ptr(), layout[1].counts.data(),
                                layout[1].offsets.data(), type, duplicate_for(name, 0).comm,
                                &request));
    return work(request, name, {output, input}, std::move(layout));
  }

  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    check_tensor(tensor, name);
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ibcast(tensor.data_ptr(), static_cast<int>(tensor.numel()),
                            mpi_type(tensor.scalar_type()), root,
                            duplicate_for(name, tensor.numel()).comm, &request));
    return work(request, name, {tensor});
  }

  void barrier(const std::string& name) override {
    MPI_Request request = MPI_REQUEST_NULL;
    PF_MPI_CHECK(MPI_Ibarrier(duplicate_for(name, 0).comm, &request));
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

  struct Duplicate {
    MPI_Comm comm = MPI_COMM_NULL;
    int next_tag = 0;
  };

  // `agreed`: elements, where all ranks have the same number; else 0.
  Duplicate& duplicate_for(const std::string& name, int64_t agreed) {
    const size_t hash = std::hash<std::string>()(name + '/' + std::to_string(agreed));
    return duplicates_[hash % duplicates_.size()];
  }

  // The first of the tags that a sum may use. They are reused long after the sum is complete.
  static int next_tags(Duplicate& duplicate) {
    return std::exchange(duplicate.next_tag,
                         (duplicate.next_tag + RingAllReduce::kTags) % kTagsPerDuplicate);
  }

  MPI_Op sum_of(const torch::Tensor& tensor) const {
    return tensor.scalar_type() == torch::kBFloat16 ? bfloat16_sum_ : MPI_SUM;
  }

  std::unique_ptr<Work> work(MPI_Request request, const std::string& name,
                             std::vector<torch::Tensor> keep, std::vector<Layout> layouts = {}) {
    return std::make_unique<RequestWork>(request, std::move(layouts), name, timeout_,
                                         std::move(keep), rings_);
  }

  std::array<Duplicate, 16> duplicates_;
  Rings rings_;
  MPI_Op bfloat16_sum_ = MPI_OP_NULL;
  int rank_ = 0;
  int size_ = 1;
  double timeout_;
};

}  // namespace

void plain_mpi_all_reduce(torch::Tensor tensor) {
  check_tensor(tensor, "plain all-reduce");
  PF_MPI_CHECK(MPI_Allreduce(MPI_IN_PLACE, tensor.data_ptr(), static_cast<int>(tensor.numel()),
                             MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
}

std::unique_ptr<Communicator> make_mpi_communicator(double timeout_seconds) {
  return std::make_unique<MpiCommunicator>(timeout_seconds);
}

}  // namespace pinnerformer
