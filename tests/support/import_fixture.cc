// Files as a user would have them.
#include "tests/support/import_fixture.h"

namespace pinnerformer {
namespace {

// Version 1 of NumPy's format.
std::string npy(const std::vector<std::vector<float>>& rows) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(rows.size()) + ", " + std::to_string(rows[0].size()) + "), }";
  header.resize(118 - 1, ' ');
  header += '\n';
  std::string file = "\x93NUMPY";
  file += '\1';
  file += '\0';
  file += static_cast<char>(header.size());
  file += '\0';
  file += header;
  for (const std::vector<float>& row : rows) {
    file.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float));
  }
  return file;
}

}  // namespace

ImportOptions import_options(const TemporaryDirectory& directory, const std::string& content,
                             const std::string& name) {
  ImportOptions options;
  options.events = {write_file(directory / name, content)};
  set_event_columns(options, {"user=user", "item=item", "action=action", "surface=surface",
                              "time=ts:ms", "duration=long:ms"});
  set_missing_markers(options, {"surface=-", "duration=-1"});
  options.bad_times = BadTimes::kKeep;  // tests count time from 1970, for short lines
  options.out = directory / "out";
  return options;
}

void add_npy_vectors(const TemporaryDirectory& directory, ImportOptions& options,
                     const std::vector<std::string>& ids,
                     const std::vector<std::vector<float>>& vectors) {
  options.vectors = write_file(directory / "vectors.npy", npy(vectors));
  std::string lines;
  for (const std::string& id : ids) lines += id + "\n";
  options.vector_ids = write_file(directory / "ids.txt", lines);
}

}  // namespace pinnerformer
