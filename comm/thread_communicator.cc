#include "comm/thread_communicator.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <utility>

#include "comm/row_checks.h"

namespace pinnerformer {
namespace {

// State shared by all threads: the tensor that each offers to the current collective, and a barrier
// with a deadline.
class Meeting {
 public:
  Meeting(int size, double timeout) : offers_(static_cast<size_t>(size)), timeout_(timeout) {}

  struct Offer {
    torch::Tensor tensor;
    std::vector<int64_t> counts;  // rows for each rank, where the collective has them
    std::string name;
  };

  // Publishes the offer of this rank and returns when all ranks have published theirs.
  const std::vector<Offer>& meet(int rank, Offer mine) {
    {
      const std::lock_guard lock(mutex_);
      offers_[static_cast<size_t>(rank)] = std::move(mine);
    }
    arrive(offers_[static_cast<size_t>(rank)].name);
    for (const Offer& other : offers_)
      TORCH_CHECK(other.name == offers_[static_cast<size_t>(rank)].name,
                  "collectives in different order: rank ", rank, " is in '",
                  offers_[static_cast<size_t>(rank)].name, "', another rank in '", other.name, "'");
    return offers_;
  }

  // Returns when all ranks have read the offers, which may change afterwards.
  void finish(const std::string& name) { arrive(name); }

 private:
  void arrive(const std::string& name) {
    std::unique_lock lock(mutex_);
    const int64_t round = round_;
    if (++arrived_ == static_cast<int64_t>(offers_.size())) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    const auto limit = std::chrono::duration<double>(timeout_);
    if (!changed_.wait_for(lock, limit, [&] { return round_ != round; }))
      throw CommError("collective '" + name + "' did not finish within " +
                      std::to_string(timeout_) +
                      " s: " + std::to_string(static_cast<int64_t>(offers_.size()) - arrived_) +
                      " rank(s) never joined");
  }

  std::vector<Offer> offers_;
  double timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t arrived_ = 0;
  int64_t round_ = 0;
};

struct Finished : Work {
  void wait() override {}
  bool done() override { return true; }
};

// First row that belongs to `rank`.
int64_t rows_before(const std::vector<int64_t>& counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
}

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Meeting> meeting, int rank, int size)
      : meeting_(std::move(meeting)), rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override {
    return exchange(name, tensor.clone(), {}, [&](const auto& offers) {
      torch::Tensor sum = offers[0].tensor.clone();
      for (size_t r = 1; r < offers.size(); ++r) sum.add_(offers[r].tensor);
      tensor.copy_(sum);
    });
  }

  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    check_gather_rows(output, input, counts, *this, name);
    return exchange(name, input, counts, [&](const auto& offers) {
      for (int r = 0; r < size_; ++r)
        output.narrow(0, rows_before(counts, r), counts[static_cast<size_t>(r)])
            .copy_(offers[static_cast<size_t>(r)].tensor);
    });
  }

  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override {
    check_gather_rows(input, output, counts, *this, name);
    return exchange(name, input, counts, [&](const auto& offers) {
      const int64_t first = rows_before(counts, rank_);
      const int64_t rows = counts[static_cast<size_t>(rank_)];
      torch::Tensor sum = offers[0].tensor.narrow(0, first, rows).clone();
      for (size_t r = 1; r < offers.size(); ++r) sum.add_(offers[r].tensor.narrow(0, first, rows));
      output.copy_(sum);
    });
  }

  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    check_rows(input, send_counts, *this, name);
    check_rows(output, recv_counts, *this, name);
    return exchange(name, input, send_counts, [&](const auto& offers) {
      for (int r = 0; r < size_; ++r) {
        const auto& from = offers[static_cast<size_t>(r)];
        const int64_t rows = recv_counts[static_cast<size_t>(r)];
        TORCH_CHECK(from.counts[static_cast<size_t>(rank_)] == rows, name, ": rank ", r, " sends ",
                    from.counts[static_cast<size_t>(rank_)], " rows, rank ", rank_, " expects ",
                    rows);
        output.narrow(0, rows_before(recv_counts, r), rows)
            .copy_(from.tensor.narrow(0, rows_before(from.counts, rank_), rows));
      }
    });
  }

  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    return exchange(name, tensor, {}, [&](const auto& offers) {
      if (rank_ != root) tensor.copy_(offers[static_cast<size_t>(root)].tensor);
    });
  }

  void barrier(const std::string& name) override {
    exchange(name, {}, {}, [](const auto&) {});
  }

 private:
  template <class Read>
  std::unique_ptr<Work> exchange(const std::string& name, torch::Tensor offer,
                                 std::vector<int64_t> counts, Read read) {
    const torch::NoGradGuard no_grad;
    read(meeting_->meet(rank_, {std::move(offer), std::move(counts), name}));
    meeting_->finish(name);
    return std::make_unique<Finished>();
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
  int size_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size,
                                                                     double timeout_seconds) {
  TORCH_CHECK(size >= 1, "a communicator has at least one rank, not ", size);
  const auto meeting = std::make_shared<Meeting>(size, timeout_seconds);
  std::vector<std::unique_ptr<Communicator>> world;
  for (int rank = 0; rank < size; ++rank)
    world.push_back(std::make_unique<ThreadCommunicator>(meeting, rank, size));
  return world;
}

std::unique_ptr<Communicator> make_single_communicator() {
  return std::move(make_thread_communicators(1, /*timeout_seconds=*/1).front());
}

}  // namespace pinnerformer
