#include "launch/bench/bench_data.h"

#include <unistd.h>

#include "dataloader/import/synthetic.h"
#include "dataloader/sampling/positives.h"

namespace pinnerformer {

namespace fs = std::filesystem;

BenchData::BenchData(const RunConfig& config, int64_t content_width, int rank)
    : path_(fs::temp_directory_path() /
            ("pinnerformer-bench-" + std::to_string(::getpid()) + "-" + std::to_string(rank))) {
  SyntheticOptions options;
  options.out = path_;
  options.overwrite = true;
  options.users = 4 * config.train.global_batch_users;
  options.items = 20000;
  options.events_per_user = 4 * config.model.max_length;
  options.vector_width = content_width;
  write_synthetic_dataset(options);
}

BenchData::~BenchData() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

TrainingData full_window_data(const Dataset& dataset, const RunConfig& config) {
  PositiveOptions save;
  save.actions = {"save"};
  TrainingData data;
  data.dataset = &dataset;
  for (int64_t user = 0; user < dataset.users(); ++user)
    if (dataset.timeline_length(user) >= 2 * config.model.max_length) data.users.add(user);
  data.positives = [rule = PositiveRule(save, dataset)](const Timeline& t) { return rule.mark(t); };
  data.part.train_until = dataset.last_time();
  data.options = config.data;
  return data;
}

}  // namespace pinnerformer
