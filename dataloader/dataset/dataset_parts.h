// Inside of Dataset: its files and where each user lies. For dataset*.cc only.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/items_file.h"
#include "dataloader/dataset/users_file.h"

namespace pinnerformer {

struct PlacedUser {
  size_t part = 0;  // users file
  int64_t row = 0;  // user within it
};

struct Dataset::Impl {
  explicit Impl(const std::string& name);
  [[nodiscard]] PlacedUser place(int64_t user) const;  // throws std::out_of_range
  // Visits the pieces of users [first, first + count) file by file: the part, the first of them in
  // it, how many. Throws std::out_of_range.
  void for_each_part(
      int64_t first, int64_t count,
      const std::function<void(size_t part, int64_t row, int64_t users)>& visit) const;

  std::string directory;
  ItemsFile items;
  std::vector<UsersFile> parts;
  std::vector<int64_t> first_users;  // row of each file's first user
  int64_t users = 0;
  int64_t events = 0;
};

}  // namespace pinnerformer
