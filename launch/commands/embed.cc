// pinnerformer embed: the vectors of users and items from a checkpoint, as a nightly job writes
// them.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/printable.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"
#include "launch/serving/embedding_job.h"
#include "launch/serving/projector_sample.h"
#include "launch/serving/vector_format.h"

namespace pinnerformer {
namespace {

struct EmbedOptions {
  LoadedModelOptions run;
  std::string out, merge, go_on, active_since, format, topic;
  std::string dtype = "float32";
  bool shards = false;
  bool states = false;
  bool users = false;
  bool items = false;
  ProjectorRequest projector;
};

void declare(CommandLine& cli, EmbedOptions& options) {
  add_model_options(cli, &options.run);
  cli.add_required("out", "FILE", &options.out,
                   "file to write; an existing one is replaced once the new one is complete");
  cli.add_option("format", "h5|parquet|npy", &options.format,
                 "format of --out; default: by its ending (.parquet, .npy), else HDF5");
  cli.add_option("dtype", "float32|float16", &options.dtype, "type of the stored numbers");
  cli.add_flag("shards", &options.shards,
               "each rank writes its share to FILE-00000-of-0000N with the ending of FILE");
  cli.add_option("active-since", "TIME", &options.active_since,
                 "only users with an event at or after this time (UTC)");
  cli.add_option("merge", "FILE", &options.merge,
                 "copy the vectors of all other users from this file; may be the file of --out");
  cli.add_flag("states", &options.states,
               "also write the state of every user, for --continue (model.block=lru)");
  cli.add_option("continue", "FILE", &options.go_on,
                 "go on from the states of this file: only events later than its own are read; "
                 "all other users are copied; may be the file of --out");
  cli.add_option("topic", "NAME", &options.topic,
                 "vectors of users for items of this topic (model.condition=topic)");
  cli.add_flag("users", &options.users, "write users only");
  cli.add_flag("items", &options.items, "write items only");
  cli.add_option("projector", "DIR", &options.projector.directory,
                 "also write a sample of the vectors there, for the projector of TensorBoard");
  cli.add_option("projector-rows", "N", &options.projector.rows,
                 "number of items, and of users, in that sample");
  cli.add_flag("projector-titles", &options.projector.titles, "name items by their titles, too");
}

void check_set(const EmbedOptions& options, VectorFormat format) {
  if (options.shards && !options.merge.empty())
    throw UsageError("--shards and --merge exclude each other: a merged file is one file");
  if (!options.projector.directory.empty() && (options.shards || format != VectorFormat::kH5))
    throw UsageError(
        "--projector reads one HDF5 file: leave --shards out and give --out the ending .h5");
  if (format == VectorFormat::kH5) return;
  const std::string name(enum_name(format));
  if (!options.merge.empty())
    throw UsageError("--merge works on HDF5 files, and --out " + options.out + " is " + name +
                     ": give it the ending .h5");
  if (!options.users && !options.items)
    throw UsageError("a file of the format " + name +
                     " holds one set of vectors: add --users or --items");
}

// States are a second set of the file's users, and --continue merges.
void check_states(const EmbedOptions& options, const EmbeddingRequest& request) {
  if (!options.go_on.empty() && !options.merge.empty())
    throw UsageError(
        "--continue and --merge exclude each other: --continue takes the vectors of all other "
        "users over, too");
  if (options.states && !options.merge.empty())
    throw UsageError(
        "--states and --merge exclude each other: --merge copies vectors without their states. "
        "Give "
        "--continue FILE, which goes on from the states of FILE and writes them, or --states "
        "alone");
  if (request.states && (request.shards || request.format != VectorFormat::kH5 || !request.users))
    throw UsageError(
        "--states and --continue write states beside the users of one HDF5 file: leave --shards "
        "and --items out and give --out the ending .h5");
  if (request.states && !options.topic.empty())
    throw UsageError(
        "--topic excludes --states and --continue: a file with states goes on with vectors for "
        "items of any topic. Write the vectors of a topic to a file of their own");
}

EmbeddingRequest request_of(const EmbedOptions& options) {
  if (options.users && options.items)
    throw UsageError("--users and --items exclude each other; omit both to write users and items");
  if (options.items && !(options.merge.empty() && options.active_since.empty()))
    throw UsageError("--merge and --active-since apply to users, and --items leaves users out");
  if (options.items && !options.topic.empty())
    throw UsageError("--topic applies to users, and --items leaves users out");
  EmbeddingRequest request{.out = options.out,
                           .merge = options.merge,
                           .active_since = {},
                           .users = !options.items,
                           .items = !options.users,
                           .format = vector_format(options.format, options.out),
                           .type = vector_type(options.dtype),
                           .shards = options.shards,
                           .states = options.states || !options.go_on.empty(),
                           .go_on = !options.go_on.empty()};
  check_states(options, request);
  check_set(options, request.format);
  if (request.go_on) request.merge = options.go_on;
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
  if (std::filesystem::exists(projector.directory) &&
      !std::filesystem::is_directory(projector.directory))
    throw UsageError("--projector " + projector.directory + ": expected a directory, found a file");
  projector.users = request.users;
  projector.items = request.items;
  return projector;
}

void print(const EmbeddingRequest& request, const EmbeddingCounts& counts, const LoadedModel& run) {
  const int64_t each = run.config().model.user_vectors;
  std::cout << "wrote "
            << (each > 1 ? std::to_string(each) + " vectors of each of " : std::string())
            << counts.users << (each > 1 ? " users" : " user vectors");
  if (const std::string topic = run.source().topic; !topic.empty())
    std::cout << " for items of the topic '" << printable(topic) << "'";
  if (!request.merge.empty())
    std::cout << " (" << counts.embedded_users << " embedded, "
              << counts.users - counts.embedded_users << " copied from " << request.merge << ")";
  std::cout << " and " << counts.items << " item vectors of " << run.dimensions() << " floats to "
            << request.out << (request.shards ? ", one shard for each rank\n" : "\n");
}

nlohmann::json result_json(const EmbedOptions& options, const EmbeddingRequest& request,
                           const EmbeddingCounts& counts, const LoadedModel& run, int ranks) {
  nlohmann::json result{{"run", run.source().run},
                        {"checkpoint", run.source().checkpoint},
                        {"step", run.source().step},
                        {"file", request.out},
                        {"states", request.states},
                        {"shards", request.shards ? ranks : 0},
                        {"format", std::string(enum_name(request.format))},
                        {"dtype", options.dtype},
                        {"users", counts.users},
                        {"users_embedded", counts.embedded_users},
                        {"items", counts.items},
                        {"unknown_items", run.unknown_items()},
                        {"dimensions", run.dimensions()},
                        {"user_vectors", run.config().model.user_vectors},
                        {"model_version", run.version().model},
                        {"content_version", run.version().content}};
  if (!options.topic.empty()) result["topic"] = options.topic;
  return result;
}

}  // namespace

int command_embed(const Arguments& arguments) {
  EmbedOptions options;
  CommandLine cli("embed", "Writes the vectors of users and items to a file.",
                  "mpirun -n 4 pinnerformer embed --run build/run data.path=build/today "
                  "--active-since 2024-05-31 --merge build/yesterday.h5 --out build/today.h5");
  declare(cli, options);
  if (!cli.parse(arguments) || printed_config(options.run)) return kDone;
  const EmbeddingRequest request = request_of(options);
  const ProjectorRequest projector = projector_of(options, request);
  if (request.format == VectorFormat::kNpy)
    require_json_apart(cli.json_file(),
                       std::filesystem::path(request.out).replace_extension(".json"));

  LoadedModel run(options.run, DataUse::kAnyThatFits);
  if (request.states) require_states(run.config().model);
  if (!options.topic.empty()) run.condition_on(options.topic);
  const Session session(run.config().comm);
  run.load_model(session.ranks().device, *session.ranks().control);
  EmbeddingJob job(request, run, session);
  const EmbeddingCounts counts = request.shards ? job.write_shards() : job.write_file();
  if (!session.coordinator()) return kDone;
  std::cout << run.source_note();
  print(request, counts, run);
  std::cout << run.unknown_items_note();
  if (!projector.directory.empty()) {
    write_projector_sample(projector, request.out, run.dataset());
    std::cout << "wrote a sample for TensorBoard's projector to " << projector.directory << "\n";
  }
  write_json_file(cli.json_file(),
                  result_json(options, request, counts, run, session.ranks().control->size()));
  return kDone;
}

}  // namespace pinnerformer
