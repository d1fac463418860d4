// What is in a dataset, for `data inspect`.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/positives.h"

namespace pinnerformer {

// How many users, or items, have how many: a row for 0, 1, 2 to 3, 4 to 7 and so on.
class Distribution {
 public:
  void add(int64_t value);
  struct Row {
    int64_t least = 0;
    int64_t most = 0;
    int64_t count = 0;
  };
  // Up to the last row that is not empty.
  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }

 private:
  std::vector<Row> rows_;
};

struct DatasetSummary {
  std::string directory;
  std::string fingerprint;
  int64_t users = 0;
  int64_t items = 0;
  int64_t events = 0;
  int64_t first_time = 0;  // seconds
  int64_t last_time = 0;
  std::vector<std::pair<std::string, int64_t>> actions;  // name and events, by name
  std::vector<std::pair<std::string, int64_t>> surfaces;
  // Events per user: the smallest length that the given percent of users do not exceed.
  std::vector<std::pair<int64_t, int64_t>> length_percentiles;  // (percent, events)
  double mean_length = 0;
  // The same of positives, by the rule that was given.
  std::vector<std::pair<int64_t, int64_t>> positive_percentiles;
  int64_t positives = 0;
  Distribution events_per_user, positives_per_user, events_per_item;
  int64_t vector_width = 0;
  std::string vector_type;        // "float16", "float32" or ""
  int64_t items_with_vector = 0;  // rows that are not all zero
  int64_t code_levels = 0;        // codes of an item's semantic id; 0: no semantic ids
  int64_t codes_of_level = 0;
  bool has_titles = false;
  int64_t topics = 0;
};

// Reads everything once. `rule` says what counts as a positive.
[[nodiscard]] DatasetSummary summarize_dataset(const Dataset& dataset, const PositiveRule& rule);
[[nodiscard]] std::string dataset_summary_json(const DatasetSummary& summary);
[[nodiscard]] std::string dataset_summary_text(const DatasetSummary& summary);

}  // namespace pinnerformer
