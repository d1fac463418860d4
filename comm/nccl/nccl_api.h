// The NCCL functions that this program calls, as a table: tests replace them and check failures,
// hangs and the order of destruction without a GPU.
#pragma once
#include <nccl.h>

#include <functional>
#include <type_traits>

namespace pinnerformer {

struct NcclApi {
  template <auto* call>
  using Entry = std::function<std::remove_pointer_t<decltype(call)>>;

  Entry<& ncclGetUniqueId> get_unique_id = ncclGetUniqueId;
  Entry<& ncclCommInitRankConfig> init = ncclCommInitRankConfig;
  Entry<& ncclCommGetAsyncError> async_error = ncclCommGetAsyncError;
  Entry<& ncclCommFinalize> finalize = ncclCommFinalize;
  Entry<& ncclCommDestroy> destroy = ncclCommDestroy;
  Entry<& ncclCommAbort> abort = ncclCommAbort;
  Entry<& ncclGroupStart> group_start = ncclGroupStart;
  Entry<& ncclGroupEnd> group_end = ncclGroupEnd;
  Entry<& ncclAllReduce> all_reduce = ncclAllReduce;
  Entry<& ncclBroadcast> broadcast = ncclBroadcast;
  Entry<& ncclReduce> reduce = ncclReduce;
  Entry<& ncclAllGather> all_gather = ncclAllGather;
  Entry<& ncclReduceScatter> reduce_scatter = ncclReduceScatter;
  Entry<& ncclSend> send = ncclSend;
  Entry<& ncclRecv> receive = ncclRecv;
  Entry<& ncclGetErrorString> error_string = ncclGetErrorString;
  Entry<& ncclGetLastError> last_error = ncclGetLastError;
};

}  // namespace pinnerformer
