// Parts of path names.
#pragma once
#include <filesystem>
#include <string>

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

// "~" or "~/x": a shell expands it at the start of a word only, and nothing else does.
[[nodiscard]] inline bool is_from_home(const std::string& path) {
  return path == "~" || path.starts_with("~/");
}

}  // namespace pinnerformer
