// The definitions: docs/operations.md and the comments of EvaluateOptions and SplitOptions.
#include "tests/support/plain_evaluation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>

#include "comm/thread_communicator.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/random.h"
#include "dataloader/base/time_text.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/plain_training.h"
#include "trainer/evaluation/baselines.h"
#include "trainer/evaluation/retrieval.h"

namespace pinnerformer {
namespace {

using Scores = std::vector<double>;  // of all items, by row

struct Window {
  int64_t begin = 0, end = 0;  // seconds; the labels lie in (begin, end]
};

// A held-out user in one window.
struct PlainCase {
  const Timeline* timeline = nullptr;
  int64_t window = 0;
  int64_t time = 0;                    // t
  int64_t length = 0;                  // events of the history
  std::map<int32_t, int64_t> answers;  // positive item -> its first positive event in the window
  [[nodiscard]] std::set<int32_t> seen() const {
    return {timeline->item.begin(), timeline->item.begin() + length};
  }
};

// The vector that ranks a positive: it has read `length` events and is made at `time`.
struct Reading {
  int64_t length = 0;
  int64_t time = 0;
  auto operator<=>(const Reading&) const = default;
};

// The scores of all items for a user's first events.
using Scorer = std::function<Scores(const PlainCase&, const Reading&)>;

struct PlainMethod {
  std::string name;
  bool changes;  // within a window
  Scorer score;
};

// The figures of one user, over all windows.
struct UserSums {
  double positives = 0, hits_at_10 = 0, hits_at_50 = 0, gain = 0;
};

class PlainEvaluator {
 public:
  PlainEvaluator(LoadedModel& model, const RunConfig& config)
      : model_(model),
        dataset_(model.dataset()),
        config_(config),
        index_(dataset_.items(), config.evaluate.index_items, config.run.seed) {
    for (int64_t user = 0; user < dataset_.users(); ++user)
      timelines_.push_back(dataset_.timeline(user));
    RunConfig repeats = config;
    repeats.positives.first_only = false;
    mark_with_repeats_ = plain_training_data(dataset_, repeats).positives;
    find_cases();
  }

  [[nodiscard]] PlainEvaluation evaluate() {
    PlainEvaluation result;
    std::set<int64_t> users;
    int64_t positives = 0;
    for (const PlainCase& one : cases_) {
      users.insert(one.timeline->user);
      positives += std::ssize(one.answers);
    }
    result.counts = {{"users", std::ssize(users)},
                     {"user_windows", std::ssize(cases_)},
                     {"positives", positives},
                     {"excluded_positives", static_cast<int64_t>(excluded_)},
                     {"index_items", index_.size()}};
    for (const PlainMethod& method : methods()) {
      const bool once = leaves_one_out() || !method.changes;
      for (const InferenceFrequency frequency :
           once ? std::vector{InferenceFrequency::kOnce} : config_.evaluate.frequency)
        result.results.push_back(
            {method.name, std::string(enum_name(frequency)), figures(method, frequency)});
    }
    return result;
  }

 private:
  [[nodiscard]] bool leaves_one_out() const {
    return config_.split.protocol == SplitProtocol::kLeaveOneOut;
  }
  [[nodiscard]] std::vector<Window> windows() const {
    const SplitOptions& split = config_.split;
    const int64_t end = split.end.empty() ? dataset_.last_time() : parse_utc(split.end).value();
    const auto length = static_cast<int64_t>(split.window_days * kDay);
    std::vector<Window> windows;
    for (int64_t left = split.windows; left > 0; --left)
      windows.push_back({end - left * length, end - (left - 1) * length});
    return windows;
  }

  void find_cases() {
    const MarkPositives mark = plain_training_data(dataset_, config_).positives;
    for (const Timeline& timeline : timelines_) {
      if (dataset_.user_hash(timeline.user) % 100 >=
          static_cast<uint64_t>(config_.split.users_percent))
        continue;
      const std::vector<uint8_t> marks = mark(timeline);
      if (leaves_one_out()) {
        add_last_event(timeline, marks);
      } else {
        add_windows(timeline, marks);
      }
    }
  }
  void add_last_event(const Timeline& timeline, const std::vector<uint8_t>& marks) {
    const int64_t last = timeline.size() - 1;
    if (last < config_.split.min_events || marks.back() == 0) return;
    PlainCase one{&timeline, 0, timeline.time[static_cast<size_t>(last - 1)], last, {}};
    one.answers[timeline.item.back()] = last;
    add_case(one);
  }
  void add_windows(const Timeline& timeline, const std::vector<uint8_t>& marks) {
    int64_t number = 0;
    for (const Window& window : windows()) {
      PlainCase one{&timeline, number++, window.begin, events_until(timeline, window.begin), {}};
      for (int64_t event = one.length; event < events_until(timeline, window.end); ++event)
        if (marks[static_cast<size_t>(event)] != 0)
          one.answers.try_emplace(timeline.item[static_cast<size_t>(event)], event);
      if (one.length >= config_.split.min_events) add_case(one);
    }
  }
  // No list can hold an item that is excluded.
  void add_case(PlainCase one) {
    const std::set<int32_t> seen = one.seen();
    if (config_.evaluate.exclude_seen)
      excluded_ += std::erase_if(one.answers,
                                 [&](const auto& answer) { return seen.contains(answer.first); });
    if (!one.answers.empty()) cases_.push_back(one);
  }
  static int64_t events_until(const Timeline& timeline, int64_t time) {
    return std::ranges::count_if(timeline.time, [&](int64_t at) { return at <= time; });
  }

  // The vector that ranks the positive of this event.
  [[nodiscard]] Reading reading_of(const PlainCase& one, int64_t event,
                                   InferenceFrequency frequency) const {
    const std::vector<int64_t>& times = one.timeline->time;
    const int64_t at = times[static_cast<size_t>(event)];
    if (frequency == InferenceFrequency::kDaily) {
      int64_t made = one.time;
      while (made + kDay < at) made += kDay;
      made = std::max(made - config_.evaluate.daily_delay_days * kDay, times.front());
      return {events_until(*one.timeline, made), made};
    }
    if (frequency == InferenceFrequency::kRealtime) {
      const int64_t earlier = events_until(*one.timeline, at - 1);
      const int64_t newest = earlier > 0 ? times[static_cast<size_t>(earlier - 1)] : one.time;
      return {earlier, std::max(one.time, newest)};
    }
    return {one.length, one.time};
  }

  [[nodiscard]] std::map<std::string, double> figures(const PlainMethod& method,
                                                      InferenceFrequency frequency) const {
    std::map<int64_t, UserSums> users;
    std::map<int32_t, double> appearances;
    for (const PlainCase& one : cases_) {
      UserSums& sums = users[one.timeline->user];
      std::map<Reading, Scores> scores;
      for (const auto& [item, event] : one.answers) {
        const Reading reading = reading_of(one, event, frequency);
        const auto [entry, is_new] = scores.try_emplace(reading);
        if (is_new) {
          entry->second = method.score(one, reading);
          for (const int32_t listed : best_ten(one, entry->second)) appearances[listed] += 1;
        }
        add_rank(rank_of(item, one, entry->second), sums);
      }
    }
    std::vector<UserSums> all;
    for (const auto& [user, sums] : users) all.push_back(sums);
    std::map<std::string, double> result = metrics_of(all);
    result["p90_coverage@10"] = coverage(appearances);
    add_standard_error(all, result);
    return result;
  }

  // Candidates that rank against a positive, or that the list may hold.
  [[nodiscard]] std::vector<int32_t> candidates(const PlainCase& one) const {
    std::vector<int32_t> items = index_.items();
    const std::set<int32_t> seen = one.seen();
    if (config_.evaluate.exclude_seen)
      std::erase_if(items, [&](int32_t item) { return seen.count(item) > 0; });
    return items;
  }
  [[nodiscard]] double rank_of(int32_t target, const PlainCase& one, const Scores& scores) const {
    const double score = scores[static_cast<size_t>(target)];
    double rank = 0;
    for (const int32_t item : candidates(one)) {
      const double other = scores[static_cast<size_t>(item)];
      if (one.answers.count(item) > 0) continue;
      rank += other > score ? 1 : other == score ? 0.5 : 0;
    }
    return rank;
  }
  [[nodiscard]] std::vector<int32_t> best_ten(const PlainCase& one, const Scores& scores) const {
    std::vector<int32_t> items = candidates(one);
    std::ranges::stable_sort(items, std::greater{},
                             [&](int32_t item) { return scores[static_cast<size_t>(item)]; });
    items.resize(std::min<size_t>(items.size(), 10));
    return items;
  }
  static void add_rank(double rank, UserSums& sums) {
    sums.positives += 1;
    sums.hits_at_10 += rank < 10 ? 1 : 0;
    sums.hits_at_50 += rank < 50 ? 1 : 0;
    sums.gain += rank < 10 ? 1 / std::log2(rank + 2) : 0;
  }
  static std::map<std::string, double> metrics_of(const std::vector<UserSums>& users) {
    UserSums total;
    double per_user = 0;
    for (const UserSums& user : users) {
      total.positives += user.positives;
      total.hits_at_10 += user.hits_at_10;
      total.hits_at_50 += user.hits_at_50;
      total.gain += user.gain;
      per_user += user.hits_at_10 / user.positives;
    }
    return {{"recall@10", total.hits_at_10 / total.positives},
            {"recall@50", total.hits_at_50 / total.positives},
            {"recall@10_per_user", per_user / static_cast<double>(users.size())},
            {"ndcg@10", total.gain / total.positives}};
  }
  // The smallest share of the index that makes up 90 % of the places in the lists.
  [[nodiscard]] double coverage(const std::map<int32_t, double>& appearances) const {
    std::vector<double> counts;
    for (const auto& [item, count] : appearances) counts.push_back(count);
    std::ranges::sort(counts, std::greater{});
    const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
    double covered = 0;
    int64_t items = 0;
    while (10 * covered < 9 * total) covered += counts[static_cast<size_t>(items++)];
    return static_cast<double>(items) / static_cast<double>(index_.size());
  }
  // Of recall@10: the spread over samples of as many users, with replacement.
  void add_standard_error(const std::vector<UserSums>& users,
                          std::map<std::string, double>& result) const {
    const int64_t resamples = config_.evaluate.bootstrap;
    if (resamples < 2) return;
    std::vector<double> values;
    for (int64_t sample = 0; sample < resamples; ++sample) {
      KeyedRandom random(RandomStream::kEvaluation, {config_.run.seed, sample});
      std::vector<UserSums> drawn;
      for (size_t i = 0; i < users.size(); ++i)
        drawn.push_back(users[static_cast<size_t>(random.below(std::ssize(users)))]);
      values.push_back(metrics_of(drawn).at("recall@10"));
    }
    const auto count = static_cast<double>(resamples);
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    result["stderr"] = std::sqrt(squares / (count - 1));
  }

  [[nodiscard]] std::vector<PlainMethod> methods() const {
    std::vector<PlainMethod> methods = {{"model", true, model_scorer()}};
    for (const Baseline baseline : config_.evaluate.baselines)
      methods.push_back({std::string(enum_name(baseline)),
                         baseline != Baseline::kRandom && baseline != Baseline::kPopularity,
                         baseline_scorer(baseline)});
    return methods;
  }
  [[nodiscard]] Scorer baseline_scorer(Baseline baseline) const {
    switch (baseline) {
      case Baseline::kRandom:
        return random_scorer();
      case Baseline::kPopularity:
        return [this](const PlainCase& one, const Reading&) { return popularity(one); };
      case Baseline::kPersonalPopularity:
        return [this](const PlainCase& one, const Reading& reading) {
          return personal_popularity(one, reading.length);
        };
      case Baseline::kMeanOfLast:
        return [this](const PlainCase& one, const Reading& reading) {
          return mean_of_last(one, reading.length);
        };
      case Baseline::kMarkov:
      case Baseline::kItemToItem:
      case Baseline::kEase:
        return neighbour_scorer(baseline);
      default:
        throw std::logic_error("evaluate_plainly does not know this baseline");
    }
  }
  static Scores products(const torch::Tensor& items, const torch::Tensor& user) {
    const torch::Tensor scores = items.matmul(user.flatten()).to(torch::kFloat64).contiguous();
    return {scores.const_data_ptr<double>(), scores.const_data_ptr<double>() + scores.numel()};
  }
  [[nodiscard]] Scorer model_scorer() const {
    return [this, items = model_.item_vectors()](const PlainCase& one, const Reading& reading) {
      return products(
          items, model_.user_vectors({{one.timeline, reading.length, reading.time, one.window}}));
    };
  }
  [[nodiscard]] Scorer random_scorer() const {
    const auto method = std::make_shared<RandomBaseline>(dataset_.items(), config_.run.seed);
    return [method, items = method->item_vectors()](const PlainCase& one, const Reading& reading) {
      return products(items,
                      method->encode({{one.timeline, reading.length, reading.time}}).vectors);
    };
  }

  // Of baselines that have plain references in tests of their own: here only their options count.
  [[nodiscard]] Scorer neighbour_scorer(Baseline baseline) const {
    const std::shared_ptr<Communicator> comm = make_single_communicator();
    const std::shared_ptr<RetrievalMethod> method = make_baseline(
        baseline,
        {dataset_, config_.positives, config_.split, config_.evaluate, config_.run.seed, *comm});
    static_cast<void>(method->item_vectors());
    return [comm, method](const PlainCase& one, const Reading& reading) {
      const torch::Tensor scores = method->encode({{one.timeline, reading.length, reading.time}})
                                       .vectors.to(torch::kFloat64);
      return Scores(scores.const_data_ptr<double>(),
                    scores.const_data_ptr<double>() + scores.numel());
    };
  }

  // Positive events of all users in the days before the window, repeats included.
  [[nodiscard]] Scores popularity(const PlainCase& one) const {
    const double days = config_.evaluate.popularity_days > 0 ? config_.evaluate.popularity_days
                                                             : config_.split.window_days;
    const int64_t end = leaves_one_out() ? dataset_.last_time() : one.time;
    const int64_t begin =
        leaves_one_out() ? dataset_.first_time() - 1 : end - static_cast<int64_t>(days * kDay);
    const size_t left_out = leaves_one_out() ? 1 : 0;
    Scores counts(static_cast<size_t>(dataset_.items()), 0);
    for (const Timeline& timeline : timelines_) {
      const std::vector<uint8_t> marks = mark_with_repeats_(timeline);
      for (size_t event = 0; event + left_out < marks.size(); ++event)
        if (timeline.time[event] > begin && timeline.time[event] <= end)
          counts[static_cast<size_t>(timeline.item[event])] += marks[event];
    }
    return counts;
  }
  [[nodiscard]] Scores personal_popularity(const PlainCase& one, int64_t length) const {
    const std::vector<uint8_t> marks = mark_with_repeats_(*one.timeline);
    Scores counts(static_cast<size_t>(dataset_.items()), 0);
    for (size_t event = 0; event < static_cast<size_t>(length); ++event)
      counts[static_cast<size_t>(one.timeline->item[event])] += marks[event];
    return counts;
  }
  [[nodiscard]] Scores mean_of_last(const PlainCase& one, int64_t length) const {
    const torch::Tensor vectors = dataset_.item_vectors().to(torch::kFloat64);
    const torch::Tensor unit = vectors / vectors.norm(2, 1, /*keepdim=*/true);
    torch::Tensor sum = torch::zeros({vectors.size(1)}, torch::kFloat64);
    const int64_t first = std::max<int64_t>(0, length - config_.evaluate.mean_last);
    for (int64_t event = first; event < length; ++event)
      sum += unit[one.timeline->item[static_cast<size_t>(event)]];
    return products(unit, sum);
  }

  LoadedModel& model_;
  const Dataset& dataset_;
  const RunConfig& config_;
  CandidateIndex index_;
  std::vector<Timeline> timelines_;  // of all users
  MarkPositives mark_with_repeats_;
  std::vector<PlainCase> cases_;
  size_t excluded_ = 0;  // positives that no list can hold
};

}  // namespace

PlainEvaluation evaluate_plainly(LoadedModel& model, const RunConfig& config) {
  return PlainEvaluator(model, config).evaluate();
}

}  // namespace pinnerformer
