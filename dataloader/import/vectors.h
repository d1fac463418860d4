// Item vectors from .npy, HDF5 or Parquet: first the ids, later the values, in blocks.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataloader/import/id_dictionary.h"
#include "dataloader/import/import.h"

namespace pinnerformer {

class VectorSource {
 public:
  // Chooses by the file's first bytes or its name. Throws MissingInputError or DataError.
  static std::unique_ptr<VectorSource> open(const ImportOptions& options);
  virtual ~VectorSource() = default;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] virtual int64_t width() const = 0;  // numbers per vector, at least 1
  // The item of each row, in order; ids are added to `items`.
  [[nodiscard]] virtual std::vector<int64_t> add_ids(IdDictionary& items) const = 0;
  // Calls `visit` for each row in order. Throws DataError where a row has another width.
  virtual void read(
      const std::function<void(int64_t row, std::span<const float> values)>& visit) const = 0;

 protected:
  explicit VectorSource(std::string path) : path_(std::move(path)) {}

 private:
  std::string path_;
};

}  // namespace pinnerformer
