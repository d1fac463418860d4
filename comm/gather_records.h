// Collects plain records from all ranks.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// The records of all ranks in rank order, on every rank. Collective. They are sent as their bytes,
// so that no double is rounded.
template <class Record>
[[nodiscard]] std::vector<Record> gather_records(const std::vector<Record>& own, Communicator& comm,
                                                 const std::string& name) {
  static_assert(std::is_trivially_copyable_v<Record>);
  static_assert(sizeof(Record) % sizeof(int64_t) == 0);
  constexpr int64_t kWords = sizeof(Record) / sizeof(int64_t);
  torch::Tensor counts = torch::zeros({comm.size()}, torch::kInt64);
  counts[comm.rank()] = static_cast<int64_t>(own.size());
  comm.all_reduce(counts, name + " counts")->wait();
  const int64_t* count = counts.const_data_ptr<int64_t>();
  const std::vector<int64_t> rows(count, count + comm.size());
  torch::Tensor words = torch::empty({std::ssize(own), kWords}, torch::kInt64);
  if (!own.empty()) std::memcpy(words.mutable_data_ptr(), own.data(), own.size() * sizeof(Record));
  torch::Tensor all =
      torch::empty({std::accumulate(rows.begin(), rows.end(), int64_t{0}), kWords}, torch::kInt64);
  comm.all_gather(all, words, rows, name)->wait();
  std::vector<Record> records(static_cast<size_t>(all.size(0)));
  if (!records.empty())
    std::memcpy(records.data(), all.const_data_ptr(), records.size() * sizeof(Record));
  return records;
}

}  // namespace pinnerformer
