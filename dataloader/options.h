// Options of the data path: where the dataset is, which events are positives, who is held out.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pinnerformer {

// What happens at a block that cannot be read or violates the format. Skipped users are counted,
// and tried again in the next epoch.
enum class OnBadBlock { kFail, kSkip };
constexpr auto enum_names(OnBadBlock) { return std::to_array<std::string_view>({"fail", "skip"}); }

// Where a training sample of a user ends: which of the possible newest inputs is taken.
enum class SampleEnd {
  kUniform,  // drawn uniformly in each epoch
  kLatest,   // the last one
  kCover,    // the last one, or, as often, drawn uniformly among those that give a full sample
  kMoment,   // the newest one at a moment drawn uniformly in time, so seldom within a session
};
constexpr auto enum_names(SampleEnd) {
  return std::to_array<std::string_view>({"uniform", "latest", "cover", "moment"});
}

struct DataOptions {
  std::string path;              // dataset directory, as written by `pinnerformer import`
  int64_t prefetch_batches = 4;  // batches built ahead of the training step
  // Shuffling, see Note [Order of an epoch]: users that are read together, and how many such blocks
  // are mixed for every 16 users of a global batch.
  int64_t block_users = 256;
  int64_t shuffle_blocks = 8;
  OnBadBlock on_bad_block = OnBadBlock::kFail;
  bool verify_checksums = true;       // of each block, when a process first reads it
  int64_t device_vectors_mib = 8192;  // content vectors up to this size lie in the GPU's memory
};

// Which events are positives (paper section 3: save, close-up > 10 s, click-through > 10 s).
struct PositiveOptions {
  std::vector<std::string> actions;   // "name", or "name>SECONDS" with a minimum duration
  std::vector<std::string> surfaces;  // empty: every surface
  bool first_only = false;            // only the user's first event on an item can be a positive
};

// What is held out for evaluation: users in time windows, or the last event of every user.
enum class SplitProtocol { kWindows, kLeaveOneOut };
constexpr auto enum_names(SplitProtocol) {
  return std::to_array<std::string_view>({"windows", "leave_one_out"});
}

// Which users are held out, and from which time on. Evaluation users are never trained on; training
// sees no event after the first evaluation time, t = end - windows * window_days. With
// `leave_one_out` every user is trained on, without the last `leave_out` events; the last one is
// the test.
struct SplitOptions {
  int64_t users_percent = 10;  // users with Dataset::user_hash mod 100 below this are held out
  double window_days = 14;     // labels of one evaluation window lie in (t, t + window_days]
  int64_t windows = 1;         // consecutive windows before the end
  std::string end{};           // time (base/time_text.h); empty: the last event of the data
  int64_t min_events = 3;      // an evaluation user has at least this many events up to t
  SplitProtocol protocol = SplitProtocol::kWindows;
  // Users for validation: the next percent of the hashes, in the windows of the evaluation users.
  // Under leave_one_out the second-last event of users whose hash mod 100 is below this.
  int64_t validation_percent = 0;
  int64_t leave_out = 2;  // under leave_one_out: a user's last events that training leaves out
};

}  // namespace pinnerformer
