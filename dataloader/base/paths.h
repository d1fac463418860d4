// Parts of path names.
#pragma once
#include <filesystem>
#include <string>

#include "dataloader/base/errors.h"

namespace pinnerformer {

// "runs/a//" -> "runs/a"; "/" stays.
[[nodiscard]] inline std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// The directory that holds `path`; "." where the path is a bare name.
[[nodiscard]] inline std::string parent_directory(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Throws MissingInputError.
inline void require_directory(const std::string& path) {
  if (!std::filesystem::is_directory(path))
    throw MissingInputError("there is no directory " + path);
}

// "~", "~/x", "$HOME/x": a shell expands the first two at the start of a word only, and nothing
// else expands any of them.
[[nodiscard]] inline bool is_from_home(const std::string& path) {
  return path == "~" || path.starts_with("~/") || path.starts_with("$HOME") ||
         path.starts_with("${");
}

}  // namespace pinnerformer
