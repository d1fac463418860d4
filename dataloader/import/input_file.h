// The files that the words of --events name: files, patterns, directories and pipes.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/base/temporary.h"

namespace pinnerformer {

// One regular file to read.
struct InputFile {
  std::string path;
  std::string name;  // as messages call it
  // Of folders named key=value on the way to the file, outermost first.
  std::vector<std::pair<std::string, std::string>> folder_values;

  static InputFile plain(const std::string& path) { return {path, path, {}}; }
};

// Turns words into files. A word is a file; a pattern with *, ? or []; a directory, which stands
// for all files below it, sorted by path; or "-", /dev/stdin or /dev/fd/N, whose content is copied
// to a temporary directory first, since an import may read its input twice. Patterns and
// directories leave out names that begin with _ or a dot.
class InputFiles {
 public:
  // `scratch` is the path of the temporary directory, made where a word needs it. Throws
  // MissingInputError where a word names nothing, DataError for a pipe, device or socket that has a
  // name of its own and for a file that is named twice, IoError.
  InputFiles(const std::vector<std::string>& words, std::string scratch);
  InputFiles(const InputFiles&) = delete;
  InputFiles& operator=(const InputFiles&) = delete;
  ~InputFiles();  // removes the temporary directory

  [[nodiscard]] const std::vector<InputFile>& files() const { return files_; }

 private:
  void add(const std::string& word);
  void add_directory(const std::string& directory);
  void add_file(const std::string& path);
  void copy_pipe(const std::string& word);
  void remove_scratch();

  std::string scratch_;
  std::unique_ptr<DirectoryClaim> claim_;  // while scratch_ exists
  std::vector<InputFile> files_;
  std::map<std::string, std::string> names_;  // of a file without links -> as it was named first
};

// Throws MissingInputError, or DataError where the path is no regular file: opening a pipe or a
// device could wait, or read, without end.
void require_regular_file(const std::string& path);

}  // namespace pinnerformer
