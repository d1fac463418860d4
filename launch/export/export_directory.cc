#include "launch/export/export_directory.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/paths.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/published_directory.h"
#include "dataloader/hdf5/h5_file.h"
#include "launch/export/export_format.h"
#include "launch/export/export_items.h"
#include "launch/export/model_card.h"
#include "launch/export/tower_module.h"
#include "trainer/checkpoint/safetensors.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

DirectoryKind export_directory() {
  return {"export", "an export", kExportFile, [](const std::string& file) {
            return file == kExportFile ||
                   std::ranges::find(kExportFiles, file) != kExportFiles.end();
          }};
}

std::map<std::string, FileDigest> digests_of(const std::string& directory) {
  std::map<std::string, FileDigest> digests;
  for (const std::string_view name : kExportFiles)
    digests[std::string(name)] = digest_file(directory + "/" + std::string(name));
  return digests;
}

void require_one_version(const ExportManifest& manifest, const std::string& directory) {
  const auto require = [&](const EmbeddingVersion& found, const char* file) {
    if (found == manifest.version) return;
    throw DataError(directory + "/" + file + " has model version " + found.model +
                    " and content version " + found.content + ", export.json " +
                    manifest.version.model + " and " + manifest.version.content +
                    ": files of different exports must not be mixed. Take all files from one "
                    "export, or export again");
  };
  for (const char* tower : {kUserTowerFile, kItemTowerFile})
    require(version_of(load_tower(directory + "/" + tower)), tower);
  require(EmbeddingFileReader(directory + "/" + kExportItemsFile, "/item").version(),
          kExportItemsFile);
}

void require_whole(const ExportManifest& manifest, const std::string& directory) {
  for (const auto& [name, expected] : manifest.files)
    require_digest(File::open(directory + "/" + name), expected, "export.json",
                   "Copy the export again");
}

// The first `count` rows of a dataset of items.h5; of width 0 where it has none.
torch::Tensor rows_of(const H5File& file, const std::string& dataset, int64_t count) {
  if (!file.has(dataset)) return torch::zeros({count, 0});
  const std::vector<int64_t> shape = file.describe(dataset).shape;
  if (shape.size() != 2 || shape[0] < count || shape[1] > kWidestVector)
    throw DataError(file.path() + ": " + dataset + ": expected a row of at most " +
                    std::to_string(kWidestVector) + " numbers for each item");
  torch::Tensor rows = torch::empty({count, shape[1]});
  file.read_rows(dataset, 0, count, rows.data_ptr<float>());
  return rows;
}

// A prior adds columns to the vectors of the file, behind those of the tower.
void require_equal_vectors(const std::string& directory) {
  constexpr int64_t kMostItems = 256;
  constexpr double kTolerance = 1e-3;
  const EmbeddingFileReader items(directory + "/" + kExportItemsFile, "/item");
  const int64_t count = std::min(kMostItems, items.rows());
  if (count == 0) return;
  const H5File file = H5File::open(items.path());
  torch::jit::Module tower = load_tower(directory + "/" + kItemTowerFile);
  const torch::Tensor made =
      tower.forward({rows_of(file, "/item/content", count), rows_of(file, "/item/id_rows", count)})
          .toTensor();
  const torch::Tensor stored = items.vectors(0, count).narrow(1, 0, made.size(1));
  if (!torch::allclose(made, stored, kTolerance, kTolerance))
    throw DataError(directory +
                    ": item_tower.pt does not give the vectors of items.h5. Export again");
}

}  // namespace

void require_free_target(const ExportRequest& request) {
  require_free_target(request.out, request.overwrite, export_directory());
}

void write_export(const ExportRequest& request, LoadedModel& run, const TowerSpec& spec,
                  const nlohmann::json& evaluation) {
  PublishedDirectory directory(request.out, request.overwrite, export_directory());
  const auto path = [&](const char* name) { return directory.path() + "/" + name; };
  save_tower(user_tower(spec), path(kUserTowerFile));
  save_tower(item_tower(spec), path(kItemTowerFile));
  write_safetensors(path(kWeightsFile), spec.weights);
  write_durable(path(kModelJsonFile), model_json(spec));
  write_durable(path(kPreprocessingFile), preprocessing_json(spec, run.contract(), run.dataset()));
  write_export_items(path(kExportItemsFile), run);
  write_durable(path(kModelCardFile), model_card(run, spec, evaluation));
  write_durable(path(kExportFile),
                export_json(run.version(), run.source(), digests_of(directory.path())));
  directory.publish();
}

ExportManifest verify_export(const std::string& directory) try {
  require_directory(directory);
  ExportManifest manifest = read_export_json(directory + "/" + kExportFile);
  require_one_version(manifest, directory);
  require_whole(manifest, directory);
  require_equal_vectors(directory);
  return manifest;
} catch (const c10::Error& error) {
  throw DataError(directory +
                  ": a tower refuses the rows of items.h5: " + error.what_without_backtrace());
}

}  // namespace pinnerformer
