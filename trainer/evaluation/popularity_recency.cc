// The weight is a coordinate of the query vector, so that one matrix product serves every weight.
#include "trainer/evaluation/popularity_recency.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "trainer/evaluation/content_vectors.h"
#include "trainer/evaluation/popularity_counts.h"
#include "trainer/evaluation/training_part.h"

namespace pinnerformer {
namespace {

constexpr std::array<double, 12> kWeights = {0, .01, .02, .03, .05, .07, .1, .15, .2, .3, .5, 1};
constexpr int64_t kMostWeightUsers = 2000;
constexpr size_t kCasesAtOnce = 64;

// The first training users, which are a random sample: users are in the order of their hashes.
std::vector<int64_t> weight_users(const Dataset& dataset, const SplitOptions& split) {
  std::vector<int64_t> users;
  for (int64_t user = 0; user < dataset.users() && std::ssize(users) < kMostWeightUsers; ++user)
    if (is_training_user(dataset.user_hash(user), split)) users.push_back(user);
  return users;
}

}  // namespace

PopularityRecencyBaseline::PopularityRecencyBaseline(const BaselineInputs& inputs)
    : inputs_(inputs),
      rule_(inputs.positives, inputs.dataset),
      vectors_(content_vectors(inputs.dataset, "popularity_recency")) {}

torch::Tensor PopularityRecencyBaseline::log_counts(const std::vector<EvaluationWindow>& windows,
                                                    int64_t leave_out) const {
  return count_popularity(inputs_, popularity_spans(inputs_, windows), leave_out)
      .to(torch::kFloat32)
      .log1p();
}

// The window that ends where training ends.
EvaluationWindow PopularityRecencyBaseline::earlier_window() const {
  const int64_t end = training_end(inputs_.dataset, inputs_.split);
  return {.begin = end - std::llround(inputs_.split.window_days * 86400), .end = end};
}

std::vector<EvaluationCase> PopularityRecencyBaseline::earlier_cases() const {
  const std::vector<int64_t> users = weight_users(inputs_.dataset, inputs_.split);
  const auto rank = static_cast<size_t>(inputs_.comm.rank());
  const auto size = static_cast<size_t>(inputs_.comm.size());
  const int64_t least = inputs_.split.min_events;
  std::vector<EvaluationCase> cases;
  for (size_t i = users.size() * rank / size; i < users.size() * (rank + 1) / size; ++i) {
    const auto timeline = std::make_shared<const Timeline>(inputs_.dataset.timeline(users[i]));
    std::vector<EvaluationCase> found =
        leaves_one_out(inputs_.split)
            ? leave_one_out_case(timeline, rule_, least, left_out_events(inputs_.split))
            : cases_of_user(timeline, rule_, {earlier_window()}, least);
    if (inputs_.evaluate.exclude_seen) remove_repeats(found);
    std::move(found.begin(), found.end(), std::back_inserter(cases));
  }
  return cases;
}

// Hits within 10 under each weight, then the positives; int64 [weights + 1].
torch::Tensor PopularityRecencyBaseline::hits_by_weight(std::span<const EvaluationCase> cases,
                                                        const Retriever& retriever) const {
  torch::Tensor hits = torch::zeros({std::ssize(kWeights) + 1}, torch::kInt64);
  std::vector<HistoryPrefix> prefixes;
  std::vector<RetrievalQuery> queries;
  for (const EvaluationCase& one : cases) {
    prefixes.push_back({.timeline = one.timeline.get(), .length = one.length, .time = one.time});
    queries.push_back({.targets = one.positives, .positives = one.positives, .seen = {}});
    if (inputs_.evaluate.exclude_seen) queries.back().seen = one.seen;
    hits[-1] += std::ssize(one.positives);
  }
  const torch::Tensor means = mean_of_last(vectors_, prefixes, inputs_.evaluate.mean_last);
  for (size_t w = 0; w < kWeights.size(); ++w) {
    const torch::Tensor weight = torch::full({means.size(0), 1}, kWeights[w], torch::kFloat32);
    const auto answers = retriever.answer(torch::cat({means, weight}, 1), queries, /*top_k=*/1);
    for (const RetrievalAnswer& answer : answers)
      hits[static_cast<int64_t>(w)] +=
          std::count_if(answer.ranks.begin(), answer.ranks.end(), [](double r) { return r < 10; });
  }
  return hits;
}

void PopularityRecencyBaseline::choose_weight() {
  const CandidateIndex index(inputs_.dataset.items(), inputs_.evaluate.index_items, inputs_.seed);
  // Under leave_one_out the case itself is the last event that training sees.
  const int64_t leave_out = leaves_one_out(inputs_.split) ? left_out_events(inputs_.split) + 1 : 0;
  const torch::Tensor counts = log_counts({earlier_window()}, leave_out);
  const Retriever retriever(torch::cat({vectors_, counts}, 1), index);
  const std::vector<EvaluationCase> cases = earlier_cases();
  torch::Tensor hits = torch::zeros({std::ssize(kWeights) + 1}, torch::kInt64);
  for (size_t first = 0; first < cases.size(); first += kCasesAtOnce) {
    const auto count = std::min(kCasesAtOnce, cases.size() - first);
    hits += hits_by_weight(std::span(cases).subspan(first, count), retriever);
  }
  inputs_.comm.all_reduce(hits, "hits by weight of popularity")->wait();
  chosen_on_ = hits[-1].item<int64_t>();
  // The first of the best: the smallest weight.
  const int64_t* hit = hits.const_data_ptr<int64_t>();
  weight_ = kWeights[static_cast<size_t>(std::max_element(hit, hit + kWeights.size()) - hit)];
}

torch::Tensor PopularityRecencyBaseline::item_vectors() {
  choose_weight();
  const std::vector<EvaluationWindow> windows =
      evaluation_windows(evaluation_start(inputs_.dataset, inputs_.split), inputs_.split);
  const torch::Tensor counts = log_counts(windows, left_out_events(inputs_.split));
  windows_ = counts.size(1);
  return torch::cat({vectors_, counts}, 1);
}

QueryVectors PopularityRecencyBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  torch::Tensor weights = torch::zeros({std::ssize(prefixes), windows_});
  for (size_t i = 0; i < prefixes.size(); ++i)
    weights[static_cast<int64_t>(i)][prefixes[i].window] = weight_;
  const torch::Tensor means = mean_of_last(vectors_, prefixes, inputs_.evaluate.mean_last);
  return {.vectors = torch::cat({means, weights}, 1), .counts = {}};
}

}  // namespace pinnerformer
