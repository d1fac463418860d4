// pinnerformer embed: the vectors of users and items from a checkpoint, as a nightly job writes them.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "dataloader/vector_file.h"
#include "launch/cli.h"
#include "launch/command.h"
#include "launch/json_file.h"
#include "launch/progress.h"
#include "launch/session.h"
#include "launch/trained_run.h"

namespace pinnerformer {
namespace {

void add_id(IdColumn& ids, const std::string& text) {
  if (ids.integers()) {
    ids.push_back(int64_t{std::stoll(text)});
  } else {
    ids.push_back(std::string_view(text));
  }
}

// Users without an event have no vector.
VectorSet embed_users(TrainedRun& run) {
  const Dataset& dataset = run.dataset();
  VectorSet set{IdColumn(dataset.user_ids_are_integers()), {}};
  std::vector<torch::Tensor> parts{torch::empty({0, run.config().model.output})};
  std::vector<Timeline> waiting;
  ProgressLine progress;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    if (dataset.timeline_length(user) > 0) {
      waiting.push_back(dataset.timeline(user));
      add_id(set.ids, dataset.user_id(user));
    }
    const bool last = user + 1 == dataset.users();
    if (!waiting.empty() && (last || std::ssize(waiting) == run.config().evaluate.batch_users)) {
      parts.push_back(run.user_vectors(waiting));
      waiting.clear();
      progress.update("embedding",
                      static_cast<double>(user + 1) / static_cast<double>(dataset.users()),
                      progress.rate("embedding", user + 1, "users"));
    }
  }
  set.vectors = torch::cat(parts);
  return set;
}

VectorSet embed_items(TrainedRun& run) {
  const Dataset& dataset = run.dataset();
  VectorSet set{IdColumn(dataset.item_ids_are_integers()), run.item_vectors()};
  for (int64_t item = 0; item < dataset.items(); ++item) add_id(set.ids, dataset.item_id(item));
  return set;
}

}  // namespace

int command_embed(const Arguments& arguments) {
  TrainedRunOptions options;
  std::string out;
  CommandLine cli("embed", "Writes the vectors of all users and items to an HDF5 file.",
                  "pinnerformer embed --run build/quickstart/run --out build/quickstart/vectors.h5");
  add_trained_run_options(cli, &options);
  cli.add_required("out", "FILE", &out, "file to write; an older one is replaced");
  if (!cli.parse(arguments)) return kDone;

  TrainedRun run(options);
  const Session session(run.config().comm);
  if (!session.coordinator()) return kDone;
  run.load_model(session.ranks().device);
  const VectorFile content{embed_users(run), embed_items(run), run.version()};
  write_vector_file(out, content);
  std::cout << "wrote " << content.users.ids.size() << " user and " << content.items.ids.size()
            << " item vectors of " << content.items.vectors.size(1) << " floats to " << out << "\n"
            << run.unknown_items_note();
  write_json_file(cli.json_file(), {{"file", out},
                                    {"users", content.users.ids.size()},
                                    {"items", content.items.ids.size()},
                                    {"unknown_items", run.unknown_items()},
                                    {"dimensions", content.items.vectors.size(1)},
                                    {"model_version", content.version}});
  return kDone;
}

}  // namespace pinnerformer
