// HDF5 files with changed bytes, of their structure too: every function that reads one returns or
// throws. The first byte of the input chooses the file; then come patches of 12 bytes: where (two
// bytes, little endian, modulo the size), how many bytes (modulo 8, plus 1), one unused, and eight
// bytes to put there.
#include <hdf5.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/hdf5/h5_file.h"
#include "launch/cli/exit_code.h"
#include "launch/job/mapped_file_fault.h"
#include "tests/fuzz/scratch_file.h"

using namespace pinnerformer;

namespace {

constexpr std::array kDatasets = {"/numbers",       "/checksum/numbers", "/group/vectors",
                                  "/group/strings", "/chunked",          "/compressed",
                                  "/fixed"};
constexpr int64_t kMostRows = 1000;

std::string bytes_of(const std::string& path) { return read_whole_file(path, 1 << 20); }

// As the program writes it.
void write_plain(const std::string& path) {
  H5File file = H5File::create(path);
  file.set_attribute("format", std::string("pinnerformer-dataset"));
  file.set_attribute("version", int64_t{1});
  file.write("/numbers", std::vector<int64_t>{1, 2, 3, 4});
  file.write("/checksum/numbers", std::vector<uint64_t>{5});
  file.write("/group/vectors", std::vector<int64_t>(16, 7));
  file.write_strings("/group/strings", 3,
                     [](int64_t i) { return std::string(20, static_cast<char>('a' + i)); });
  file.set_attribute("model_version", "weights", "/group");
  file.close();
}

// As others write it: chunks, compression, strings of fixed length.
void add_foreign(const std::string& path) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const std::array<hsize_t, 2> shape{6, 4}, chunk{2, 4};
  const hid_t space = H5Screate_simple(2, shape.data(), nullptr);
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(create, 2, chunk.data());
  const std::vector<float> values(24, 1.5f);
  const auto add = [&](const char* name, hid_t type, hid_t where, hid_t properties, hid_t memory,
                       const void* data) {
    const hid_t made = H5Dcreate2(file, name, type, where, H5P_DEFAULT, properties, H5P_DEFAULT);
    H5Dwrite(made, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
    H5Dclose(made);
  };
  add("chunked", H5T_IEEE_F32LE, space, create, H5T_NATIVE_FLOAT, values.data());
  H5Pset_deflate(create, 6);
  add("compressed", H5T_IEEE_F32LE, space, create, H5T_NATIVE_FLOAT, values.data());
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 8);
  const hsize_t count = 5;
  const hid_t line = H5Screate_simple(1, &count, nullptr);
  add("fixed", text, line, H5P_DEFAULT, text, std::string(40, 'b').data());
  H5Sclose(line), H5Tclose(text), H5Pclose(create), H5Sclose(space), H5Fclose(file);
}

std::string make(bool foreign) {
  const std::string path = scratch_file("whole.h5");
  write_plain(path);
  if (foreign) add_foreign(path);
  return bytes_of(path);
}

template <class Read>
void try_to(const Read& read) {
  try {
    read();
  } catch (const DataError&) {
  } catch (const IoError&) {
  }
}

void read_dataset(const H5File& file, const char* name) {
  try_to([&] { static_cast<void>(file.has(name)); });
  try_to([&] { file.read_strings(name, [](std::string_view) {}); });
  try_to([&] { static_cast<void>(file.read_integers(name)); });
  try_to([&] { static_cast<void>(file.read_words(name)); });
  try_to([&] { static_cast<void>(file.layout(name, {ElementType::kInt64}, 1)); });
  try_to([&] {
    const ArrayLayout layout = file.describe(name);
    if (file.holds_strings(name)) return;
    const int64_t rows = std::min(layout.shape[0], kMostRows);
    const int64_t width = layout.shape.size() == 1 ? 1 : layout.shape[1];
    if (layout.shape.size() > 2 || width > 65536 || rows < 1) return;
    std::vector<float> values(static_cast<size_t>(rows * width));
    file.read_rows(name, 0, rows, values.data());
  });
}

void read_whole(const std::string& path) {
  const H5File file = H5File::open(path);
  for (const char* name : {"format", "version"}) {
    try_to([&] { static_cast<void>(file.has_attribute(name)); });
    try_to([&] { static_cast<void>(file.text_attribute(name)); });
    try_to([&] { static_cast<void>(file.integer_attribute(name)); });
  }
  try_to([&] { static_cast<void>(file.text_attribute("model_version", "/group")); });
  for (const char* name : kDatasets) read_dataset(file, name);
}

// The library itself may fault: then the process must end with the message that says so. Any other
// signal is a fault of ours.
void require_clean_end(pid_t child, const std::string& path) {
  if (child == 0) {
    report_library_faults();
    if (std::freopen("/dev/null", "w", stderr) == nullptr) ::_exit(kBug);
    ::alarm(20);  // a hang ends by SIGALRM
    try_to([&] { read_whole(path); });
    ::_exit(kDone);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!WIFEXITED(status) || (WEXITSTATUS(status) != kDone && WEXITSTATUS(status) != kBadData))
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::array<std::string, 2> whole = {make(false), make(true)};
  static const std::string path = scratch_file("patched.h5");
  if (size == 0) return 0;
  std::string bytes = whole[data[0] & 1];
  for (++data, --size; size >= 12; data += 12, size -= 12) {
    const size_t place = (data[0] | size_t{data[1]} << 8) % bytes.size();
    const size_t count = std::min<size_t>(data[2] % 8 + 1, bytes.size() - place);
    std::memcpy(bytes.data() + place, data + 4, count);
  }
  write_scratch(path, bytes.data(), bytes.size());
  require_clean_end(::fork(), path);
  return 0;
}
