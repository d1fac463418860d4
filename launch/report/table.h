// Tables of the page.
#pragma once
#include <string>
#include <vector>

#include "launch/report/markup.h"

namespace pinnerformer {

struct HeadedColumn {
  std::string title;
  std::string meaning{};   // shown beside the pointer; "" for none
  bool is_number = false;  // right-aligned
};

class Table {
 public:
  explicit Table(std::vector<HeadedColumn> columns) : columns_(std::move(columns)) {}
  // One cell per column; the first one names the row.
  void add_row(const std::vector<Markup>& cells);
  [[nodiscard]] Markup markup() const;

 private:
  std::vector<HeadedColumn> columns_;
  Markup rows_;
};

// Says that something is not there, and the command that makes it.
[[nodiscard]] Markup missing(std::string_view what, std::string_view command);

}  // namespace pinnerformer
