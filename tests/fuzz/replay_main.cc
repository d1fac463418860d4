// Stands in for libFuzzer: feeds every file of the folders named on the command line to the target
// once, so that the corpus is a test under any compiler. Exits with 1 where there was no file.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "dataloader/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

void replay(const std::string& path) {
  const auto file = pinnerformer::File::open(path);
  std::vector<uint8_t> bytes(static_cast<size_t>(file.size()));
  file.read_at(0, bytes.data(), file.size());
  std::cout << path << std::endl;  // the last line names the input that ended the process
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

// What scratch_file() of tests/fuzz/scratch_file.h has named.
void remove_scratch() {
  const std::string ours = "pinnerformer-fuzz-" + std::to_string(::getpid()) + "-";
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator("/dev/shm"))
    if (entry.path().filename().string().starts_with(ours)) found.push_back(entry.path());
  for (const fs::path& path : found) fs::remove_all(path);
}

}  // namespace

int main(int argc, char** argv) {
  int replayed = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : fs::directory_iterator(argv[i])) {
      replay(entry.path().string());
      ++replayed;
    }
  }
  remove_scratch();
  return replayed > 0 ? 0 : 1;
}
