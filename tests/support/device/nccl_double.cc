#include "tests/support/device/nccl_double.h"

#include <torch/types.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/device/device_memory.h"
#include "tests/support/device/device_streams.h"

namespace pinnerformer::device_double {
namespace {

torch::ScalarType scalar_type(ncclDataType_t type) {
  switch (type) {
    case ncclFloat32:
      return torch::kFloat32;
    case ncclBfloat16:
      return torch::kBFloat16;
    case ncclInt32:
      return torch::kInt32;
    case ncclInt64:
      return torch::kInt64;
    default:
      throw std::runtime_error("a type that the program does not send");
  }
}

// Elements in the memory of a device.
struct Span {
  void* data = nullptr;
  int64_t count = 0;
  ncclDataType_t type = ncclFloat32;

  [[nodiscard]] torch::Tensor tensor() const {
    void* bytes = count == 0 ? nullptr : DeviceMemory::instance().for_kernels(data);
    return torch::from_blob(bytes, {count}, scalar_type(type));
  }
};

// What one rank passed to a collective. `in` and `out` are by peer in an exchange of send and
// receive, else one span with the key 0.
struct Post {
  std::string name;
  int root = 0;
  int stream = 0;
  std::map<int, Span> in, out;
};

using Results = std::vector<std::map<int, torch::Tensor>>;  // by rank, as Post::out

torch::Tensor sum_of(const std::vector<Post>& posts) {
  torch::Tensor sum = posts[0].in.at(0).tensor().clone();
  for (size_t rank = 1; rank < posts.size(); ++rank) sum += posts[rank].in.at(0).tensor();
  return sum;
}

torch::Tensor all_of(const std::vector<Post>& posts) {
  std::vector<torch::Tensor> parts;
  for (const Post& post : posts) parts.push_back(post.in.at(0).tensor());
  return torch::cat(parts);
}

Results results_of(const std::vector<Post>& posts) {
  const std::string& name = posts[0].name;
  const auto root = static_cast<size_t>(posts[0].root);
  Results results(posts.size());
  for (size_t rank = 0; rank < posts.size(); ++rank) {
    auto& mine = results[rank];
    if (name == "all_reduce" || (name == "reduce" && rank == root)) mine[0] = sum_of(posts);
    if (name == "broadcast") mine[0] = posts[root].in.at(0).tensor().clone();
    if (name == "all_gather") mine[0] = all_of(posts);
    if (name == "reduce_scatter")
      mine[0] = sum_of(posts).chunk(static_cast<int64_t>(posts.size()))[rank];
    if (name == "exchange")
      for (const auto& [peer, span] : posts[rank].out)
        mine[peer] =
            posts[static_cast<size_t>(peer)].in.at(static_cast<int>(rank)).tensor().clone();
  }
  return results;
}

}  // namespace

class NcclDouble::World : public std::enable_shared_from_this<NcclDouble::World> {
 public:
  explicit World(int ranks) : next_(static_cast<size_t>(ranks), 0), groups_(next_.size()) {}

  [[nodiscard]] int size() const { return static_cast<int>(next_.size()); }

  void begin_group(int rank) { groups_[index(rank)].emplace(); }
  void end_group(int rank) {
    std::optional<Post> exchange = std::exchange(groups_[index(rank)], std::nullopt);
    if (exchange && !exchange->name.empty()) post(rank, *exchange);
  }
  void add_send(int rank, int peer, Span span, int stream) {
    exchange_of(rank, stream).in[peer] = span;
  }
  void add_receive(int rank, int peer, Span span, int stream) {
    exchange_of(rank, stream).out[peer] = span;
  }

  void post(int rank, const Post& post) {
    for (const auto& [peer, span] : post.in) touch(span, /*write=*/false, post);
    for (const auto& [peer, span] : post.out) touch(span, /*write=*/true, post);
    size_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = next_[index(rank)]++;
      if (calls_.size() <= number) calls_.resize(number + 1);
      calls_[number].posts[rank] = post;
    }
    arrived_.notify_all();
    DeviceStreams::instance().enqueue(
        post.stream, [self = shared_from_this(), rank, number] { self->deliver(rank, number); });
  }

 private:
  struct Call {
    std::map<int, Post> posts;
    std::optional<Results> results;
  };

  static size_t index(int rank) { return static_cast<size_t>(rank); }

  static void touch(const Span& span, bool write, const Post& post) {
    if (span.count == 0) return;
    DeviceStreams::instance().access(DeviceMemory::instance().start_of(span.data), write,
                                     post.stream, post.name);
  }

  Post& exchange_of(int rank, int stream) {
    Post& post = groups_[index(rank)].value();
    post.name = "exchange";
    post.stream = stream;
    return post;
  }

  void deliver(int rank, size_t number) {
    constexpr auto kPatience = std::chrono::seconds(60);
    std::unique_lock lock(mutex_);
    const bool complete = arrived_.wait_for(
        lock, kPatience, [&] { return calls_[number].posts.size() == next_.size(); });
    if (!complete) throw std::runtime_error("a rank never joined a collective");
    Call& call = calls_[number];
    if (!call.results) {
      std::vector<Post> posts;
      for (const auto& [poster, post] : call.posts) {
        if (post.name != call.posts.at(0).name)
          throw std::runtime_error("ranks are in different collectives");
        posts.push_back(post);
      }
      call.results = results_of(posts);
    }
    for (const auto& [peer, result] : (*call.results)[index(rank)])
      if (result.numel() > 0) call.posts.at(rank).out.at(peer).tensor().copy_(result);
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<size_t> next_;                 // number of each rank's next call
  std::vector<std::optional<Post>> groups_;  // of each rank, while a group is open
  std::deque<Call> calls_;
};

NcclDouble::NcclDouble(int ranks) : world_(std::make_shared<World>(ranks)) {}

NcclApi NcclDouble::api(int rank) const {
  const auto world = world_;
  const auto span = [](const void* data, size_t count, ncclDataType_t type) {
    return Span{const_cast<void*>(data), static_cast<int64_t>(count), type};
  };
  const auto number = [](cudaStream_t stream) {
    return static_cast<int>(reinterpret_cast<intptr_t>(stream));
  };
  const auto post = [=](const char* name, Span in, Span out, int root, cudaStream_t stream) {
    world->post(rank, {name, root, number(stream), {{0, in}}, {{0, out}}});
    return ncclSuccess;
  };
  const auto fine = [](ncclComm_t) { return ncclSuccess; };
  NcclApi api;
  api.get_unique_id = [](ncclUniqueId* id) {
    std::memset(id, 0, sizeof *id);
    return ncclSuccess;
  };
  api.init = [world](ncclComm_t* comm, int, ncclUniqueId, int, ncclConfig_t*) {
    *comm = reinterpret_cast<ncclComm_t>(world.get());
    return ncclSuccess;
  };
  api.async_error = [](ncclComm_t, ncclResult_t* state) {
    *state = ncclSuccess;
    return ncclSuccess;
  };
  api.finalize = api.destroy = api.abort = fine;
  api.group_start = [=] {
    world->begin_group(rank);
    return ncclSuccess;
  };
  api.group_end = [=] {
    world->end_group(rank);
    return ncclSuccess;
  };
  api.all_reduce = [=](const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t,
                       ncclComm_t, cudaStream_t stream) {
    return post("all_reduce", span(in, count, type), span(out, count, type), 0, stream);
  };
  api.broadcast = [=](const void* in, void* out, size_t count, ncclDataType_t type, int root,
                      ncclComm_t, cudaStream_t stream) {
    return post("broadcast", span(in, rank == root ? count : 0, type), span(out, count, type), root,
                stream);
  };
  api.reduce = [=](const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t,
                   int root, ncclComm_t, cudaStream_t stream) {
    return post("reduce", span(in, count, type), span(out, rank == root ? count : 0, type), root,
                stream);
  };
  const auto ranks = static_cast<size_t>(world->size());
  api.all_gather = [=](const void* in, void* out, size_t count, ncclDataType_t type, ncclComm_t,
                       cudaStream_t stream) {
    return post("all_gather", span(in, count, type), span(out, count * ranks, type), 0, stream);
  };
  api.reduce_scatter = [=](const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t, ncclComm_t, cudaStream_t stream) {
    return post("reduce_scatter", span(in, count * ranks, type), span(out, count, type), 0, stream);
  };
  api.send = [=](const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t,
                 cudaStream_t stream) {
    world->add_send(rank, peer, span(data, count, type), number(stream));
    return ncclSuccess;
  };
  api.receive = [=](void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t,
                    cudaStream_t stream) {
    world->add_receive(rank, peer, span(data, count, type), number(stream));
    return ncclSuccess;
  };
  return api;
}

}  // namespace pinnerformer::device_double
