// Streams the cases of this rank once per method and frequency; only scores per user are kept.
#include "trainer/evaluation/evaluation.h"

#include <algorithm>
#include <numeric>

#include "comm/sum_over_ranks.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"
#include "trainer/evaluation/evaluation_cases.h"
#include "trainer/evaluation/evaluation_rows.h"
#include "trainer/evaluation/inference_frequency.h"
#include "trainer/evaluation/retrieval.h"
#include "trainer/evaluation/segment_rows.h"
#include "trainer/evaluation/segment_scores.h"

namespace pinnerformer {
namespace {

// A query of a chunk and the case that it belongs to.
struct ChunkQuery {
  size_t evaluation = 0;
  CaseQuery query;
};

std::vector<ChunkQuery> queries_of_chunk(const std::vector<EvaluationCase>& cases,
                                         InferenceFrequency frequency, int64_t daily_delay_days) {
  std::vector<ChunkQuery> queries;
  for (size_t i = 0; i < cases.size(); ++i) {
    for (CaseQuery& query : queries_of_case(cases[i], frequency, daily_delay_days)) {
      queries.push_back({.evaluation = i, .query = std::move(query)});
    }
  }
  return queries;
}

std::vector<HistoryPrefix> prefixes_of(const std::vector<EvaluationCase>& cases,
                                       std::span<const ChunkQuery> queries) {
  std::vector<HistoryPrefix> prefixes;
  for (const ChunkQuery& query : queries) {
    const EvaluationCase& evaluation = cases[query.evaluation];
    prefixes.push_back({.timeline = evaluation.timeline.get(),
                        .length = query.query.length,
                        .time = query.query.time,
                        .window = evaluation.window});
  }
  return prefixes;
}

// Excludes the same items for every frequency, those of the whole window, so that figures can be
// compared.
std::vector<RetrievalQuery> retrieval_of(const std::vector<EvaluationCase>& cases,
                                         std::span<const ChunkQuery> queries,
                                         const std::vector<int64_t>& vector_counts,
                                         bool exclude_seen) {
  std::vector<RetrievalQuery> result;
  for (size_t i = 0; i < queries.size(); ++i) {
    const EvaluationCase& evaluation = cases[queries[i].evaluation];
    result.push_back({.vectors = vector_counts.empty() ? 1 : vector_counts[i],
                      .targets = queries[i].query.targets,
                      .positives = evaluation.positives,
                      .seen = exclude_seen ? std::span<const int32_t>(evaluation.seen)
                                           : std::span<const int32_t>()});
  }
  return result;
}

// The figures of users: of all their positives, and by segment.
struct UserScores {
  RetrievalScores all;
  SegmentScores by;
  int64_t repeats = 0;  // positives that were removed, on all ranks
};

// Scores all cases of one chunk, in encoder batches of at most `batch` prefixes.
void score_chunk(const std::vector<EvaluationCase>& cases, const std::vector<ChunkQuery>& queries,
                 const EvaluateOptions& options, const Retriever& retriever,
                 RetrievalMethod& method, UserScores& scores) {
  const auto batch =
      static_cast<size_t>(std::clamp<int64_t>(method.most_prefixes(), 1, options.batch_users));
  std::vector<CaseScore> case_scores(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) case_scores[i].user = cases[i].timeline->user;
  scores.by.begin_chunk(cases);
  for (size_t first = 0; first < queries.size(); first += batch) {
    const auto part = std::span(queries).subspan(first, std::min(batch, queries.size() - first));
    const QueryVectors encoded = method.encode(prefixes_of(cases, part));
    const std::vector<RetrievalAnswer> answers = retriever.answer(
        encoded.vectors, retrieval_of(cases, part, encoded.counts, options.exclude_seen),
        kEntropyTop);
    for (size_t i = 0; i < part.size(); ++i) {
      CaseScore& score = case_scores[part[i].evaluation];
      for (const double rank : answers[i].ranks) score.add_rank(rank);
      scores.all.add_list(answers[i].top, score);
      scores.by.add_list(part[i].evaluation, answers[i].ranks, answers[i].top);
    }
  }
  for (const CaseScore& score : case_scores) scores.all.add_case(score);
  scores.by.end_chunk();
}

// The inputs that are the same for all methods.
struct Setting {
  const EvaluationInputs& inputs;
  const PositiveRule rule;
  const std::vector<int64_t> users;  // held out
  const CandidateIndex index;
  const std::vector<int32_t> topics;
  const std::vector<Segmenter> segmenters;
};

EvaluationCases cases_of(const EvaluationInputs& inputs, const std::vector<int64_t>& users,
                         const PositiveRule& rule) {
  return EvaluationCases(inputs.dataset, users, rule, inputs.split,
                         {.rank = inputs.comm.rank(),
                          .size = inputs.comm.size(),
                          .chunk_users = inputs.evaluate.batch_users,
                          .part = inputs.part,
                          .exclude_seen = inputs.evaluate.exclude_seen});
}

UserScores score_users(const Setting& setting, InferenceFrequency frequency,
                       const Retriever& retriever, RetrievalMethod& method) {
  const EvaluationInputs& inputs = setting.inputs;
  UserScores scores{RetrievalScores(setting.index, setting.topics),
                    SegmentScores(setting.segmenters, setting.topics)};
  EvaluationCases reader = cases_of(inputs, setting.users, setting.rule);
  while (const auto cases = reader.next()) {
    const auto queries = queries_of_chunk(*cases, frequency, inputs.evaluate.daily_delay_days);
    score_chunk(*cases, queries, inputs.evaluate, retriever, method, scores);
    if (inputs.progress) {
      inputs.progress({.method = method.name(),
                       .frequency = std::string(enum_name(frequency)),
                       .users_done = reader.users_done(),
                       .users_total = reader.users_total()});
    }
  }
  scores.all.gather(inputs.comm);
  scores.by.gather(inputs.comm);
  scores.repeats =
      sum_over_ranks(reader.repeats(), inputs.comm, "positives of items that users had");
  return scores;
}

void require_index(const Dataset& dataset, int64_t index_items) {
  if (index_items > dataset.items())
    throw DataError("evaluate.index_items = " + std::to_string(index_items) + ": " +
                    dataset.directory() + " has only " + std::to_string(dataset.items()) +
                    " items; choose fewer, or 0 for all of them");
}

// `repeats`: positives that were removed.
[[noreturn]] void throw_no_cases(const EvaluationInputs& inputs, size_t users, int64_t repeats) {
  const SplitOptions& split = inputs.split;
  const bool test = inputs.part == HeldOut::kTest;
  const std::string kind = test ? "evaluation" : "validation";
  const std::string key = test ? "split.users_percent" : "split.validation_percent";
  const int64_t percent = test ? split.users_percent : split.validation_percent;
  throw DataError("nothing to evaluate: of " + std::to_string(users) + " " + kind + " users (" +
                  key + " = " + std::to_string(percent) +
                  ") none has at least split.min_events = " + std::to_string(split.min_events) +
                  " events before a window and a positive in it (" + std::to_string(split.windows) +
                  " windows of " + std::to_string(split.window_days) +
                  " days). Hold out more users, lengthen the window, or widen positives.actions" +
                  (repeats == 0 ? ""
                                : "; " + std::to_string(repeats) +
                                      " positives are of items that the user had before, which "
                                      "evaluate.exclude_seen=false counts"));
}

// The rows of the whole and of its segments.
struct Rows {
  std::vector<EvaluationRow> all;
  SegmentRows by;
};

// One method at one frequency; with several runs means over them.
void add_runs(const Setting& setting, const MethodRuns& method, InferenceFrequency frequency,
              const std::vector<Retriever>& retrievers, Rows& rows, EvaluationResult& result) {
  const EvaluateOptions& options = setting.inputs.evaluate;
  std::vector<RetrievalMetrics> metrics;
  std::vector<std::vector<MetricSums>> users;
  std::vector<SegmentScores> by;
  for (size_t run = 0; run < retrievers.size(); ++run) {
    UserScores scores = score_users(setting, frequency, retrievers[run], *method.runs[run]);
    if (scores.all.cases().empty())
      throw_no_cases(setting.inputs, setting.users.size(), scores.repeats);
    count_cases(scores.all.cases(), result);
    result.excluded_positives = scores.repeats;
    metrics.push_back(scores.all.metrics());
    users.push_back(sums_by_user(scores.all.cases()));
    by.push_back(std::move(scores.by));
  }
  const MethodResult row{.method = method.name,
                         .frequency = frequency,
                         .runs = std::ssize(method.runs),
                         .metrics = {},
                         .settings = method.runs.front()->settings()};
  rows.all.push_back(make_row(row, metrics, users, options.bootstrap, setting.inputs.seed));
  rows.by.add(row, by, options.bootstrap, setting.inputs.seed);
}

void add_method(const Setting& setting, const MethodRuns& method, Rows& rows,
                EvaluationResult& result) {
  std::vector<Retriever> retrievers;
  for (RetrievalMethod* run : method.runs)
    retrievers.emplace_back(run->item_vectors(), setting.index);
  const bool once = leaves_one_out(setting.inputs.split) || !method.runs.front()->depends_on_time();
  const std::vector<InferenceFrequency> frequencies =
      once ? std::vector{InferenceFrequency::kOnce} : setting.inputs.evaluate.frequency;
  for (const InferenceFrequency frequency : frequencies)
    add_runs(setting, method, frequency, retrievers, rows, result);
}

std::vector<Segmenter> segmenters_of(const EvaluationInputs& inputs) {
  std::vector<Segmenter> segmenters;
  for (const SegmentKind kind : inputs.by)
    segmenters.push_back(make_segmenter(
        kind,
        {inputs.dataset, inputs.positives, inputs.split, inputs.evaluate, inputs.seed, inputs.comm},
        inputs.part));
  return segmenters;
}

}  // namespace

EvaluationResult evaluate(const EvaluationInputs& inputs, std::span<const MethodRuns> methods) {
  const Dataset& dataset = inputs.dataset;
  require_index(dataset, inputs.evaluate.index_items);
  const Setting setting{
      .inputs = inputs,
      .rule = PositiveRule(inputs.positives, dataset),
      .users = evaluation_users(dataset, inputs.split, inputs.part),
      .index = CandidateIndex(dataset.items(), inputs.evaluate.index_items, inputs.seed),
      .topics = dataset.has_topics() ? dataset.item_topics() : std::vector<int32_t>(),
      .segmenters = segmenters_of(inputs)};
  EvaluationResult result;
  result.protocol = inputs.split.protocol;
  result.daily_delay_days = inputs.evaluate.daily_delay_days;
  result.index_items = setting.index.size();
  Rows rows{{}, SegmentRows(setting.segmenters)};
  for (const MethodRuns& method : methods) add_method(setting, method, rows, result);
  compare_with_references(rows.all);
  result.results = results_of(std::move(rows.all));
  result.by = std::move(rows.by).results();
  return result;
}

void require_cases(const EvaluationInputs& inputs) {
  require_index(inputs.dataset, inputs.evaluate.index_items);
  const std::vector<int64_t> users = evaluation_users(inputs.dataset, inputs.split, inputs.part);
  EvaluationCases reader = cases_of(inputs, users, PositiveRule(inputs.positives, inputs.dataset));
  bool found = false;
  while (!found) {
    const auto cases = reader.next();
    if (!cases) break;
    found = !cases->empty();
  }
  const torch::Tensor sums = torch::tensor({int64_t{found}, reader.repeats()}, torch::kInt64);
  inputs.comm.all_reduce(sums, "cases to evaluate")->wait();
  if (sums[0].item<int64_t>() == 0) throw_no_cases(inputs, users.size(), sums[1].item<int64_t>());
}

EvaluationResult evaluate(const EvaluationInputs& inputs,
                          std::span<RetrievalMethod* const> methods) {
  std::vector<MethodRuns> single;
  for (RetrievalMethod* method : methods) single.push_back({method->name(), {method}});
  return evaluate(inputs, single);
}

}  // namespace pinnerformer
