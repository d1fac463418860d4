// Streams the cases of this rank once per method and frequency; only scores per user are kept.
#include "trainer/evaluation/evaluation.h"

#include <algorithm>
#include <numeric>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"
#include "trainer/evaluation/evaluation_cases.h"
#include "trainer/evaluation/inference_frequency.h"
#include "trainer/evaluation/retrieval.h"

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

// Scores all cases of one chunk, in encoder batches of at most `batch` prefixes.
void score_chunk(const std::vector<EvaluationCase>& cases, const std::vector<ChunkQuery>& queries,
                 const EvaluateOptions& options, const Retriever& retriever,
                 RetrievalMethod& method, RetrievalScores& scores) {
  const auto batch = static_cast<size_t>(options.batch_users);
  std::vector<CaseScore> case_scores(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) case_scores[i].user = cases[i].timeline->user;
  for (size_t first = 0; first < queries.size(); first += batch) {
    const auto part = std::span(queries).subspan(first, std::min(batch, queries.size() - first));
    const QueryVectors encoded = method.encode(prefixes_of(cases, part));
    const std::vector<RetrievalAnswer> answers = retriever.answer(
        encoded.vectors, retrieval_of(cases, part, encoded.counts, options.exclude_seen),
        kEntropyTop);
    for (size_t i = 0; i < part.size(); ++i) {
      CaseScore& score = case_scores[part[i].evaluation];
      for (const double rank : answers[i].ranks) score.add_rank(rank);
      scores.add_list(answers[i].top, score);
    }
  }
  for (const CaseScore& score : case_scores) scores.add_case(score);
}

// The inputs that are the same for all methods.
struct Setting {
  const EvaluationInputs& inputs;
  const PositiveRule rule;
  const std::vector<int64_t> users;  // held out
  const CandidateIndex index;
  const std::vector<int32_t> topics;
};

RetrievalScores score_users(const Setting& setting, InferenceFrequency frequency,
                            const Retriever& retriever, RetrievalMethod& method) {
  const EvaluationInputs& inputs = setting.inputs;
  RetrievalScores scores(setting.index, setting.topics);
  const int64_t batch = inputs.evaluate.batch_users;
  EvaluationCases reader(inputs.dataset, setting.users, setting.rule, inputs.split,
                         {.rank = inputs.comm.rank(),
                          .size = inputs.comm.size(),
                          .chunk_users = batch,
                          .part = inputs.part});
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
  scores.gather(inputs.comm);
  return scores;
}

void count_cases(const std::vector<CaseScore>& cases, EvaluationResult& result) {
  result.users = 0;
  result.positives = 0;
  result.user_windows = static_cast<int64_t>(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    result.users += i == 0 || cases[i].user != cases[i - 1].user ? 1 : 0;
    result.positives += cases[i].positives;
  }
}

void require_index(const Dataset& dataset, int64_t index_items) {
  if (index_items > dataset.items())
    throw DataError("evaluate.index_items = " + std::to_string(index_items) + ": " +
                    dataset.directory() + " has only " + std::to_string(dataset.items()) +
                    " items; choose fewer, or 0 for all of them");
}

[[noreturn]] void throw_no_cases(const Setting& setting) {
  const SplitOptions& split = setting.inputs.split;
  const bool test = setting.inputs.part == HeldOut::kTest;
  const std::string kind = test ? "evaluation" : "validation";
  const std::string key = test ? "split.users_percent" : "split.validation_percent";
  const int64_t percent = test ? split.users_percent : split.validation_percent;
  throw DataError("nothing to evaluate: of " + std::to_string(setting.users.size()) + " " + kind +
                  " users (" + key + " = " + std::to_string(percent) +
                  ") none has at least split.min_events = " + std::to_string(split.min_events) +
                  " events before a window and a positive in it (" + std::to_string(split.windows) +
                  " windows of " + std::to_string(split.window_days) +
                  " days). Hold out more users, lengthen the window, or widen positives.actions");
}

// A row of the result with the resamples it is compared by.
struct Row {
  MethodResult result;
  std::vector<RetrievalMetrics> samples;
};

// One method at one frequency; with several runs means over them.
Row evaluate_runs(const Setting& setting, const MethodRuns& method, InferenceFrequency frequency,
                  const std::vector<Retriever>& retrievers, EvaluationResult& result) {
  const EvaluationInputs& inputs = setting.inputs;
  std::vector<RetrievalMetrics> metrics;
  std::vector<std::vector<MetricSums>> users;
  for (size_t run = 0; run < retrievers.size(); ++run) {
    const RetrievalScores scores =
        score_users(setting, frequency, retrievers[run], *method.runs[run]);
    if (scores.cases().empty()) throw_no_cases(setting);
    count_cases(scores.cases(), result);
    metrics.push_back(scores.metrics());
    users.push_back(sums_by_user(scores.cases()));
  }
  Row row{.result = {.method = method.name,
                     .frequency = frequency,
                     .runs = std::ssize(method.runs),
                     .metrics = mean_of(metrics),
                     .settings = method.runs.front()->settings()},
          .samples = resample(users, inputs.evaluate.bootstrap, inputs.seed)};
  row.result.standard_errors = spread(row.samples);
  for (size_t i = 0; i < kMetricNames.size(); ++i)
    row.result.intervals[i] = interval_95(row.samples, kMetricNames[i].metric);
  return row;
}

void add_method(const Setting& setting, const MethodRuns& method, std::vector<Row>& rows,
                EvaluationResult& result) {
  std::vector<Retriever> retrievers;
  for (RetrievalMethod* run : method.runs)
    retrievers.emplace_back(run->item_vectors(), setting.index);
  const bool once = leaves_one_out(setting.inputs.split) || !method.runs.front()->depends_on_time();
  const std::vector<InferenceFrequency> frequencies =
      once ? std::vector{InferenceFrequency::kOnce} : setting.inputs.evaluate.frequency;
  for (const InferenceFrequency frequency : frequencies)
    rows.push_back(evaluate_runs(setting, method, frequency, retrievers, result));
}

// The first row, or another one of the first method at the frequency of a row of another.
const Row& reference_of(const std::vector<Row>& rows, const Row& row) {
  const std::string& first = rows.front().result.method;
  if (row.result.method != first)
    for (const Row& other : rows)
      if (other.result.method == first && other.result.frequency == row.result.frequency)
        return other;
  return rows.front();
}

void compare_with_references(std::vector<Row>& rows) {
  for (Row& row : rows) {
    const Row& reference = reference_of(rows, row);
    if (&reference == &row) continue;
    row.result.reference = reference.result.method;
    row.result.reference_frequency = reference.result.frequency;
    for (size_t i = 0; i < kMetricNames.size(); ++i)
      row.result.differences[i] =
          difference(row.result.metrics, row.samples, reference.result.metrics, reference.samples,
                     kMetricNames[i].metric);
  }
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
      .topics = dataset.has_topics() ? dataset.item_topics() : std::vector<int32_t>()};
  EvaluationResult result;
  result.protocol = inputs.split.protocol;
  result.daily_delay_days = inputs.evaluate.daily_delay_days;
  result.index_items = setting.index.size();
  std::vector<Row> rows;
  for (const MethodRuns& method : methods) add_method(setting, method, rows, result);
  compare_with_references(rows);
  for (Row& row : rows) result.results.push_back(std::move(row.result));
  return result;
}

EvaluationResult evaluate(const EvaluationInputs& inputs,
                          std::span<RetrievalMethod* const> methods) {
  std::vector<MethodRuns> single;
  for (RetrievalMethod* method : methods) single.push_back({method->name(), {method}});
  return evaluate(inputs, single);
}

}  // namespace pinnerformer
