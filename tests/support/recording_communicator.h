// A communicator that passes every call on and reports "start NAME" when it is made and "done NAME"
// when its result has been waited for.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

class RecordingCommunicator : public Communicator {
 public:
  using Listener = std::function<void(const std::string& event)>;

  RecordingCommunicator(Communicator& inner, Listener listener)
      : inner_(inner), listener_(std::move(listener)) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, const std::string& name) override {
    listener_("start " + name);
    return wrap(inner_.all_reduce(std::move(tensor), name), name);
  }
  std::unique_ptr<Work> all_gather(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& counts,
                                   const std::string& name) override {
    listener_("start " + name);
    return wrap(inner_.all_gather(std::move(output), std::move(input), counts, name), name);
  }
  std::unique_ptr<Work> reduce_scatter(torch::Tensor output, torch::Tensor input,
                                       const std::vector<int64_t>& counts,
                                       const std::string& name) override {
    listener_("start " + name);
    return wrap(inner_.reduce_scatter(std::move(output), std::move(input), counts, name), name);
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor output, torch::Tensor input,
                                   const std::vector<int64_t>& recv_counts,
                                   const std::vector<int64_t>& send_counts,
                                   const std::string& name) override {
    listener_("start " + name);
    return wrap(
        inner_.all_to_all(std::move(output), std::move(input), recv_counts, send_counts, name),
        name);
  }
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root,
                                  const std::string& name) override {
    listener_("start " + name);
    return wrap(inner_.broadcast(std::move(tensor), root, name), name);
  }
  void barrier(const std::string& name) override {
    listener_("start " + name);
    inner_.barrier(name);
  }

 private:
  struct Wrapped : Work {
    std::unique_ptr<Work> inner;
    Listener listener;
    std::string name;
    void wait() override {
      inner->wait();
      listener("done " + name);
    }
    bool done() override { return inner->done(); }
  };
  std::unique_ptr<Work> wrap(std::unique_ptr<Work> inner, const std::string& name) {
    auto work = std::make_unique<Wrapped>();
    work->inner = std::move(inner);
    work->listener = listener_;
    work->name = name;
    return work;
  }

  Communicator& inner_;
  Listener listener_;
};

}  // namespace pinnerformer
