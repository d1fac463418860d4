#include "launch/report/run_record.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "configs/errors.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "launch/cli/json_file.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMachineFile = "machine.json";
constexpr size_t kMostFiles = 100;

// Parts of a path from its end on: "", "run", "toys/run", ...
std::string end_of(const fs::path& path, size_t parts) {
  fs::path end;
  fs::path rest = path.lexically_normal();
  if (!rest.has_filename()) rest = rest.parent_path();
  for (size_t i = 0; i < parts && rest.has_filename(); ++i) {
    end = end.empty() ? rest.filename() : rest.filename() / end;
    rest = rest.parent_path();
  }
  return end.empty() ? path.string() : end.string();
}

void label_runs(std::vector<RunRecord>& runs) {
  constexpr size_t kMostNames = 8;
  for (RunRecord& run : runs) {
    size_t parts = 1;
    const auto is_shared = [&] {
      return std::ranges::count_if(runs, [&](const RunRecord& other) {
               return end_of(other.path, parts) == end_of(run.path, parts);
             }) > 1;
    };
    while (is_shared() && parts < kMostNames) ++parts;
    run.label = end_of(run.path, parts);
  }
}

// Adds the reason to the run's problems where `read` fails for a reason of the file.
template <class Read>
void attempt(RunRecord& run, const std::string& file, const Read& read) {
  try {
    read();
  } catch (const MissingInputError&) {
    return;  // optional
  } catch (const DataError& error) {
    run.problems.emplace_back(error.what());
  } catch (const IoError& error) {
    run.problems.emplace_back(error.what());
  } catch (const ConfigError& error) {
    run.problems.emplace_back(file + ": " + error.what());
  }
}

void read_config(RunRecord& run) {
  constexpr int64_t kMostConfigBytes = int64_t{1} << 20;
  const std::string file = run.path + "/config.yaml";
  attempt(run, file, [&] { run.config = parse_config(read_whole_file(file, kMostConfigBytes)); });
}

std::string shown(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

void read_machine(RunRecord& run) {
  constexpr size_t kMostEntries = 50;
  const std::string file = run.path + "/" + kMachineFile;
  attempt(run, file, [&] {
    const nlohmann::json machine = read_json_file(file);
    if (!machine.is_object() || machine.size() > kMostEntries)
      throw DataError(file + " is no description of a machine");
    for (const auto& [name, value] : machine.items())
      if (value.is_primitive()) run.machine.emplace_back(name, shown(value));
  });
}

void read_results(RunRecord& run) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator entry(run.path, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->path().extension() == ".json" && entry->path().filename() != kMachineFile)
      files.push_back(entry->path().string());
  std::ranges::sort(files);
  if (files.size() > kMostFiles) {
    run.problems.push_back(run.path + " has " + std::to_string(files.size()) +
                           " files *.json; only the first " + std::to_string(kMostFiles) +
                           " were looked at");
    files.resize(kMostFiles);
  }
  for (const std::string& file : files)
    attempt(run, file, [&] {
      const nlohmann::json value = read_json_file(file);
      if (auto evaluation = find_evaluation(value, file))
        run.evaluations.push_back(std::move(*evaluation));
      else if (auto plan = find_plan(value, file))
        run.plans.push_back(std::move(*plan));
    });
}

void read_run_metrics(RunRecord& run) try {
  const std::string file = run.path + "/metrics.jsonl";
  run.metrics = run.config ? read_metrics(file, run.config->train.log_every) : read_metrics(file);
  run.problems.insert(run.problems.begin(), run.metrics.problems.begin(),
                      run.metrics.problems.end());
} catch (const MissingInputError&) {
  throw MissingInputError(run.path + " is no run: it has no metrics.jsonl. Give the " +
                          "run.directory of a training");
}

}  // namespace

std::vector<RunRecord> read_runs(const std::vector<std::string>& directories) {
  std::vector<RunRecord> runs;
  for (const std::string& directory : directories) {
    RunRecord run;
    run.path = directory;
    read_config(run);
    read_run_metrics(run);
    read_machine(run);
    read_results(run);
    runs.push_back(std::move(run));
  }
  label_runs(runs);
  return runs;
}

}  // namespace pinnerformer
