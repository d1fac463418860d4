#include "trainer/objective/data_faults.h"

#include <algorithm>
#include <stdexcept>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

enum class Kind : uint8_t { kData, kMissing, kIo, kOther };

struct Told {
  Kind kind = Kind::kOther;
  std::string text;
};

Told describe(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const DataError& error) {
    return {Kind::kData, error.what()};
  } catch (const MissingInputError& error) {
    return {Kind::kMissing, error.what()};
  } catch (const IoError& error) {
    return {Kind::kIo, error.what()};
  } catch (const std::exception& error) {
    return {Kind::kOther, error.what()};
  }
}

[[noreturn]] void throw_told(const Told& told) {
  switch (told.kind) {
    case Kind::kData:
      throw DataError(told.text);
    case Kind::kMissing:
      throw MissingInputError(told.text);
    case Kind::kIo:
      throw IoError(told.text);
    case Kind::kOther:
      throw std::runtime_error(told.text);
  }
  throw std::logic_error("unknown kind of failure");
}

// Root's kind and text on every rank.
Told share(const Told& mine, int root, Communicator& control) {
  constexpr size_t kLongest = 4000;
  torch::Tensor bytes = torch::zeros({2 + static_cast<int64_t>(kLongest)}, torch::kUInt8);
  auto* data = bytes.data_ptr<uint8_t>();
  if (control.rank() == root) {
    data[0] = static_cast<uint8_t>(mine.kind);
    std::copy_n(mine.text.begin(), std::min(mine.text.size(), kLongest), data + 1);
  }
  control.broadcast(bytes, root, "what a loader met")->wait();
  return {static_cast<Kind>(data[0]), reinterpret_cast<const char*>(data + 1)};
}

}  // namespace

void write_faults(const TrainingBatch& batch, std::span<int64_t, kFaultNumbers> entry) {
  entry[0] = batch.failure ? 1 : 0;
  entry[1] = batch.skipped_users;
}

void add_faults(DataFaults& faults, int rank, std::span<const int64_t, kFaultNumbers> entry) {
  if (entry[0] != 0 && faults.failed_rank < 0) faults.failed_rank = rank;
  if (entry[1] > 0 && faults.skipping_rank < 0) faults.skipping_rank = rank;
  faults.skipped_users += entry[1];
}

std::string settle_faults(const DataFaults& faults, const TrainingBatch& batch,
                          Communicator& control) {
  const auto from = [&](int rank) {
    return control.size() > 1 ? "rank " + std::to_string(rank) + ": " : "";
  };
  if (faults.failed_rank >= 0) {
    const Told mine = batch.failure ? describe(batch.failure) : Told{};
    Told told = share(mine, faults.failed_rank, control);
    told.text = from(faults.failed_rank) + told.text;
    throw_told(told);
  }
  if (faults.skipping_rank < 0) return "";
  const Told told = share({Kind::kOther, batch.skipped_because}, faults.skipping_rank, control);
  return "skipped " + std::to_string(faults.skipped_users) +
         " users of bad blocks; the first: " + from(faults.skipping_rank) + told.text;
}

}  // namespace pinnerformer
