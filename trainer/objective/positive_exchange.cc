#include "trainer/objective/positive_exchange.h"

#include <algorithm>
#include <stdexcept>

#include "dataloader/base/errors.h"
#include "dataloader/sampling/epoch_plan.h"

namespace pinnerformer {
namespace {

constexpr int64_t kNone = -1;  // fills entries up to their width

// The first entry of a rank holds its faults: whether its loader failed, and users it skipped.
enum FaultField : size_t { kFailed, kSkippedUsers };

void write_faults(const TrainingBatch& batch, int64_t* entry) {
  entry[kFailed] = batch.failure ? 1 : 0;
  entry[kSkippedUsers] = batch.skipped_users;
}

void add_faults(std::span<const int64_t> entry, int rank, DataFaults& faults) {
  if (entry[kFailed] != 0 && faults.failed_rank < 0) faults.failed_rank = rank;
  if (entry[kSkippedUsers] > 0 && faults.skipping_rank < 0) faults.skipping_rank = rank;
  faults.skipped_users += entry[kSkippedUsers];
}

// An entry of a slot is the number of its pairs, then its positives, up to the first kNone.
void add_positives(std::span<const int64_t> entry, GlobalPositives& global) {
  global.pairs += entry[0];
  if (entry[0] == 0) return;
  ++global.users_with_pairs;
  for (size_t i = 1; i < entry.size() && entry[i] != kNone; ++i) global.item.push_back(entry[i]);
}

// int64 [1 + slots of the rank, width]: the faults, then each slot.
torch::Tensor entries_of(const TrainingBatch& batch, std::span<const Pair> pairs,
                         const std::vector<std::vector<int64_t>>& positives, int64_t width) {
  torch::Tensor entries = torch::full({1 + batch.slots, width}, kNone, torch::kInt64);
  auto* data = entries.data_ptr<int64_t>();
  entries.narrow(0, 1, batch.slots).select(1, 0).zero_();
  write_faults(batch, data);
  const auto entry_of = [&](size_t row) { return data + (1 + batch.slot[row]) * width; };
  for (const Pair& pair : pairs) ++entry_of(static_cast<size_t>(pair.row))[0];
  for (size_t row = 0; row < positives.size(); ++row)
    if (!positives[row].empty()) std::ranges::copy(positives[row], entry_of(row) + 1);
  return entries;
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
                                 int64_t max_positives, Communicator& control) {
  const int64_t width = 1 + max_positives;  // at least 2, which the faults need
  std::vector<int64_t> counts = slice_counts(batch.global_slots, control.size());
  for (int64_t& count : counts) ++count;  // the faults
  torch::Tensor all = torch::empty({batch.global_slots + control.size(), width}, torch::kInt64);
  control.all_gather(all, entries_of(batch, pairs, positives, width), counts, "positives")->wait();

  GlobalPositives global;
  const int64_t* data = all.const_data_ptr<int64_t>();
  const auto next_entry = [&] {
    const int64_t* entry = data;
    data += width;
    return std::span(entry, static_cast<size_t>(width));
  };
  for (int rank = 0; rank < control.size(); ++rank) {
    add_faults(next_entry(), rank, global.faults);
    for (int64_t slot = 1; slot < counts[static_cast<size_t>(rank)]; ++slot)
      add_positives(next_entry(), global);
  }
  return global;
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
