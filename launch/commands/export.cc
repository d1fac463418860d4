// pinnerformer export: a trained model as files that serving systems load without this program.
#include <iostream>
#include <nlohmann/json.hpp>

#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"
#include "launch/export/export_directory.h"
#include "launch/export/model_card.h"
#include "launch/export/triton_repository.h"
#include "launch/job/session.h"

namespace pinnerformer {
namespace {

struct ExportOptions {
  LoadedModelOptions run;
  ExportRequest request;
  std::string triton, evaluation, verify;
};

void declare(CommandLine& cli, ExportOptions& options) {
  add_model_options(cli, &options.run);
  cli.add_option("out", "DIR", &options.request.out,
                 "directory to make: towers, weights, item vectors, model card");
  cli.add_flag("overwrite", &options.request.overwrite, "replace an export in --out");
  cli.add_option("triton", "DIR", &options.triton,
                 "model repository for Triton Inference Server: gains the next version of both "
                 "towers");
  cli.add_option("evaluation", "FILE", &options.evaluation,
                 "what `evaluate --json` wrote for this checkpoint: its figures go into the model "
                 "card");
  cli.add_option("verify", "DIR", &options.verify,
                 "export nothing; check the files and the versions of this export");
}

void require_consistent(const ExportOptions& options) {
  const bool exports = !options.request.out.empty() || !options.triton.empty();
  if (exports == !options.verify.empty())
    throw UsageError("give --out DIR, --triton DIR or both; or --verify DIR alone");
  if (options.request.out.empty() && (options.request.overwrite || !options.evaluation.empty()))
    throw UsageError("--overwrite and --evaluation need --out DIR");
  require_directory_name("out", options.request.out);
  require_directory_name("triton", options.triton);
}

nlohmann::json verified(const std::string& directory) {
  const ExportManifest manifest = verify_export(directory);
  std::cout << directory << ": " << manifest.files.size()
            << " files match export.json, one model version " << manifest.version.model << "\n";
  return {{"export", directory},
          {"model_version", manifest.version.model},
          {"content_version", manifest.version.content},
          {"files", manifest.files.size()}};
}

nlohmann::json exported(const ExportOptions& options, LoadedModel& run) {
  const nlohmann::json evaluation = options.evaluation.empty()
                                        ? nlohmann::json()
                                        : read_evaluation(options.evaluation, run.source());
  const TowerSpec spec = tower_spec(run.model(), run.config().model, run.inputs(), run.version());
  nlohmann::json result = {{"run", run.source().run},
                           {"checkpoint", run.source().checkpoint},
                           {"step", run.source().step},
                           {"model_version", run.version().model},
                           {"content_version", run.version().content},
                           {"dimensions", spec.dimensions()},
                           {"items", run.dataset().items()},
                           {"export", options.request.out}};
  std::cout << run.source_note();
  if (!options.request.out.empty()) {
    write_export(options.request, run, spec, evaluation);
    std::cout << "wrote both towers and " << run.dataset().items() << " item vectors of "
              << spec.dimensions() << " floats to " << options.request.out << "\n";
  }
  if (!options.triton.empty()) {
    const int64_t version = add_triton_version(options.triton, spec);
    std::cout << "added version " << version << " of user_tower and item_tower to "
              << options.triton << "\n";
    result["triton"] = {{"repository", options.triton}, {"version", version}};
  }
  std::cout << run.unknown_items_note();
  return result;
}

}  // namespace

int command_export(const Arguments& arguments) {
  ExportOptions options;
  CommandLine cli("export",
                  "Writes a trained model as files that serving systems load without this program.",
                  "pinnerformer export --run build/quickstart/run --out build/quickstart/export");
  declare(cli, options);
  if (!cli.parse(arguments) || printed_config(options.run)) return kDone;
  require_consistent(options);
  require_json_apart(cli.json_file(), options.request.out);
  if (!options.verify.empty()) {
    write_json_file(cli.json_file(), verified(options.verify));
    return kDone;
  }
  if (!options.request.out.empty()) require_free_target(options.request);
  LoadedModel run(options.run, DataUse::kAnyThatFits);
  const Session session(run.config().comm);
  run.load_model(session.ranks().device, *session.ranks().control);
  if (session.coordinator()) write_json_file(cli.json_file(), exported(options, run));
  return kDone;
}

}  // namespace pinnerformer
