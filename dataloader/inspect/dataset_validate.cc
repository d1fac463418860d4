// Checksums first: a flipped bit is named as such and not as a user out of order.
#include "dataloader/inspect/dataset_validate.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/fingerprints.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {
namespace {

// Compares one numeric dataset with its checksums; returns its bytes.
int64_t check_sums(const H5File& file, const File& raw, const std::string& dataset) {
  const ArrayLayout found = file.describe(dataset);
  const ArrayLayout layout = file.layout(dataset, {found.type}, found.shape.size());
  const std::vector<uint64_t> expected = file.read_words(checksum_name(dataset));
  const std::vector<uint64_t> actual = block_checksums(raw, layout.offset, layout.bytes);
  if (expected.size() != actual.size()) {
    throw DataError(file.path() + ": dataset " + checksum_name(dataset) + ": expected " +
                    std::to_string(actual.size()) + " blocks, found " +
                    std::to_string(expected.size()));
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == expected[i]) continue;
    const int64_t row_bytes = layout.bytes / layout.shape[0];
    const int64_t start = static_cast<int64_t>(i) * kChecksumBlockBytes;
    const int64_t end = std::min(start + kChecksumBlockBytes, layout.bytes);
    throw damaged_rows(file.path(), dataset, start / row_bytes, (end + row_bytes - 1) / row_bytes);
  }
  return layout.bytes;
}

// Checksums of all columns, then the fingerprint, which covers the strings too.
int64_t check_file(const std::string& path, const std::vector<std::string>& columns,
                   uint64_t (*compute_fingerprint)(const std::string&)) {
  const H5File file = H5File::open(path);
  const File raw = File::open(path);
  int64_t bytes = 0;
  for (const std::string& column : columns) {
    if (file.has(column) && !file.holds_strings(column)) bytes += check_sums(file, raw, column);
  }
  const std::string stored = file.text_attribute("fingerprint");
  const std::string computed = hash_text(compute_fingerprint(path));
  if (stored != computed) {
    throw DataError(path + ": attribute 'fingerprint': expected " + computed + ", found " + stored +
                    ": ids, names or shapes were changed; copy or import the dataset again");
  }
  return bytes;
}

void check_items(const Dataset& dataset) {
  for (int64_t item = 0; item < dataset.items(); ++item) {
    if (dataset.find_item(dataset.item_id(item)) == item) continue;
    throw DataError(dataset.directory() + "/" + kItemsFile + ": dataset /item/id, row " +
                    std::to_string(item) + ": expected ascending ids, found " +
                    dataset.item_id(item));
  }
}

// Integers of one hash are equal, so that their order as text does not matter.
void check_order(const Dataset& dataset, int64_t user) {
  if (user == 0) return;
  const uint64_t before = dataset.user_hash(user - 1), hash = dataset.user_hash(user);
  if (before < hash) return;
  if (before == hash && dataset.user_id(user - 1) < dataset.user_id(user)) return;
  throw DataError(dataset.place_of(user) +
                  ": dataset /user/id: expected users in the order of their (hash, id), each once, "
                  "found it after user " +
                  dataset.user_id(user - 1));
}

void check_users(const Dataset& dataset) {
  constexpr int64_t kUsersPerBlock = 1024;
  int64_t first_time = std::numeric_limits<int64_t>::max();
  int64_t last_time = std::numeric_limits<int64_t>::min();
  for (int64_t first = 0; first < dataset.users(); first += kUsersPerBlock) {
    const int64_t count = std::min(kUsersPerBlock, dataset.users() - first);
    for (const Timeline& timeline : dataset.timelines(first, count)) {
      check_order(dataset, timeline.user);
      dataset.check(timeline);
      if (timeline.size() == 0) continue;
      first_time = std::min(first_time, timeline.time.front());
      last_time = std::max(last_time, timeline.time.back());
    }
  }
  if (dataset.events() > 0 &&
      (first_time != dataset.first_time() || last_time != dataset.last_time())) {
    throw DataError(dataset.directory() + "/" + kItemsFile +
                    ": attributes first_time and last_time: expected " +
                    std::to_string(first_time) + " and " + std::to_string(last_time) +
                    ", as the events have, found " + std::to_string(dataset.first_time()) +
                    " and " + std::to_string(dataset.last_time()));
  }
}

void check_item_vectors(const Dataset& dataset) {
  constexpr int64_t kRowsPerBlock = 8192;
  const torch::Tensor& vectors = dataset.item_vectors();
  if (!vectors.defined()) return;
  for (int64_t first = 0; first < vectors.size(0); first += kRowsPerBlock) {
    const int64_t count = std::min(kRowsPerBlock, vectors.size(0) - first);
    const torch::Tensor good = vectors.narrow(0, first, count).isfinite().all(1);
    if (good.all().item<bool>()) continue;
    const int64_t item = first + good.logical_not().nonzero()[0].item<int64_t>();
    throw DataError(dataset.directory() + "/" + kItemsFile + ": dataset /item/vector, row " +
                    std::to_string(item) + " (item " + dataset.item_id(item) +
                    "): expected finite numbers");
  }
}

}  // namespace

ValidatedDataset validate_dataset(const std::string& directory) {
  const Dataset dataset = Dataset::open(directory);
  ValidatedDataset result{dataset.users(), dataset.events(), dataset.items(), 0,
                          dataset.fingerprint()};
  const std::string items = directory + "/" + kItemsFile;
  result.bytes = check_file(items, items_file_columns(), items_file_fingerprint);
  const int64_t parts = H5File::open(items).describe("/part/users").shape[0];
  for (int64_t i = 0; i < parts; ++i) {
    result.bytes += check_file(directory + "/" + part_file_name(i, parts), users_file_columns(),
                               users_file_fingerprint);
  }
  check_items(dataset);
  check_users(dataset);
  check_item_vectors(dataset);
  return result;
}

}  // namespace pinnerformer
