#include "trainer/objective/positive_exchange.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

// What a rank tells the others of its part of a step.
enum CountField : size_t { kFlags, kSkippedUsers, kPairs, kUsersWithPairs, kItems, kCountFields };

// Bits of kFlags.
constexpr int64_t kLoaderFailed = 1, kStop = 2, kSaveFailed = 4;

int64_t flags_of(const TrainingBatch& batch, RankRequests requests) {
  return (batch.failure ? kLoaderFailed : 0) | (requests.stop ? kStop : 0) |
         (requests.save_failed ? kSaveFailed : 0);
}

void add_requests(int64_t flags, RankRequests& requests) {
  requests.stop = requests.stop || (flags & kStop) != 0;
  requests.save_failed = requests.save_failed || (flags & kSaveFailed) != 0;
}

void add_faults(std::span<const int64_t> counts, int rank, DataFaults& faults) {
  if ((counts[kFlags] & kLoaderFailed) != 0 && faults.failed_rank < 0) faults.failed_rank = rank;
  if (counts[kSkippedUsers] > 0 && faults.skipping_rank < 0) faults.skipping_rank = rank;
  faults.skipped_users += counts[kSkippedUsers];
}

// Users in the order of the rank's slice of the global batch.
std::vector<int64_t> in_order(const TrainingBatch& batch,
                              const std::vector<std::vector<int64_t>>& positives) {
  std::vector<size_t> rows(positives.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  std::ranges::sort(rows, {}, [&](size_t row) { return batch.slot[row]; });
  std::vector<int64_t> items;
  for (const size_t row : rows)
    items.insert(items.end(), positives[row].begin(), positives[row].end());
  return items;
}

int64_t count_rows(std::span<const Pair> pairs) {  // pairs are by row
  int64_t rows = 0, last = -1;
  for (const Pair& pair : pairs)
    if (std::exchange(last, pair.row) != pair.row) ++rows;
  return rows;
}

enum class ErrorKind : uint8_t { kData, kMissing, kIo, kOther };

// An error, or a note, in a form that can be sent to other ranks.
struct Message {
  ErrorKind kind = ErrorKind::kOther;
  std::string text;
};

Message message_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const DataError& error) {
    return {ErrorKind::kData, error.what()};
  } catch (const MissingInputError& error) {
    return {ErrorKind::kMissing, error.what()};
  } catch (const IoError& error) {
    return {ErrorKind::kIo, error.what()};
  } catch (const std::exception& error) {
    return {ErrorKind::kOther, error.what()};
  }
}

[[noreturn]] void throw_message(const Message& message) {
  switch (message.kind) {
    case ErrorKind::kData:
      throw DataError(message.text);
    case ErrorKind::kMissing:
      throw MissingInputError(message.text);
    case ErrorKind::kIo:
      throw IoError(message.text);
    case ErrorKind::kOther:
      throw std::runtime_error(message.text);
  }
  throw std::logic_error("unknown kind of error");
}

// The message of `sender` on every rank.
Message broadcast_message(const Message& mine, int sender, Communicator& control) {
  constexpr size_t kLongest = 4000;
  torch::Tensor bytes = torch::zeros({2 + static_cast<int64_t>(kLongest)}, torch::kUInt8);
  auto* data = bytes.data_ptr<uint8_t>();
  if (control.rank() == sender) {
    data[0] = static_cast<uint8_t>(mine.kind);
    std::copy_n(mine.text.begin(), std::min(mine.text.size(), kLongest), data + 1);
  }
  control.broadcast(bytes, sender, "error of a loader")->wait();
  return {static_cast<ErrorKind>(data[0]), reinterpret_cast<const char*>(data + 1)};
}

}  // namespace

GlobalPositives gather_positives(const TrainingBatch& batch, std::span<const Pair> pairs,
                                 const std::vector<std::vector<int64_t>>& positives,
                                 Communicator& control, RankRequests requests) {
  GlobalPositives global;
  global.item = in_order(batch, positives);
  const torch::Tensor mine =
      torch::tensor({flags_of(batch, requests), batch.skipped_users, std::ssize(pairs),
                     count_rows(pairs), std::ssize(global.item)},
                    torch::kInt64)
          .unsqueeze(0);
  torch::Tensor all = torch::empty({control.size(), int64_t{kCountFields}}, torch::kInt64);
  const std::vector<int64_t> one_each(static_cast<size_t>(control.size()), 1);
  control.all_gather(all, mine, one_each, "positives")->wait();
  const int64_t* counts = all.const_data_ptr<int64_t>();
  for (int rank = 0; rank < control.size(); ++rank, counts += kCountFields) {
    add_requests(counts[kFlags], global.requests);
    add_faults({counts, kCountFields}, rank, global.faults);
    global.pairs += counts[kPairs];
    global.users_with_pairs += counts[kUsersWithPairs];
    global.of_rank.push_back(counts[kItems]);
  }
  return global;
}

torch::Tensor fetch_positives(const GlobalPositives& global, std::span<const int64_t> places,
                              Communicator& control) {
  const std::vector<int64_t> alone = {std::ssize(global.item)};
  const std::vector<int64_t>& of_rank = global.of_rank.empty() ? alone : global.of_rank;
  std::vector<int64_t> owned, own;
  int64_t first = 0;
  auto place = places.begin();
  for (int rank = 0; rank < control.size(); ++rank) {
    const auto begin = place;
    const int64_t end = first + of_rank[static_cast<size_t>(rank)];
    for (; place != places.end() && *place < end; ++place)
      if (rank == control.rank()) own.push_back(global.item[static_cast<size_t>(*place - first)]);
    owned.push_back(place - begin);
    first = end;
  }
  const torch::Tensor mine = torch::tensor(own, torch::kInt64);
  if (control.size() == 1) return mine;
  torch::Tensor items = torch::empty({std::ssize(places)}, torch::kInt64);
  control.all_gather(items, mine, owned, "in-batch columns")->wait();
  return items;
}

std::string share_faults(const DataFaults& faults, const TrainingBatch& batch,
                         Communicator& control) {
  const auto prefix = [&](int rank) {
    return control.size() > 1 ? "rank " + std::to_string(rank) + ": " : "";
  };
  if (faults.failed_rank >= 0) {
    const Message mine = batch.failure ? message_of(batch.failure) : Message{};
    Message message = broadcast_message(mine, faults.failed_rank, control);
    message.text = prefix(faults.failed_rank) + message.text;
    throw_message(message);
  }
  if (faults.skipping_rank < 0) return "";
  const Message first =
      broadcast_message({ErrorKind::kOther, batch.skipped_because}, faults.skipping_rank, control);
  return "skipped " + std::to_string(faults.skipped_users) +
         " users of bad blocks; the first: " + prefix(faults.skipping_rank) + first.text;
}

}  // namespace pinnerformer
