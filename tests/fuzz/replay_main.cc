// Stands in for libFuzzer: feeds every file of the folders named on the command line to the target
// once, so that the corpus is a test under any compiler. `--seconds N` in front then feeds changed
// copies of them for so long; each is first written to ./TARGET.last, which after a crash holds the
// input that caused it. Exits with 1 where there was no file.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "dataloader/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string content_of(const std::string& path) {
  const auto file = pinnerformer::File::open(path);
  std::string content(static_cast<size_t>(file.size()), '\0');
  file.read_at(0, content.data(), file.size());
  return content;
}

void feed(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

// Pieces that matter to readers of text and of JSON, and numbers at the ends of their ranges.
constexpr const char* kPieces[] = {"0",
                                   "-1",
                                   "1.5",
                                   "1e308",
                                   "9223372036854775807",
                                   "-9223372036854775808",
                                   "18446744073709551615",
                                   "9007199254740993",
                                   "null",
                                   "true",
                                   "\"\"",
                                   "\"x\"",
                                   "[]",
                                   "{}",
                                   "[",
                                   "]",
                                   "{",
                                   "}",
                                   ",",
                                   ":",
                                   "\"",
                                   "\\",
                                   "\n",
                                   "\t",
                                   "../",
                                   "/",
                                   "\xFF",
                                   "\xEF\xBB\xBF"};

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& corpus) : corpus_(corpus) {}

  std::string next() {
    std::string input = corpus_[below(corpus_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(input);
    return input;
  }

 private:
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  void change(std::string& input) {
    if (input.empty()) return;
    const size_t at = below(input.size());
    const size_t length = 1 + below(std::min<size_t>(64, input.size() - at));
    const std::string piece = kPieces[below(std::size(kPieces))];
    switch (below(7)) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        break;
      case 1:
        input[at] = static_cast<char>(below(256));
        break;
      case 2:
        input.erase(at, length);
        break;
      case 3:
        input.insert(at, input.substr(at, length));
        break;
      case 4:
        input.insert(at, piece);
        break;
      case 5:
        replace_number(input, at, piece);
        break;
      default:
        splice(input, at);
    }
  }

  // The number after `at`.
  static void replace_number(std::string& input, size_t at, const std::string& piece) {
    constexpr const char* kDigits = "-0123456789.";
    const size_t begin = input.find_first_of(kDigits, at);
    if (begin == std::string::npos) return;
    const size_t end = std::min(input.find_first_not_of(kDigits, begin), input.size());
    input.replace(begin, end - begin, piece);
  }

  void splice(std::string& input, size_t at) {
    const std::string& other = corpus_[below(corpus_.size())];
    if (!other.empty()) input = input.substr(0, at) + other.substr(below(other.size()));
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_{1};  // the same inputs every time
};

void fuzz(const std::vector<std::string>& corpus, double seconds, const std::string& last_input) {
  Mutator mutator(corpus);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  int64_t inputs = 0;
  for (; Clock::now() < end; ++inputs) {
    const std::string input = mutator.next();
    pinnerformer::File::create(last_input)
        .write_at(0, input.data(), static_cast<int64_t>(input.size()));
    feed(input);
  }
  fs::remove(last_input);
  std::cout << inputs << " changed inputs in " << seconds << " s" << std::endl;
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
  std::vector<std::string> words(argv + 1, argv + argc);
  double seconds = 0;
  if (words.size() > 1 && words[0] == "--seconds") {
    seconds = std::strtod(words[1].c_str(), nullptr);
    words.erase(words.begin(), words.begin() + 2);
  }
  std::vector<std::string> corpus;
  for (const std::string& folder : words)
    for (const auto& entry : fs::directory_iterator(folder)) {
      std::cout << entry.path().string() << std::endl;  // the last line names a failing input
      corpus.push_back(content_of(entry.path().string()));
      feed(corpus.back());
    }
  if (seconds > 0 && !corpus.empty())
    fuzz(corpus, seconds, fs::path(argv[0]).filename().string() + ".last");
  remove_scratch();
  return corpus.empty() ? 1 : 0;
}
