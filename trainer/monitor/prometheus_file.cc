#include "trainer/monitor/prometheus_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/published_file.h"
#include "dataloader/base/temporary.h"

namespace pinnerformer {

void replace_prometheus_file(const std::string& path, const std::string& text) {
  check_replaceable(path);
  remove_abandoned_files(path);
  File file = create_claimed_file(path);
  try {
    file.append(text.data(), std::ssize(text));
    if (std::rename(file.path().c_str(), path.c_str()) != 0)
      throw IoError("cannot write " + path + ": " + std::strerror(errno));
  } catch (const IoError&) {
    ::unlink(file.path().c_str());
    throw;
  }
}

}  // namespace pinnerformer
