// Attributes, vector ids, and the final order.
#include "dataloader/import/items.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "dataloader/base/digits.h"
#include "dataloader/base/errors.h"
#include "dataloader/import/cells.h"

namespace pinnerformer {
namespace {

// Sets values[index], growing the list.
template <typename Value>
void set_value(std::vector<Value>& values, int64_t index, Value value, const Value& filler) {
  const auto at = static_cast<size_t>(index);
  if (values.size() <= at) values.resize(at + 1, filler);
  values[at] = std::move(value);
}

bool flag_at(const std::vector<bool>& flags, int64_t index) {
  return static_cast<size_t>(index) < flags.size() && flags[static_cast<size_t>(index)];
}

std::string text_at(const std::vector<std::string>& texts, int64_t index) {
  return static_cast<size_t>(index) < texts.size() ? texts[static_cast<size_t>(index)] : "";
}

// Where attributes and vectors lie in the batches of the attribute table.
struct AttributeColumns {
  std::vector<std::string> names;
  size_t title = 0;  // 0: none, since column 0 is the id
  size_t topic = 0;
};

AttributeColumns attribute_columns(const ImportOptions& options) {
  AttributeColumns columns;
  columns.names.push_back(options.item_id_column);
  if (!options.item_title_column.empty()) {
    columns.title = columns.names.size();
    columns.names.push_back(options.item_title_column);
  }
  if (!options.item_topic_column.empty()) {
    columns.topic = columns.names.size();
    columns.names.push_back(options.item_topic_column);
  }
  return columns;
}

void fail_without_vector(const ImportOptions& options, const ItemCatalog& catalog,
                         const std::vector<int64_t>& missing) {
  std::string examples;
  for (size_t i = 0; i < std::min<size_t>(missing.size(), 5); ++i) {
    examples += (i ? ", " : "") + catalog.ids.text(missing[i]);
  }
  throw DataError(options.vectors + ": " + std::to_string(missing.size()) +
                  " items have no vector, for example " + examples +
                  "; --items-without-vector keep or drop accepts them");
}

// As float16, which datasets hold.
bool rounds_to_zero(std::span<const float> vector) {
  constexpr float kRoundedToZero = 0x1p-25f;
  return std::ranges::all_of(vector, [](float v) { return std::abs(v) <= kRoundedToZero; });
}

void fill_table(const ImportOptions& options, const ItemCatalog& catalog,
                const std::vector<int64_t>& kept, ItemColumns& table) {
  table.ids = IdColumn(catalog.ids.integers());
  const std::set<std::string> topics(catalog.topics.begin(), catalog.topics.end());
  for (const std::string& topic : topics) {
    if (!topic.empty()) table.topic_names.push_back(topic);
  }
  for (const int64_t item : kept) {
    if (catalog.ids.integers()) {
      table.ids.push_back(catalog.ids.number(item));
    } else {
      table.ids.push_back(catalog.ids.view(item));
    }
    if (!options.item_title_column.empty()) table.titles.push_back(text_at(catalog.titles, item));
    if (options.item_topic_column.empty()) continue;
    const std::string topic = text_at(catalog.topics, item);
    const auto at = std::lower_bound(table.topic_names.begin(), table.topic_names.end(), topic);
    const auto index = static_cast<int32_t>(at - table.topic_names.begin());
    table.topics.push_back(topic.empty() ? -1 : index);
  }
}

}  // namespace

void read_item_attributes(const ImportOptions& options, ItemCatalog& catalog) {
  const AttributeColumns columns = attribute_columns(options);
  const InputFile file = InputFile::plain(options.items);
  const bool has_names = !std::ranges::all_of(columns.names, has_digits_only);
  TableReader table(file, form_beside(file, options.form, has_names),
                    {columns.names, "--item-columns id=NAME,title=NAME,topic=NAME"});
  const EventColumn id_column{options.item_id_column, {}, {}};
  const EventColumn title_column{options.item_title_column, {}, {}};
  const EventColumn topic_column{options.item_topic_column, {}, {}};
  TableBatch batch;
  while (table.next(batch)) {
    for (int64_t i = 0; i < batch.rows; ++i) {
      const auto row = static_cast<size_t>(i);
      const auto cell = [&](size_t column, const EventColumn& meaning) {
        return Cell{batch.columns[column], meaning, options.items, row, batch.first_row + i};
      };
      const Cell id = cell(0, id_column);
      if (is_empty(id)) id.fail("an item id");
      const int64_t item = add_id(catalog.ids, id);
      if (flag_at(catalog.has_attributes, item)) {
        id.fail("every item once",
                ", which came before; a list in a column is read as one row per element");
      }
      set_value(catalog.has_attributes, item, true, false);
      const std::string none;
      if (columns.title) {
        set_value(catalog.titles, item, cell(columns.title, title_column).storable_text(), none);
      }
      if (columns.topic) {
        set_value(catalog.topics, item, cell(columns.topic, topic_column).storable_text(), none);
      }
    }
  }
}

void read_vector_ids(const VectorSource& source, ItemCatalog& catalog) {
  catalog.vector_items = source.add_ids(catalog.ids);
  for (const int64_t item : catalog.vector_items) {
    if (flag_at(catalog.has_vector, item)) {
      throw DataError(source.path() + ": item " + catalog.ids.text(item) + " has two vectors");
    }
    set_value(catalog.has_vector, item, true, false);
  }
}

void leave_out_zero_vectors(const VectorSource& source, ItemCatalog& catalog) {
  source.read([&](int64_t row, std::span<const float> values) {
    const int64_t item = catalog.vector_items[static_cast<size_t>(row)];
    if (rounds_to_zero(values)) catalog.has_vector[static_cast<size_t>(item)] = false;
  });
}

OrderedItems order_items(const ImportOptions& options, const ItemCatalog& catalog) {
  const bool wants_vectors =
      !options.vectors.empty() && options.without_vector != ItemsWithoutVector::kKeep;
  OrderedItems ordered;
  ordered.row_of_item.assign(static_cast<size_t>(catalog.ids.size()), -1);
  std::vector<int64_t> kept;
  std::vector<int64_t> missing;
  for (const int64_t item : catalog.ids.sorted()) {
    if (wants_vectors && !flag_at(catalog.has_vector, item)) {
      missing.push_back(item);
      continue;
    }
    ordered.row_of_item[static_cast<size_t>(item)] = static_cast<int32_t>(kept.size());
    kept.push_back(item);
  }
  if (!missing.empty() && options.without_vector == ItemsWithoutVector::kError) {
    fail_without_vector(options, catalog, missing);
  }
  fill_table(options, catalog, kept, ordered.table);
  return ordered;
}

int64_t copy_vectors(const VectorSource& source, const ItemCatalog& catalog,
                     const OrderedItems& items, DatasetWriter& writer) {
  int64_t copied = 0;
  source.read([&](int64_t row, std::span<const float> values) {
    const int64_t item = catalog.vector_items[static_cast<size_t>(row)];
    const int64_t target = items.row_of_item[static_cast<size_t>(item)];
    if (target < 0) return;  // left out
    if (!rounds_to_zero(values)) ++copied;
    try {
      writer.set_vectors(target, values);
    } catch (const DataError& error) {
      throw DataError(source.path() + ", row " + std::to_string(row) + ": " + error.what());
    }
  });
  return copied;
}

}  // namespace pinnerformer
