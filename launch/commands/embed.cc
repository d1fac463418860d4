// pinnerformer embed: the vectors of users and items from a checkpoint, as a nightly job writes
// them.
#include <iostream>
#include <nlohmann/json.hpp>

#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"
#include "launch/serving/embedding_job.h"
#include "launch/serving/projector_sample.h"

namespace pinnerformer {
namespace {

struct EmbedOptions {
  LoadedModelOptions run;
  std::string out, merge, active_since;
  bool users = false;
  bool items = false;
  ProjectorRequest projector;
};

EmbeddingRequest request_of(const EmbedOptions& options) {
  if (options.users && options.items)
    throw UsageError("--users and --items exclude each other; omit both to write users and items");
  if (options.items && !(options.merge.empty() && options.active_since.empty()))
    throw UsageError("--merge and --active-since apply to users, and --items leaves users out");
  EmbeddingRequest request{.out = options.out,
                           .merge = options.merge,
                           .active_since = {},
                           .users = !options.items,
                           .items = !options.users};
  require_hdf5_ending("out", options.out);
  if (!options.active_since.empty())
    request.active_since = time_option("active-since", options.active_since);
  return request;
}

// The same sets as the vector file has.
ProjectorRequest projector_of(const EmbedOptions& options, const EmbeddingRequest& request) {
  ProjectorRequest projector = options.projector;
  if (projector.rows < 1)
    throw UsageError("--projector-rows " + std::to_string(projector.rows) +
                     ": expected at least 1");
  projector.users = request.users;
  projector.items = request.items;
  return projector;
}

void print(const EmbeddingRequest& request, const EmbeddingCounts& counts, int64_t dimensions) {
  std::cout << "wrote " << counts.users << " user vectors";
  if (!request.merge.empty())
    std::cout << " (" << counts.embedded_users << " embedded, "
              << counts.users - counts.embedded_users << " copied from " << request.merge << ")";
  std::cout << " and " << counts.items << " item vectors of " << dimensions << " floats to "
            << request.out << "\n";
}

}  // namespace

int command_embed(const Arguments& arguments) {
  EmbedOptions options;
  CommandLine cli("embed", "Writes the vectors of users and items to an HDF5 file.",
                  "mpirun -n 4 pinnerformer embed --run build/run data.path=build/today "
                  "--active-since 2024-05-31 --merge build/yesterday.h5 --out build/today.h5");
  add_model_options(cli, &options.run);
  cli.add_required("out", "FILE", &options.out,
                   "HDF5 file to write; an existing one is replaced once the new one is complete");
  cli.add_option("active-since", "TIME", &options.active_since,
                 "only users with an event at or after this time (UTC)");
  cli.add_option("merge", "FILE", &options.merge,
                 "copy the vectors of all other users from this file; may be the file of --out");
  cli.add_flag("users", &options.users, "write users only");
  cli.add_flag("items", &options.items, "write items only");
  cli.add_option("projector", "DIR", &options.projector.directory,
                 "also write a sample of the vectors there, for the projector of TensorBoard");
  cli.add_option("projector-rows", "N", &options.projector.rows,
                 "size of that sample, of each set");
  cli.add_flag("projector-titles", &options.projector.titles, "name items by their titles, too");
  if (!cli.parse(arguments) || printed_config(options.run)) return kDone;
  const EmbeddingRequest request = request_of(options);
  const ProjectorRequest projector = projector_of(options, request);

  LoadedModel run(options.run, DataUse::kAnyThatFits);
  const Session session(run.config().comm);
  run.load_model(session.ranks().device, *session.ranks().control);
  const EmbeddingCounts counts = EmbeddingJob(request, run, session).write_file();
  if (!session.coordinator()) return kDone;
  std::cout << run.source_note();
  print(request, counts, run.dimensions());
  std::cout << run.unknown_items_note();
  if (!projector.directory.empty()) {
    write_projector_sample(projector, request.out, run.dataset());
    std::cout << "wrote a sample for TensorBoard's projector to " << projector.directory << "\n";
  }
  write_json_file(cli.json_file(), {{"run", run.source().run},
                                    {"checkpoint", run.source().checkpoint},
                                    {"step", run.source().step},
                                    {"file", request.out},
                                    {"users", counts.users},
                                    {"users_embedded", counts.embedded_users},
                                    {"items", counts.items},
                                    {"unknown_items", run.unknown_items()},
                                    {"dimensions", run.dimensions()},
                                    {"model_version", run.version().model},
                                    {"content_version", run.version().content}});
  return kDone;
}

}  // namespace pinnerformer
