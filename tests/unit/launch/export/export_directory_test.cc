// An export of a real run is whole, of one version, and gives the vectors of the loaded model.
#include "launch/export/export_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "dataloader/base/errors.h"
#include "launch/export/export_format.h"
#include "launch/export/tower_module.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_config.h"
#include "tests/support/tiny_dataset.h"
#include "trainer/evaluation/prefix_batch.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

class ExportDirectory : public testing::Test {
 protected:
  ExportDirectory() : path_(write_tiny_dataset(directory_.path(), 47)) {}

  // A loaded run of this configuration.
  LoadedModel train(const std::string& name, const std::vector<std::string>& words = {}) {
    const Dataset dataset = Dataset::open(path_);
    train_config(dataset, tiny_config(path_, directory_ / name, words));
    LoadedModelOptions options;
    options.run = directory_ / name;
    LoadedModel run(options, DataUse::kAnyThatFits);
    run.load_model(torch::kCPU, *alone_);
    return run;
  }
  static TowerSpec spec_of(LoadedModel& run) {
    return tower_spec(run.model(), run.config().model, run.inputs(), run.version());
  }
  std::string write(LoadedModel& run, const std::string& name, bool overwrite = false) {
    const std::string out = directory_ / name;
    write_export({out, overwrite}, run, spec_of(run), nlohmann::json());
    return out;
  }

  std::unique_ptr<Communicator> alone_ = make_single_communicator();
  TemporaryDirectory directory_;
  std::string path_;
};

std::vector<c10::IValue> inputs_of(LoadedModel& run, const std::vector<Timeline>& timelines) {
  std::vector<HistoryPrefix> prefixes;
  for (const Timeline& timeline : timelines)
    prefixes.push_back({&timeline, timeline.size(), timeline.time.back(), 0});
  const Batch batch = prefix_batch(prefixes, run.config().model.max_length);
  std::vector<int64_t> shape = batch.item.sizes().vec();
  shape.push_back(run.dataset().vector_width());
  const torch::Tensor content = run.dataset()
                                    .item_vectors()
                                    .index_select(0, batch.item.flatten())
                                    .to(torch::kFloat32)
                                    .view(shape);
  return {content,    run.id_rows(batch.item), batch.action, batch.surface,
          batch.time, batch.duration,          batch.length};
}

TEST_F(ExportDirectory, TheTowerGivesTheVectorsOfTheLoadedModel) {
  LoadedModel run = train("run", {"model.prior_days=[1, 7]"});
  const std::string out = write(run, "export");
  EXPECT_EQ(verify_export(out).version, run.version());
  torch::jit::Module tower = load_tower(out + "/" + kUserTowerFile);
  std::vector<Timeline> timelines;
  for (int64_t user = 0; user < run.dataset().users(); ++user)
    timelines.push_back(run.dataset().timeline(user));
  const torch::Tensor vectors = tower.forward(inputs_of(run, timelines)).toTensor();
  const torch::Tensor expected = run.user_vectors(timelines);
  ASSERT_EQ(vectors.sizes(), expected.sizes());
  EXPECT_LT((vectors - expected).abs().max().item<double>(), 1e-5);
}

TEST_F(ExportDirectory, TheUnknownRowIsThatOfItemsWithoutTraining) {
  LoadedModel run = train("run", {"train.steps=1", "train.global_batch_users=2"});
  ASSERT_GT(run.unknown_items(), 0);
  const torch::Tensor rows = run.id_rows(torch::arange(run.dataset().items()));
  const torch::Tensor same = (rows == run.unknown_id_row()).all(1).sum();
  EXPECT_EQ(same.item<int64_t>(), run.unknown_items());
}

TEST_F(ExportDirectory, WeightsThatAreNotFiniteAreNotExported) {
  LoadedModel run = train("run");
  {
    const torch::NoGradGuard no_grad;
    run.model()->named_parameters()["item_output.bias"].fill_(
        std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_THAT(message_of<DataError>([&] { write(run, "export"); }),
              testing::HasSubstr("NaN or infinity"));
  EXPECT_FALSE(fs::exists(directory_ / "export"));
  for (const auto& entry : fs::directory_iterator(directory_.path()))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
}

TEST_F(ExportDirectory, OverwriteReplacesAnExportAlone) {
  LoadedModel run = train("run");
  const std::string out = write(run, "export");
  EXPECT_THROW(write(run, "export"), DataError);
  write(run, "export", /*overwrite=*/true);
  EXPECT_NO_THROW(verify_export(out));
  write_file(directory_ / "other", "a file");
  EXPECT_THROW(write(run, "other", /*overwrite=*/true), DataError);
}

// A dataset has an items.h5, too.
TEST_F(ExportDirectory, ADatasetIsNoExport) {
  LoadedModel run = train("run");
  EXPECT_THAT(message_of<DataError>([&] {
                write_export({path_, true}, run, spec_of(run), {});
              }),
              testing::HasSubstr("is not an export"));
  EXPECT_TRUE(fs::exists(path_ + "/items.h5"));
}

TEST_F(ExportDirectory, ATowerThatDoesNotMakeTheVectorsIsFound) {
  LoadedModel run = train("run");
  const std::string out = write(run, "export");
  TowerSpec spec = spec_of(run);
  spec.weights["item_output.bias"] = spec.weights["item_output.bias"] + 1;
  fs::remove(out + "/" + kItemTowerFile);
  save_tower(item_tower(spec), out + "/" + kItemTowerFile);
  EXPECT_THAT(message_of<DataError>([&] { verify_export(out); }),
              testing::HasSubstr("was replaced"));
  std::map<std::string, FileDigest> digests = read_export_json(out + "/export.json").files;
  digests[kItemTowerFile] = digest_file(out + "/" + kItemTowerFile);
  write_file(out + "/export.json", export_json(run.version(), run.source(), digests));
  EXPECT_THAT(message_of<DataError>([&] { verify_export(out); }),
              testing::HasSubstr("does not give the vectors"));
}

TEST_F(ExportDirectory, FilesOfTwoRunsAreNotMixed) {
  LoadedModel run = train("run"), other = train("other", {"run.seed=12"});
  const std::string out = write(run, "export"), foreign = write(other, "foreign");
  for (const char* name : {kUserTowerFile, kItemTowerFile, kExportItemsFile}) {
    const std::string own = content_of(out + "/" + name);
    fs::copy_file(foreign + "/" + name, out + "/" + name, fs::copy_options::overwrite_existing);
    EXPECT_THAT(message_of<DataError>([&] { verify_export(out); }),
                testing::AllOf(testing::HasSubstr("must not be mixed"), testing::HasSubstr(name)));
    write_file(out + "/" + name, own);
  }
  EXPECT_NO_THROW(verify_export(out));
}

TEST_F(ExportDirectory, AManifestThatIsNoneIsADataError) {
  LoadedModel run = train("run");
  const std::string out = write(run, "export"), path = out + "/export.json";
  const std::string good = content_of(path);
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{\"format\": 1}"), std::string("{"),
        std::string(100, '['), std::string(size_t{2} << 20, ' '),
        nlohmann::json::parse(good).patch({{{"op", "remove"}, {"path", "/files/items.h5"}}}).dump(),
        nlohmann::json::parse(good)
            .patch({{{"op", "replace"}, {"path", "/version"}, {"value", 2}}})
            .dump()}) {
    write_file(path, bad);
    EXPECT_THROW(verify_export(out), DataError) << bad.substr(0, 60);
  }
}

}  // namespace
}  // namespace pinnerformer
