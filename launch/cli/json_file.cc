// Write beside the target, sync, rename over it.
#include "launch/cli/json_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& file, const std::string& why) {
  throw IoError("cannot write the result to '" + file + "' (--json): " + why);
}

void write_text(const std::string& file, const std::string& text) {
  errno = 0;
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << text << std::flush;
  if (!stream) fail(file, std::strerror(errno));
}

void sync(const std::string& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!synced) fail(file, std::strerror(error));
}

}  // namespace

void write_json_file(const std::string& file, const nlohmann::json& result) {
  if (file.empty()) return;
  // Ids and titles of a dataset need not be UTF-8: better a replaced letter than no result.
  const std::string text =
      result.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
  std::error_code error;
  if (fs::exists(file, error) && !fs::is_regular_file(file, error)) {
    write_text(file, text);  // a pipe or /dev/stdout must not be renamed over
    return;
  }
  const fs::path directory = fs::path(file).parent_path();
  if (!directory.empty()) fs::create_directories(directory, error);
  if (error) fail(file, directory.string() + ": " + error.message());
  const std::string partial = file + ".partial";
  write_text(partial, text);
  sync(partial);
  fs::rename(partial, file, error);
  if (error) fail(file, error.message());
}

}  // namespace pinnerformer
