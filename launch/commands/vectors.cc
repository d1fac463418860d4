// pinnerformer vectors: frozen item vectors from co-occurrence, for datasets without an encoder.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "configs/typed_value.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/paths.h"
#include "dataloader/base/published_file.h"
#include "dataloader/base/time_text.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"
#include "dataloader/vectors/co_occurrence_vectors.h"
#include "dataloader/vectors/item_vectors_file.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/cli/progress.h"
#include "launch/commands/registry.h"
#include "launch/commands/semantic_ids_note.h"

namespace pinnerformer {
namespace {

// The options as words, before they become CoOccurrenceVectorsOptions.
struct VectorsWords {
  std::string dataset;
  std::string before;
  std::string hold_back_days;
  std::string out;
  std::string into;
  int64_t memory_mib = 1024;
};

void declare(CommandLine& cli, CoOccurrenceVectorsOptions& options, VectorsWords& words) {
  cli.add_option("dataset", "DIR", &words.dataset,
                 "whose users' timelines are counted; data.path where a configuration is given");
  cli.add_option(
      "before", "TIME", &words.before,
      "count only events before this time: 2024-05-31, 2024-05-31T23:59:59Z or seconds since "
      "1970, UTC; do not give it with a configuration, which sets the time itself");
  cli.add_option("hold-back-days", "DAYS", &words.hold_back_days,
                 "with a configuration: the last so many days of training are not counted, so that "
                 "vectors do not know the labels in them; default objective.recent_days");
  cli.add_option("out", "FILE", &words.out, "HDF5 file to write, for import --vectors");
  cli.add_option("into", "DIR", &words.into,
                 "dataset to put the vectors into, by item id, in place of those it has");
  cli.add_option("actions", "NAME,...", &options.counting.counted.actions,
                 "count only these; NAME>SECONDS wants a longer duration; default all");
  cli.add_option("dimension", "N", &options.dimension, "width of the vectors");
  cli.add_option("smoothing", "POWER", &options.smoothing,
                 "power of the context distribution; below 1 tempers rare items");
  cli.add_option("min-users", "N", &options.counting.min_users,
                 "items of fewer users get no vector");
  cli.add_option("max-items-per-user", "N", &options.counting.max_items_per_user,
                 "only the most recent items of heavier users count");
  cli.add_option("memory-mib", "N", &words.memory_mib,
                 "memory for pairs being counted; more pairs go through temporary files");
  cli.add_option("seed", "N", &options.seed, "of the random start of the decomposition");
  cli.accept_config();
}

void check(const CoOccurrenceVectorsOptions& options, const VectorsWords& words) {
  require_at_least("dimension", options.dimension, 1);
  require_at_least("min-users", options.counting.min_users, 1);
  require_at_least("max-items-per-user", options.counting.max_items_per_user, 2);
  require_between("memory-mib", words.memory_mib, 1, int64_t{1} << 30);
  if (options.smoothing < 0 || options.smoothing > 1) {
    throw UsageError("--smoothing is a power from 0 to 1, not " +
                     std::to_string(options.smoothing));
  }
  if (words.out.empty() && words.into.empty()) {
    throw UsageError("give --out FILE, --into DIR or both: where the vectors go");
  }
  if (!words.out.empty()) require_hdf5_ending("out", words.out);
}

// Days at the end of training that are not counted: with objective.recent_days all labels that come
// after the inputs lie there. Labels between inputs (next_item, sasrec, window_anchor=position) may
// lie earlier.
double held_back_days(const VectorsWords& words, const RunConfig& config) {
  if (words.hold_back_days.empty()) return config.objective.recent_days;
  double days = 0;
  if (!assign_text(&days, words.hold_back_days) || days < 0 || days > 1e6)
    throw UsageError("--hold-back-days is a number of days of at least 0, not '" +
                     words.hold_back_days + "'");
  return days;
}

// The dataset and the end of its usable events: given by --before, or by the split of a
// configuration, so that the vectors use no event that its training does not see.
Dataset open_source(const CommandLine& cli, const VectorsWords& words,
                    CoOccurrenceOptions& counting) {
  constexpr double kSecondsPerDay = 86400;
  const bool configured = !cli.config_file().empty() || !cli.overrides().empty();
  if (configured != words.before.empty()) {
    throw UsageError(
        "give either --before TIME or a configuration, whose split ends the events of "
        "training");
  }
  if (!configured) {
    if (!words.hold_back_days.empty())
      throw UsageError("--hold-back-days goes with a configuration; give an earlier --before");
    if (words.dataset.empty()) throw UsageError("--dataset DIR is missing");
    counting.before = time_option("before", words.before);
    return Dataset::open(words.dataset);
  }
  const RunConfig config = cli.config();
  if (words.dataset.empty() && config.data.path.empty()) {
    throw UsageError("--dataset DIR or data.path=DIR is missing");
  }
  Dataset dataset = Dataset::open(words.dataset.empty() ? config.data.path : words.dataset);
  counting.before = training_end(dataset, config.split) + 1 -
                    std::llround(held_back_days(words, config) * kSecondsPerDay);
  counting.leave_out = left_out_events(config.split);
  return dataset;
}

void prepare_output(const VectorsWords& words, CoOccurrenceOptions& counting) {
  if (!words.into.empty()) static_cast<void>(Dataset::open(words.into));  // before the work begins
  if (!words.out.empty()) {
    check_replaceable(words.out);
    const auto parent = std::filesystem::path(words.out).parent_path();
    std::error_code error;
    if (!parent.empty()) std::filesystem::create_directories(parent, error);
    if (error) throw IoError("cannot make directory " + parent.string() + ": " + error.message());
  }
  const std::string beside = without_trailing_slashes(words.out.empty() ? words.into : words.out);
  counting.temporary_prefix = beside + ".tmp-pairs-" + std::to_string(::getpid()) + "-";
  counting.memory_bytes = words.memory_mib << 20;
}

nlohmann::ordered_json result_json(const ItemVectors& made) {
  return {{"items", made.ids.size()},
          {"dimension", made.vectors.size(1)},
          {"before", made.before},
          {"before_date", utc_text(made.before)},
          {"users", made.statistics.users},
          {"capped_users", made.statistics.capped_users},
          {"events", made.statistics.events},
          {"events_kept_out", made.statistics.events_kept_out},
          {"rare_items", made.statistics.rare_items},
          {"pairs", made.pairs},
          {"pair_occurrences", made.statistics.pair_occurrences},
          {"recipe", made.recipe}};
}

void print(const ItemVectors& made) {
  const CoOccurrenceStatistics& counted = made.statistics;
  std::cout << made.ids.size() << " items have a vector of " << made.vectors.size(1) << " numbers\n"
            << counted.events << " events before " << utc_text(made.before) << " counted, "
            << counted.events_kept_out << " later ones kept out\n"
            << counted.users << " users have two of these items or more\n"
            << made.pairs << " pairs of items\n";
  if (counted.capped_users > 0) {
    std::cout << counted.capped_users << " users with only their most recent items\n";
  }
  if (counted.rare_items > 0) std::cout << counted.rare_items << " items of too few users\n";
}

}  // namespace

int command_vectors(const Arguments& arguments) {
  CoOccurrenceVectorsOptions options;
  VectorsWords words;
  CommandLine cli("vectors",
                  "Makes item vectors from co-occurrence: items of the same users lie close.",
                  "pinnerformer vectors --dataset dataset --before 2024-05-31 --into dataset");
  declare(cli, options, words);
  if (!cli.parse(arguments)) return kDone;
  check(options, words);
  const Dataset dataset = open_source(cli, words, options.counting);
  // Here its message can name the option.
  static_cast<void>(PositiveRule(options.counting.counted, dataset, "--actions"));
  prepare_output(words, options.counting);
  const ItemVectors made = [&] {
    ProgressLine line;
    return make_co_occurrence_vectors(dataset, options, [&line](const StageProgress& progress) {
      line.update(progress.stage, progress.fraction,
                  line.rate(progress.stage, progress.done, progress.unit));
    });
  }();
  nlohmann::ordered_json result = result_json(made);
  print(made);
  if (!words.out.empty()) {
    write_item_vectors(words.out, made);
    result["out"] = words.out;
    std::cout << "wrote " << words.out << "\n";
  }
  if (!words.into.empty()) {
    const bool had_codes = has_semantic_ids(words.into);
    const int64_t found = attach_item_vectors(words.into, made);
    result["into"] = words.into;
    result["items_attached"] = found;
    std::cout << found << " items of " << words.into << " have them now\n";
    if (had_codes) note_lost_semantic_ids(words.into);
  }
  write_json_file(cli.json_file(), result);
  return kDone;
}

}  // namespace pinnerformer
