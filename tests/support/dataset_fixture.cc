// Groups rows by user in the order of the format and hands them to DatasetWriter.
#include "tests/support/dataset_fixture.h"

#include <torch/types.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>
#include <tuple>

#include "dataloader/base/checksum.h"
#include "dataloader/dataset/dataset_writer.h"

namespace pinnerformer {
namespace {

int16_t index_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<int16_t>(std::lower_bound(names.begin(), names.end(), name) - names.begin());
}

ItemColumns make_items(const FixtureItems& items, int64_t count) {
  ItemColumns table;
  for (int64_t i = 0; i < count; ++i) table.ids.push_back(i);
  table.titles = items.titles;
  table.topics = items.topics;
  const auto topics =
      items.topics.empty() ? 0 : *std::max_element(items.topics.begin(), items.topics.end()) + 1;
  for (int32_t i = 0; i < topics; ++i)  // in ascending order
    table.topic_names.push_back((i < 10 && topics > 10 ? "topic0" : "topic") + std::to_string(i));
  return table;
}

void add_users(DatasetWriter& writer, std::vector<EventRow> rows,
               const DatasetWriterOptions& options) {
  std::stable_sort(rows.begin(), rows.end(), [](const EventRow& a, const EventRow& b) {
    return std::tuple(user_hash(a.user), a.time) < std::tuple(user_hash(b.user), b.time);
  });
  for (size_t i = 0; i < rows.size();) {
    const int64_t user = rows[i].user;
    Timeline events;
    for (; i < rows.size() && rows[i].user == user; ++i) {
      events.item.push_back(static_cast<int32_t>(rows[i].item));
      events.action.push_back(index_of(options.actions, rows[i].action));
      events.surface.push_back(index_of(options.surfaces, rows[i].surface));
      events.time.push_back(rows[i].time);
      events.duration.push_back(rows[i].duration);
    }
    writer.add_user(user, events);
  }
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "pinnerformer-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string write_dataset(const std::string& directory, const std::vector<EventRow>& rows,
                          const FixtureItems& items, int64_t part_events) {
  DatasetWriterOptions options;
  options.directory = directory + "/dataset";
  options.overwrite = true;
  options.part_events = part_events;
  std::set<std::string> actions;
  std::set<std::string> surfaces;
  int64_t count = items.count;
  for (const EventRow& row : rows) {
    actions.insert(row.action);
    surfaces.insert(row.surface);
    if (items.count == 0) count = std::max(count, row.item + 1);
  }
  options.actions.assign(actions.begin(), actions.end());
  options.surfaces.assign(surfaces.begin(), surfaces.end());
  options.float32_vectors = items.float32_vectors;
  if (items.vectors.defined()) {
    options.vector_width = items.vectors.size(1);
    if (items.count == 0) count = std::max(count, items.vectors.size(0));
  }
  DatasetWriter writer(options, make_items(items, count));
  if (items.vectors.defined()) {
    const torch::Tensor values = items.vectors.to(torch::kFloat32).contiguous();
    writer.set_vectors(0, {values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  }
  add_users(writer, rows, options);
  writer.finish();
  return options.directory;
}

}  // namespace pinnerformer
