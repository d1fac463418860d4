#include "comm/watchdog/watched_communicator.h"

#include <ATen/record_function.h>

#include <utility>

namespace pinnerformer {
namespace {

// Runs `call`, during which this thread waits for the collective.
template <class Call>
decltype(auto) waiting(Watchdog& watchdog, int64_t number, const std::string& name, Call&& call) {
  RECORD_USER_SCOPE("collective: " + name);  // for `train --profile`
  const Watchdog::Wait wait(watchdog, number, name);
  try {
    return std::forward<Call>(call)();
  } catch (const CommError& error) {
    const std::string report = watchdog.describe(number, name) + ": " + error.what() + "; " +
                               watchdog.explain(number, name);
    // After a failure MPI may still write into buffers that unwinding the stack would free.
    watchdog.fail(report);
    throw CommError(report);
  }
}

class WatchedWork : public Work {
 public:
  WatchedWork(std::shared_ptr<Work> inner, Watchdog& watchdog, int64_t number, std::string name)
      : inner_(std::move(inner)), watchdog_(watchdog), number_(number), name_(std::move(name)) {}
  bool done() override { return inner_->done(); }
  void wait() override {
    waiting(watchdog_, number_, name_, [&] { inner_->wait(); });
  }

 private:
  std::shared_ptr<Work> inner_;
  Watchdog& watchdog_;
  int64_t number_;
  std::string name_;
};

uint64_t rows_of(const torch::Tensor& tensor) { return static_cast<uint64_t>(tensor.size(0)); }

}  // namespace

template <class Call>
std::unique_ptr<Work> WatchedCommunicator::issue(const torch::Tensor& tensor, uint64_t agreed,
                                                 const std::string& name, Call call) {
  const int64_t number = watchdog_.begin(name, agreed);
  std::shared_ptr<Work> work = waiting(watchdog_, number, name, call);
  if (!tensor.is_cpu()) watchdog_.track(number, name, work);
  return std::make_unique<WatchedWork>(std::move(work), watchdog_, number, name);
}

std::unique_ptr<Work> WatchedCommunicator::all_reduce(torch::Tensor tensor,
                                                      const std::string& name) {
  return issue(tensor, tensor.nbytes(), name, [&] { return inner_.all_reduce(tensor, name); });
}

std::unique_ptr<Work> WatchedCommunicator::all_gather(torch::Tensor output, torch::Tensor input,
                                                      const std::vector<int64_t>& counts,
                                                      const std::string& name) {
  return issue(output, rows_of(output), name,
               [&] { return inner_.all_gather(output, input, counts, name); });
}

std::unique_ptr<Work> WatchedCommunicator::reduce_scatter(torch::Tensor output, torch::Tensor input,
                                                          const std::vector<int64_t>& counts,
                                                          const std::string& name) {
  return issue(input, rows_of(input), name,
               [&] { return inner_.reduce_scatter(output, input, counts, name); });
}

std::unique_ptr<Work> WatchedCommunicator::all_to_all(torch::Tensor output, torch::Tensor input,
                                                      const std::vector<int64_t>& recv_counts,
                                                      const std::vector<int64_t>& send_counts,
                                                      const std::string& name) {
  return issue(output, /*agreed=*/0, name,
               [&] { return inner_.all_to_all(output, input, recv_counts, send_counts, name); });
}

std::unique_ptr<Work> WatchedCommunicator::broadcast(torch::Tensor tensor, int root,
                                                     const std::string& name) {
  return issue(tensor, tensor.nbytes(), name, [&] { return inner_.broadcast(tensor, root, name); });
}

void WatchedCommunicator::barrier(const std::string& name) {
  waiting(watchdog_, watchdog_.begin(name), name, [&] { inner_.barrier(name); });
}

}  // namespace pinnerformer
