#include "dataloader/import/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "dataloader/base/checksum.h"
#include "dataloader/base/random.h"
#include "dataloader/dataset/dataset_writer.h"
#include "dataloader/dataset/timeline.h"

namespace pinnerformer {
namespace {

constexpr int64_t kDay = 86400;
constexpr int64_t kEnd = 1735689600;  // 2025-01-01T00:00:00Z
enum Action : int16_t { kSave, kView };
enum Surface : int16_t { kFeed, kSearch };

// Exponential with this mean, at least 1.
int64_t about(double mean, KeyedRandom& random) {
  return std::max<int64_t>(1, std::llround(-mean * std::log(1 - random.uniform())));
}

// Items of each topic, drawn with weight 1 / (1 + popularity rank).
class Catalogue {
 public:
  explicit Catalogue(const SyntheticOptions& options)
      : topic_of_(static_cast<size_t>(options.items)),
        items_of_(static_cast<size_t>(options.topics)),
        weights_of_(static_cast<size_t>(options.topics)) {
    KeyedRandom random(RandomStream::kSynth, {options.seed, -1});
    std::vector<int64_t> by_popularity(static_cast<size_t>(options.items));
    std::iota(by_popularity.begin(), by_popularity.end(), int64_t{0});
    shuffle(std::span(by_popularity), random);
    for (size_t rank = 0; rank < by_popularity.size(); ++rank) {
      const int64_t item = by_popularity[rank];
      // The first items go round the topics, so that none is empty.
      const auto topic =
          static_cast<size_t>(std::cmp_less(rank, options.topics) ? static_cast<int64_t>(rank)
                                                                  : random.below(options.topics));
      topic_of_[static_cast<size_t>(item)] = static_cast<int32_t>(topic);
      const double before = weights_of_[topic].empty() ? 0 : weights_of_[topic].back();
      items_of_[topic].push_back(item);
      weights_of_[topic].push_back(before + 1.0 / static_cast<double>(rank + 1));
    }
  }

  [[nodiscard]] const std::vector<int32_t>& topics() const { return topic_of_; }
  [[nodiscard]] int64_t draw(int64_t topic, KeyedRandom& random) const {
    const auto& weights = weights_of_[static_cast<size_t>(topic)];
    const double at = random.uniform() * weights.back();
    const auto found = std::upper_bound(weights.begin(), weights.end(), at) - weights.begin();
    return items_of_[static_cast<size_t>(topic)][static_cast<size_t>(found)];
  }

 private:
  std::vector<int32_t> topic_of_;
  std::vector<std::vector<int64_t>> items_of_;   // by falling popularity
  std::vector<std::vector<double>> weights_of_;  // running sums
};

// The lasting interests of one user, day by day.
class Interests {
 public:
  Interests(const SyntheticOptions& options, KeyedRandom& random) : options_(options) {
    for (int64_t i = 0; i < options.interests; ++i) topics_.push_back(random.below(options.topics));
  }
  void drift_to(int64_t day, KeyedRandom& random) {
    for (; day_ < day; ++day_)
      if (random.uniform() < options_.drift_per_day)
        topics_[static_cast<size_t>(random.below(options_.interests))] =
            random.below(options_.topics);
  }
  [[nodiscard]] int64_t draw(KeyedRandom& random) const {
    return topics_[static_cast<size_t>(random.below(options_.interests))];
  }

 private:
  const SyntheticOptions& options_;
  std::vector<int64_t> topics_;
  int64_t day_ = 0;
};

Timeline make_timeline(const SyntheticOptions& options, const Catalogue& catalogue, int64_t user) {
  KeyedRandom random(RandomStream::kSynth, {options.seed, user});
  Interests interests(options, random);
  const int64_t events = about(static_cast<double>(options.events_per_user), random);
  std::vector<int64_t> starts;
  for (int64_t drawn = 0; drawn < events; drawn += options.session_events)
    starts.push_back(random.below(options.days * kDay));
  std::sort(starts.begin(), starts.end());

  Timeline timeline;
  const int64_t begin = kEnd - options.days * kDay;
  for (size_t session = 0; session < starts.size(); ++session) {
    interests.drift_to(starts[session] / kDay, random);
    const bool explores = random.uniform() < options.exploration;
    const int64_t topic = explores ? random.below(options.topics) : interests.draw(random);
    const int64_t limit = session + 1 < starts.size() ? starts[session + 1] : options.days * kDay;
    int64_t time = starts[session];
    for (int64_t i = about(static_cast<double>(options.session_events), random);
         i > 0 && time < limit && timeline.size() < events; --i) {
      const double save_chance = explores ? 0.1 : 0.4;
      timeline.item.push_back(static_cast<int32_t>(catalogue.draw(topic, random)));
      timeline.action.push_back(random.uniform() < save_chance ? kSave : kView);
      timeline.surface.push_back(explores ? kSearch : kFeed);
      timeline.time.push_back(begin + time);
      timeline.duration.push_back(static_cast<float>(about(15, random)));
      time += about(30, random);
    }
  }
  return timeline;
}

// Unit directions of the topics, blurred for each item.
void write_vectors(const SyntheticOptions& options, const Catalogue& catalogue,
                   DatasetWriter& writer) {
  const auto width = static_cast<size_t>(options.vector_width);
  std::vector<float> vector(width);
  for (int64_t item = 0; item < options.items; ++item) {
    KeyedRandom direction(RandomStream::kSynth,
                          {options.seed, -2, catalogue.topics()[static_cast<size_t>(item)]});
    KeyedRandom noise(RandomStream::kSynth, {options.seed, -3, item});
    double square = 0;
    for (float& element : vector) {
      element = static_cast<float>(direction.normal() + 0.7 * noise.normal());
      square += double{element} * double{element};
    }
    for (float& element : vector) element /= static_cast<float>(std::sqrt(square));
    writer.set_vectors(item, vector);
  }
}

ItemColumns item_table(const SyntheticOptions& options, const Catalogue& catalogue) {
  ItemColumns items;
  for (int64_t item = 0; item < options.items; ++item) items.ids.push_back(item);
  items.topics = catalogue.topics();
  const size_t digits = std::to_string(options.topics - 1).size();
  for (int64_t topic = 0; topic < options.topics; ++topic) {
    const std::string number = std::to_string(topic);  // padded: names stand in ascending order
    items.topic_names.push_back("topic-" + std::string(digits - number.size(), '0') + number);
  }
  return items;
}

}  // namespace

void write_synthetic_dataset(const SyntheticOptions& options) {
  const Catalogue catalogue(options);
  DatasetWriterOptions format;
  format.directory = options.out;
  format.overwrite = options.overwrite;
  format.actions = {"save", "view"};
  format.surfaces = {"feed", "search"};
  format.vector_width = options.vector_width;
  DatasetWriter writer(format, item_table(options, catalogue));
  if (options.vector_width > 0) write_vectors(options, catalogue, writer);

  std::vector<int64_t> users(static_cast<size_t>(options.users));
  std::iota(users.begin(), users.end(), int64_t{0});
  std::sort(users.begin(), users.end(), [](int64_t a, int64_t b) {
    return std::pair(user_hash(a), a) < std::pair(user_hash(b), b);
  });
  for (const int64_t user : users) writer.add_user(user, make_timeline(options, catalogue, user));
  writer.finish();
}

}  // namespace pinnerformer
