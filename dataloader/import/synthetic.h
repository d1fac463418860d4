// Synthetic datasets with a structure that a correct model can learn: lasting interests, sessions
// about one topic, exploration, slow drift, and items whose popularity follows a power law.
#pragma once
#include <cstdint>
#include <string>

namespace pinnerformer {

struct SyntheticOptions {
  std::string out;         // directory to write
  bool overwrite = false;  // replace a dataset that is there
  int64_t users = 1000;
  int64_t items = 2000;
  int64_t events_per_user = 100;  // mean; users differ by a factor of a few
  int64_t topics = 50;
  int64_t interests = 3;        // lasting topics of a user
  int64_t session_events = 6;   // mean events of a session, all about one topic
  double exploration = 0.3;     // share of sessions about a random topic
  double drift_per_day = 0.01;  // chance that a user trades one interest for another
  int64_t days = 84;            // span of time, ending 2024-12-31
  int64_t vector_width = 64;    // content vectors: the topic's direction plus noise
  int64_t seed = 1;
};

// Writes the dataset (actions "save" and "view", surfaces "feed" and "search", one topic per item).
// A save is likelier in a session about a lasting interest: what a user saves says what lasts.
// The same options give the same bytes. Throws DataError as DatasetWriter does.
void write_synthetic_dataset(const SyntheticOptions& options);

}  // namespace pinnerformer
