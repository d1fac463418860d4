// Checksums first: a flipped bit is named as such and not as a user out of order.
#include "dataloader/dataset_validate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "dataloader/checksum.h"
#include "dataloader/dataset.h"
#include "dataloader/dataset_format.h"
#include "dataloader/errors.h"
#include "dataloader/fingerprints.h"
#include "dataloader/h5_file.h"

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
    const auto start = static_cast<int64_t>(i) * kChecksumBlockBytes;
    throw DataError(file.path() + ": dataset " + dataset + ": bytes " + std::to_string(start) +
                    " to " + std::to_string(std::min(start + kChecksumBlockBytes, layout.bytes)) +
                    " do not match their checksum: the file is damaged; copy or import it again");
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
  const std::string computed = fingerprint_text(compute_fingerprint(path));
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

struct Limits {
  int64_t items;
  int64_t actions;
  int64_t surfaces;
};

// The first thing that is wrong with a timeline, or "".
std::string fault_of(const Timeline& timeline, const Limits& limits) {
  const auto at = [](const char* column, size_t event, const std::string& what) {
    return std::string(column) + ", event " + std::to_string(event) + " of this user: " + what;
  };
  for (size_t i = 0; i < timeline.item.size(); ++i) {
    if (timeline.item[i] < 0 || timeline.item[i] >= limits.items) {
      return at("/event/item", i, "no such item " + std::to_string(timeline.item[i]));
    }
    if (timeline.action[i] < 0 || timeline.action[i] >= limits.actions) {
      return at("/event/action", i, "no such action " + std::to_string(timeline.action[i]));
    }
    if (timeline.surface[i] < 0 || timeline.surface[i] >= limits.surfaces) {
      return at("/event/surface", i, "no such surface " + std::to_string(timeline.surface[i]));
    }
    if (i > 0 && timeline.time[i] < timeline.time[i - 1]) {
      return at("/event/time", i, "earlier than the event before it");
    }
    if (timeline.duration[i] < 0 || std::isinf(timeline.duration[i])) {
      return at("/event/duration", i, "expected 0 or more, or NaN");
    }
  }
  return "";
}

void check_users(const Dataset& dataset) {
  constexpr int64_t kUsersPerBlock = 1024;
  const Limits limits{dataset.items(), static_cast<int64_t>(dataset.actions().size()),
                      static_cast<int64_t>(dataset.surfaces().size())};
  int64_t first_time = std::numeric_limits<int64_t>::max();
  int64_t last_time = std::numeric_limits<int64_t>::min();
  for (int64_t first = 0; first < dataset.users(); first += kUsersPerBlock) {
    const int64_t count = std::min(kUsersPerBlock, dataset.users() - first);
    for (const Timeline& timeline : dataset.timelines(first, count)) {
      const std::string where = dataset.directory() + ": user " + dataset.user_id(timeline.user) +
                                " (row " + std::to_string(timeline.user) + ")";
      if (timeline.user > 0 &&
          dataset.user_hash(timeline.user) < dataset.user_hash(timeline.user - 1)) {
        throw DataError(where + ": /user/id: expected users in the order of their hash");
      }
      const std::string fault = fault_of(timeline, limits);
      if (!fault.empty()) throw DataError(where + ": dataset " + fault);
      if (timeline.size() == 0) continue;
      first_time = std::min(first_time, timeline.time.front());
      last_time = std::max(last_time, timeline.time.back());
    }
  }
  if (dataset.events() > 0 &&
      (first_time != dataset.first_time() || last_time != dataset.last_time())) {
    throw DataError(dataset.directory() + "/" + kItemsFile +
                    ": attributes first_time and last_time do not match the events");
  }
}

void check_vectors(const Dataset& dataset) {
  const torch::Tensor& vectors = dataset.item_vectors();
  if (!vectors.defined()) return;
  for (int64_t item = 0; item < vectors.size(0); ++item) {
    if (vectors[item].isfinite().all().item<bool>()) continue;
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
  check_vectors(dataset);
  return result;
}

}  // namespace pinnerformer
