#include "launch/serving/embedding_job.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <vector>

#include "comm/rows/row_transport.h"
#include "comm/work_on_root.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/slice.h"
#include "dataloader/base/time_text.h"

namespace pinnerformer {
namespace {

constexpr const char* kUserSet = "/user";
constexpr const char* kItemSet = "/item";
constexpr int64_t kItemsAtOnce = 4096;

// Each rank examines its slice of the users.
RowSet active_users(const Dataset& dataset, std::optional<int64_t> since, Communicator& control) {
  constexpr int64_t kUsersAtOnce = 4096;
  RowSet active(dataset.users());
  const Slice mine = rank_slice(dataset.users(), control.rank(), control.size());
  for (int64_t first = mine.first; first < mine.first + mine.count; first += kUsersAtOnce) {
    const int64_t count = std::min(kUsersAtOnce, mine.first + mine.count - first);
    std::vector<int64_t> newest;
    if (since) newest = dataset.newest_times(first, count);
    for (int64_t i = 0; i < count; ++i) {
      const bool chosen =
          since ? newest[static_cast<size_t>(i)] >= *since : dataset.timeline_length(first + i) > 0;
      if (chosen) active.add(first + i);
    }
  }
  // No two ranks set the same bit: the sum of the words is their union.
  std::vector<uint64_t>& words = active.words();
  const torch::Tensor bits = torch::from_blob(words.data(), {std::ssize(words)}, torch::kInt64);
  control.all_reduce(bits, "active users")->wait();
  return active;
}

// Rows [0, total) in blocks of `at_once`, assigned to the ranks in turn.
struct BlockWork {
  int64_t total = 0;
  int64_t at_once = 1;
  int64_t width = 0;  // D
  // Vectors [count, D] of one block of this rank's; called for ascending blocks.
  std::function<torch::Tensor(int64_t first, int64_t count)> compute;
  // Gets the vectors of one block of every rank, on the coordinator, in the order of rows.
  std::function<void(int64_t first, const torch::Tensor& vectors)> take;
};

void compute_on_all_ranks(Communicator& control, const std::string& name, const BlockWork& work) {
  const int64_t round = control.size() * work.at_once;
  for (int64_t first = 0; first < work.total; first += round) {
    std::vector<int64_t> counts;
    for (int64_t rank = 0; rank < control.size(); ++rank)
      counts.push_back(
          std::clamp<int64_t>(work.total - first - rank * work.at_once, 0, work.at_once));
    const int64_t mine = counts[static_cast<size_t>(control.rank())];
    const torch::Tensor vectors = mine > 0
                                      ? work.compute(first + control.rank() * work.at_once, mine)
                                      : torch::empty({0, work.width});
    const torch::Tensor all = gather_on_coordinator(vectors, counts, control, name);
    if (all.defined()) work.take(first, all);
  }
}

// Calls `write` for the blocks of this rank's slice of [0, total). Ranks wait for each other after
// every block: a rank that fails ends the others at once, and none waits longer than for a block.
void in_rounds(Communicator& control, const std::string& name, int64_t total, int64_t at_once,
               const Slice& mine, const std::function<void(int64_t first, int64_t count)>& write) {
  const std::vector<int64_t> counts = slice_counts(total, control.size());
  const int64_t most = *std::ranges::max_element(counts);
  for (int64_t done = 0; done < most; done += at_once) {
    if (done < mine.count) write(mine.first + done, std::min(at_once, mine.count - done));
    control.barrier(name);
  }
}

// The row of number `n` of the set, ascending; the number of rows where it has fewer.
int64_t nth_row(const RowSet& set, int64_t n) {
  int64_t row = set.next(0);
  for (; n > 0 && row < set.rows(); --n) row = set.next(row + 1);
  return row;
}

void require_no_states(const std::string& merged) {
  if (!H5File::open(merged).has(std::string(kStateSet) + "/id")) return;
  throw DataError(
      "--merge " + merged +
      ": the file has states, which would be lost. Give --continue in place of --merge");
}

// What model.prior_days counts has to be in the dataset of a --continue, too.
void require_counted_days(const LoadedModel& run) {
  constexpr int64_t kDay = 86400;
  const std::vector<int64_t>& windows = run.config().model.prior_days;
  if (windows.empty() || run.is_training_data()) return;
  const Dataset& dataset = run.dataset();
  const int64_t longest = *std::ranges::max_element(windows);
  const int64_t seconds = dataset.last_time() - dataset.first_time();
  if (seconds > (longest - 1) * kDay) return;
  throw DataError(dataset.directory() + " holds the events of " +
                  std::to_string(seconds / kDay + 1) +
                  " days; model.prior_days counts how often items were a positive in the last " +
                  std::to_string(longest) +
                  ": expected events of all users of at least so many "
                  "days. --continue reads of each user only what is newer than their state");
}

}  // namespace

EmbeddingJob::EmbeddingJob(const EmbeddingRequest& request, LoadedModel& run,
                           const Session& session)
    : request_(request),
      run_(run),
      control_(*session.ranks().control),
      coordinator_(session.coordinator()),
      width_(run.dimensions()),
      user_width_(run.user_width()),
      state_width_(request.states ? stored_state_width(run.model()) : 0),
      active_(request.users ? active_users(run.dataset(), request.active_since, control_)
                            : RowSet(0)) {
  counts_.embedded_users = active_.count();
  if (request.users && request.merge.empty() && counts_.embedded_users == 0) refuse_no_users();
}

// An empty file must not replace one that is in use. Every rank counts the same and throws.
void EmbeddingJob::refuse_no_users() const {
  throw DataError(
      "no user of " + run_.config().data.path + " has an event" +
      (request_.active_since ? " at or after " + utc_text(*request_.active_since) : "") + ": " +
      request_.out + " was not written. Choose an earlier --active-since, or " +
      "another dataset with data.path=DIR");
}

EmbeddingCounts EmbeddingJob::write_file() {
  if (request_.go_on) {
    require_counted_days(run_);
    stored_states_.emplace(request_.merge, state_width_);
    require_version(stored_states_->version(), request_.merge, run_.version(), run_.path());
  }
  if (coordinator_) open_files();
  if (request_.items) compute_items();
  if (request_.users) compute_users();
  if (!request_.merge.empty())
    work_on_root(control_, "copied users", [&](const auto& goes_on) { copy_other_users(goes_on); });
  if (writer_) writer_->publish();
  return counts_;
}

void EmbeddingJob::open_files() {
  if (!request_.merge.empty()) {
    merged_.emplace(request_.merge, kUserSet);
    require_version(merged_->version(), request_.merge, run_.version(), run_.path());
    require_width(*merged_, user_width_);
    require_topic(*merged_, run_.source().topic);
    if (!request_.states) require_no_states(request_.merge);
    std::cerr << checksum_note(*merged_);
  }
  std::vector<EmbeddingFileShape> sets;
  if (request_.users) {
    for (EmbeddingMerge walk = merge(); walk.next();) ++counts_.users;
    sets.push_back(user_set(kUserSet, user_width_, request_.type));
    if (request_.states) sets.push_back(user_set(kStateSet, state_width_, ElementType::kFloat32));
  }
  if (request_.items) {
    counts_.items = run_.dataset().items();
    sets.push_back(item_set({0, counts_.items}));
  }
  writer_ = make_vector_writer(request_.format, request_.out, run_.version(), sets, run_.source());
}

EmbeddingMerge EmbeddingJob::merge() const {
  return {run_.dataset(), active_, merged_ ? &*merged_ : nullptr};
}

EmbeddingFileShape EmbeddingJob::user_set(const char* group, int64_t width,
                                          ElementType type) const {
  const bool integers = run_.dataset().user_ids_are_integers();
  return {group,
          counts_.users,
          width,
          integers,
          [walk = merge(), integers](int64_t count) mutable {
            IdColumn ids(integers);
            while (ids.size() < count && walk.next()) walk.append_id(&ids);
            return ids;
          },
          type};
}

EmbeddingFileShape EmbeddingJob::item_set(const Slice& rows) const {
  const Dataset& dataset = run_.dataset();
  const bool integers = dataset.item_ids_are_integers();
  return {kItemSet,
          rows.count,
          width_,
          integers,
          [&dataset, integers, item = rows.first](int64_t count) mutable {
            IdColumn ids(integers);
            while (ids.size() < count) dataset.append_item_id(item++, &ids);
            return ids;
          },
          request_.type};
}

EmbeddingFileShape EmbeddingJob::shard_user_set(const Slice& rows) const {
  const Dataset& dataset = run_.dataset();
  const bool integers = dataset.user_ids_are_integers();
  return {kUserSet,
          rows.count,
          user_width_,
          integers,
          [this, &dataset, integers, row = nth_row(active_, rows.first)](int64_t count) mutable {
            IdColumn ids(integers);
            for (; ids.size() < count; row = active_.next(row + 1))
              dataset.append_user_id(row, &ids);
            return ids;
          },
          request_.type};
}

EmbeddingCounts EmbeddingJob::write_shards() {
  counts_.users = counts_.embedded_users;
  counts_.items = request_.items ? run_.dataset().items() : 0;
  const Slice users = rank_slice(counts_.users, control_.rank(), control_.size());
  const Slice items = rank_slice(counts_.items, control_.rank(), control_.size());
  std::vector<EmbeddingFileShape> sets;
  if (request_.users) sets.push_back(shard_user_set(users));
  if (request_.items) sets.push_back(item_set(items));
  writer_ = make_vector_writer(request_.format,
                               shard_name(request_.out, control_.rank(), control_.size()),
                               run_.version(), sets, run_.source());
  if (request_.items) write_shard_items(items);
  if (request_.users) write_shard_users(users);
  writer_->publish();
  return counts_;
}

void EmbeddingJob::write_shard_items(const Slice& mine) {
  in_rounds(control_, "items of the shards", counts_.items, kItemsAtOnce, mine,
            [&](int64_t first, int64_t count) {
              writer_->write(kItemSet, first - mine.first, run_.item_vectors(first, count));
              if (coordinator_) show("items", first + count - mine.first, mine.count);
            });
}

void EmbeddingJob::write_shard_users(const Slice& mine) {
  int64_t row = nth_row(active_, mine.first);
  in_rounds(control_, "users of the shards", counts_.users, run_.config().evaluate.batch_users,
            mine, [&](int64_t first, int64_t count) {
              std::vector<Timeline> timelines;
              for (; std::ssize(timelines) < count; row = active_.next(row + 1))
                timelines.push_back(run_.dataset().timeline(row));
              writer_->write(kUserSet, first - mine.first, run_.user_vectors(timelines).flatten(1));
              if (coordinator_) show("users", first + count - mine.first, mine.count);
            });
}

void EmbeddingJob::compute_items() {
  const int64_t total = run_.dataset().items();
  compute_on_all_ranks(
      control_, "item vectors",
      {total, kItemsAtOnce, width_,
       [&](int64_t first, int64_t count) { return run_.item_vectors(first, count); },
       [&](int64_t first, const torch::Tensor& vectors) {
         writer_->write(kItemSet, first, vectors);
         show("items", first + vectors.size(0), total);
       }});
}

torch::Tensor EmbeddingJob::vectors_of(const std::vector<Timeline>& timelines,
                                       const std::vector<int64_t>& yesterdays_rows) {
  if (!request_.states) return run_.user_vectors(timelines).flatten(1);
  UserStates states = stored_states_ ? stored_states_->states(yesterdays_rows)
                                     : no_states(run_.model(), std::ssize(timelines));
  const torch::Tensor before = states.time.clone();
  torch::Tensor vectors = run_.user_vectors(timelines, states).flatten(1);
  for (int64_t i = 0; i < vectors.size(0); ++i)  // without new events the vector is yesterday's
    if (states.time[i].item<int64_t>() == before[i].item<int64_t>())
      vectors[i] = stored_states_->vector(yesterdays_rows[static_cast<size_t>(i)]);
  return torch::cat({vectors, packed_states(states)}, 1);
}

void EmbeddingJob::compute_users() {
  EmbeddingMerge known(run_.dataset(), active_,
                       stored_states_ ? &stored_states_->users() : nullptr);
  int64_t number = 0;  // active users that were passed, over all ranks
  const auto embed = [&](int64_t first, int64_t count) {
    std::vector<Timeline> timelines;
    std::vector<int64_t> yesterdays_rows;
    while (number < first + count && known.next()) {
      if (!known.is_fresh() || number++ < first) continue;
      timelines.push_back(run_.dataset().timeline(known.row()));
      yesterdays_rows.push_back(known.yesterdays_row());
    }
    return vectors_of(timelines, yesterdays_rows);
  };
  EmbeddingMerge walk = merge();
  compute_on_all_ranks(
      control_, "user vectors",
      {counts_.embedded_users, run_.config().evaluate.batch_users, user_width_ + state_width_,
       embed, [&](int64_t first, const torch::Tensor& vectors) {
         write_fresh(walk, vectors);
         show("users", first + vectors.size(0), counts_.embedded_users);
       }});
}

// Writes the vectors of the next embedded users; copied users lie between them in the file.
void EmbeddingJob::write_fresh(EmbeddingMerge& walk, const torch::Tensor& vectors) {
  std::vector<int64_t> places;  // row in the file for each row of `vectors`
  for (; std::ssize(places) < vectors.size(0) && walk.next(); ++walked_)
    if (walk.is_fresh()) places.push_back(walked_);
  const auto begin = places.begin();
  for (auto run = begin; run != places.end();) {  // adjacent rows are one write
    const auto gap =
        std::adjacent_find(run, places.end(), [](auto a, auto b) { return b != a + 1; });
    const auto end = gap == places.end() ? gap : gap + 1;
    write_rows(*run, vectors.slice(0, run - begin, end - begin));
    run = end;
  }
}

void EmbeddingJob::write_rows(int64_t first, const torch::Tensor& vectors) {
  writer_->write(kUserSet, first, vectors.narrow(1, 0, user_width_));
  if (request_.states)
    writer_->write(kStateSet, first, vectors.narrow(1, user_width_, state_width_));
}

void EmbeddingJob::copy_other_users(const std::function<void()>& goes_on) {
  constexpr int64_t kRowsAtOnce = 4096;
  int64_t place = 0;                    // row in the file
  int64_t from = 0, to = 0, count = 0;  // adjacent in both files
  const auto copy = [&] {
    writer_->write(kUserSet, to, merged_->vectors(from, count));
    if (request_.states) writer_->write(kStateSet, to, stored_states_->rows(from, count));
  };
  for (EmbeddingMerge walk = merge(); walk.next(); ++place) {
    if (walk.is_fresh()) continue;
    if (walk.row() == from + count && place == to + count && count < kRowsAtOnce) {
      ++count;
      continue;
    }
    copy();
    from = walk.row();
    to = place;
    count = 1;
    show("copying", place, counts_.users);
    goes_on();
  }
  copy();
}

void EmbeddingJob::show(const char* what, int64_t done, int64_t total) {
  progress_.update(what, static_cast<double>(done) / static_cast<double>(total),
                   progress_.rate(what, done, "vectors"));
}

}  // namespace pinnerformer
