#include "launch/report/table.h"

#include <stdexcept>

namespace pinnerformer {

void Table::add_row(const std::vector<Markup>& cells) {
  if (cells.size() != columns_.size()) throw std::logic_error("Table: one cell per column");
  Markup row;
  for (size_t i = 0; i < cells.size(); ++i) {
    const char* style = columns_[i].is_number ? "number" : "";
    row += i == 0 ? element("th", {{"scope", "row"}, {"class", style}}, cells[i])
                  : element("td", {{"class", style}}, cells[i]);
  }
  rows_ += element("tr", row);
}

Markup Table::markup() const {
  Markup head;
  for (const HeadedColumn& column : columns_)
    head += element(
        "th",
        {{"scope", "col"}, {"class", column.is_number ? "number" : ""}, {"title", column.meaning}},
        text(column.title));
  return element("div", {{"class", "wide"}},
                 element("table", element("thead", element("tr", head)) + element("tbody", rows_)));
}

Markup missing(std::string_view what, std::string_view command) {
  return element("div", {{"class", "missing"}},
                 element("p", text(what)) + element("pre", element("code", lines(command))));
}

}  // namespace pinnerformer
