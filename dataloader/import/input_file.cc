// Words become files by stat(2), glob(3) and a sorted walk.
#include "dataloader/import/input_file.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>
#include <string_view>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCopyBytes = 1 << 20;

bool is_standard_input(const std::string& word) { return word == "-" || word == "/dev/stdin"; }

bool is_open_descriptor(const std::string& word) {
  return word.starts_with("/dev/fd/") || word.starts_with("/proc/self/fd/");
}

bool is_skipped(const fs::path& name) {
  const std::string text = name.string();
  return text.starts_with('_') || text.starts_with('.');
}

// v3.metadata.json, or 00003-UUID.metadata.json
bool is_iceberg_metadata(std::string_view name) {
  constexpr std::string_view kEnding = ".metadata.json";
  constexpr std::string_view kDigits = "0123456789";
  if (!name.ends_with(kEnding)) return false;
  name.remove_suffix(kEnding.size());
  const size_t behind = name.find_first_not_of(kDigits, name.starts_with('v') ? 1 : 0);
  if (name.starts_with('v')) return name.size() > 1 && behind == name.npos;
  return behind != name.npos && behind > 0 && name[behind] == '-' &&
         name.find_first_not_of("0123456789abcdef-", behind) == name.npos;
}

// What Delta Lake, Hudi and Iceberg keep beside their data; "" where there is none.
std::string table_log_in(const fs::path& directory) {
  std::error_code error;
  for (const char* log : {"_delta_log", ".hoodie"})
    if (fs::exists(directory / log, error)) return log;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory / "metadata", error))
    if (is_iceberg_metadata(entry.path().filename().string())) return "metadata";
  return "";
}

// Such a table keeps files of rows that were deleted or changed; its log says which ones count.
void require_no_table_log(const fs::path& directory) {
  const std::string log = table_log_in(directory);
  if (log.empty()) return;
  throw DataError(directory.string() + ": expected a directory of which all files count, found a " +
                  "table with a log (" + log +
                  "), which also keeps deleted and older rows; write its present rows as "
                  "Parquet with a program that reads such tables, or name the files that count");
}

// Of the directory and, for a part of a table such as day=1, of all above it.
void require_no_table_log_around(const fs::path& directory) {
  std::error_code error;
  fs::path at = fs::absolute(directory, error).lexically_normal();
  for (; at.has_relative_path(); at = at.parent_path()) require_no_table_log(at);
}

// What Spark writes where a part has no rows.
bool is_empty_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == 0;
}

// "a%20b" -> "a b": Hive and Spark write folder names so.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    const char* digits = text.data() + i + 1;
    const bool has_two = text[i] == '%' && i + 2 < text.size();
    if (has_two && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      plain += static_cast<char>(byte);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::vector<std::pair<std::string, std::string>> folder_values_of(const std::string& path) {
  std::vector<std::pair<std::string, std::string>> values;
  for (const fs::path& folder : fs::path(path).parent_path()) {
    const std::string text = folder.string();
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    const std::string value = unescaped(text.substr(equals + 1));
    values.emplace_back(text.substr(0, equals), value == "__HIVE_DEFAULT_PARTITION__" ? "" : value);
  }
  return values;
}

// Whether a folder or file of the path is one to skip that the pattern does not ask for.
bool has_skipped_name(const fs::path& path, const fs::path& pattern) {
  auto asked = pattern.begin();
  for (auto name = path.begin(); name != path.end() && asked != pattern.end(); ++name, ++asked)
    if (is_skipped(*name) && !is_skipped(*asked)) return true;
  return false;
}

std::vector<std::string> matches_of(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    std::erase_if(paths, [&pattern](const std::string& path) {
      return has_skipped_name(path, pattern) || is_empty_file(path);
    });
  }
  ::globfree(&found);
  return paths;
}

bool is_pattern(const std::string& word) { return word.find_first_of("*?[") != std::string::npos; }

}  // namespace

void require_regular_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const std::string message = "cannot open " + path + ": " + std::strerror(errno);
    if (errno == ENOENT || errno == ENOTDIR) throw MissingInputError(message);
    throw IoError(message);
  }
  if (S_ISREG(status.st_mode)) return;
  throw DataError(path + ": expected a regular file, found a " +
                  (S_ISDIR(status.st_mode)    ? "directory"
                   : S_ISFIFO(status.st_mode) ? "named pipe; '-' reads standard input"
                                              : "device or socket"));
}

InputFiles::InputFiles(const std::vector<std::string>& words, std::string scratch)
    : scratch_(std::move(scratch)) {
  try {
    for (const std::string& word : words) add(word);
  } catch (...) {
    remove_scratch();
    throw;
  }
}

InputFiles::~InputFiles() { remove_scratch(); }

void InputFiles::remove_scratch() {
  if (!claim_) return;
  std::error_code ignored;
  fs::remove_all(scratch_, ignored);
  claim_.reset();
}

void InputFiles::add(const std::string& word) {
  if (is_standard_input(word) || is_open_descriptor(word)) return copy_pipe(word);
  std::error_code error;
  if (fs::is_directory(word, error)) return add_directory(word);
  if (fs::exists(word, error) || !is_pattern(word)) return add_file(word);
  if (word.find("**") != std::string::npos) {  // glob(3) takes it for *, and leaves files out
    throw DataError(word +
                    ": expected * for a part of one name, found **; a directory stands for " +
                    "all files below it");
  }
  const std::vector<std::string> paths = matches_of(word);
  if (paths.empty())
    throw MissingInputError("no file matches " + word + "; empty files do not count");
  std::set<fs::path> checked;  // many files of a pattern lie in one directory
  for (const std::string& path : paths) {
    if (fs::is_directory(path, error)) {
      add_directory(path);
    } else {
      const fs::path parent = fs::path(path).parent_path();
      if (checked.insert(parent).second) require_no_table_log_around(parent);
      add_file(path);
    }
  }
}

void InputFiles::add_directory(const std::string& directory) {
  require_no_table_log_around(directory);
  std::vector<std::string> paths;
  try {
    for (auto at = fs::recursive_directory_iterator(directory);
         at != fs::recursive_directory_iterator(); ++at) {
      if (at->is_directory()) require_no_table_log(at->path());
      if (is_skipped(at->path().filename())) {
        at.disable_recursion_pending();
      } else if (at->is_symlink() && at->is_directory()) {
        throw DataError(at->path().string() +
                        " is a link to a directory, which an import does not follow; name the "
                        "directory itself");
      } else if (!at->is_directory() && !is_empty_file(at->path())) {
        paths.push_back(at->path().string());
      }
    }
  } catch (const fs::filesystem_error& error) {
    throw IoError("cannot read the directory " + directory + ": " + error.code().message());
  }
  if (paths.empty()) {
    throw MissingInputError(
        "the directory " + directory +
        " holds no file with content; names that begin with _ or a dot are skipped");
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) add_file(path);
}

void InputFiles::add_file(const std::string& path) {
  require_regular_file(path);
  const auto [known, is_new] = names_.try_emplace(fs::canonical(path), path);
  if (!is_new) {
    throw DataError(path + ": the words for the events name this file twice" +
                    (known->second == path ? "" : ", once as " + known->second) +
                    "; its events would count twice: leave one out");
  }
  files_.push_back({path, path, folder_values_of(path)});
}

void InputFiles::copy_pipe(const std::string& word) {
  int descriptor = STDIN_FILENO;
  if (!is_standard_input(word)) {
    const std::string number = word.substr(word.rfind('/') + 1);
    std::from_chars(number.data(), number.data() + number.size(), descriptor);
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw MissingInputError("cannot open " + word);
  if (S_ISCHR(status.st_mode) && ::isatty(descriptor) == 0) {
    throw DataError(word + ": expected a pipe or a file, found a device");
  }
  if (!claim_) {
    std::error_code error;
    fs::create_directories(scratch_, error);
    if (error) throw IoError("cannot make directory " + scratch_ + ": " + error.message());
    claim_ = std::make_unique<DirectoryClaim>(scratch_);
  }
  const std::string path = scratch_ + "/input-" + std::to_string(files_.size());
  File copy = File::create_new(path);
  std::vector<char> buffer(kCopyBytes);
  while (true) {
    const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw IoError("cannot read " + word + ": " + std::strerror(errno));
    if (got == 0) break;
    copy.append(buffer.data(), got);
  }
  files_.push_back({path, word == "-" ? "standard input" : word, {}});
}

}  // namespace pinnerformer
