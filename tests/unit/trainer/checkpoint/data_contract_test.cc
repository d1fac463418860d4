// What a model demands of the data it is used with: names it knows, vectors of the same encoder.
#include "trainer/checkpoint/data_contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/vectors/semantic_ids.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class DataContractTest : public testing::Test {
 protected:
  Dataset dataset(const std::string& name, const std::vector<std::string>& actions,
                  const torch::Tensor& vectors, const std::string& surface = "home",
                  bool float32 = false) {
    std::vector<EventRow> rows;
    for (const std::string& action : actions)
      rows.push_back({.user = 1, .item = 0, .action = action, .surface = surface, .time = 1000});
    FixtureItems items;
    items.count = vectors.defined() ? vectors.size(0) : 3;
    items.vectors = vectors;
    items.float32_vectors = float32;
    std::filesystem::create_directories(directory_ / name);
    return Dataset::open(write_dataset(directory_ / name, rows, items));
  }
  std::string error_of(const Dataset& dataset, const DataContract& contract) {
    return message_of<DataError>([&] { require_contract(dataset, contract, "step-1"); });
  }

  TemporaryDirectory directory_;
  torch::Tensor vectors_ = torch::randn({600, 4}).to(torch::kFloat16).to(torch::kFloat32);
  Dataset trained_ = dataset("trained", {"click", "like"}, vectors_);
  DataContract contract_ = data_contract(trained_);
};

TEST_F(DataContractTest, SurvivesACheckpoint) {
  const DataContract read = parse_data_contract(to_json(contract_), "data.json");
  EXPECT_EQ(read.actions, contract_.actions);
  EXPECT_EQ(read.surfaces, contract_.surfaces);
  EXPECT_EQ(read.vector_width, 4);
  EXPECT_EQ(read.vector_sample, contract_.vector_sample);
  EXPECT_EQ(read.content_version(), contract_.content_version());
  EXPECT_EQ(read.vector_sample.size(), 256U);
  EXPECT_TRUE(read.topics.empty());
  DataContract with_topics = contract_;
  with_topics.topics = {"art", "food"};
  EXPECT_EQ(parse_data_contract(to_json(with_topics), "data.json").topics, with_topics.topics);
  EXPECT_THROW(static_cast<void>(parse_data_contract("{", "data.json")), CheckpointError);
  EXPECT_THROW(static_cast<void>(parse_data_contract("{}", "data.json")), CheckpointError);
}

TEST_F(DataContractTest, NewItemsAndFewerNamesAreWelcome) {
  const torch::Tensor more = torch::cat({vectors_, torch::randn({50, 4})});
  EXPECT_EQ(error_of(trained_, contract_), "no error");
  EXPECT_EQ(error_of(dataset("more", {"like"}, more), contract_), "no error");
  // How the numbers are stored is not which encoder made them.
  EXPECT_EQ(error_of(dataset("wide", {"like"}, more, "home", /*float32=*/true), contract_),
            "no error");
}

TEST_F(DataContractTest, UnknownNamesAreNamed) {
  EXPECT_THAT(error_of(dataset("a", {"click", "share", "zoom"}, vectors_), contract_),
              AllOf(HasSubstr("'share', 'zoom'"), HasSubstr("step-1"), HasSubstr("click, like")));
  EXPECT_THAT(error_of(dataset("s", {"click"}, vectors_, "feed"), contract_),
              AllOf(HasSubstr("surface 'feed'"), HasSubstr("home")));
}

TEST_F(DataContractTest, OtherVectorsAreRefused) {
  EXPECT_THAT(error_of(dataset("other", {"click"}, vectors_ * 2), contract_),
              AllOf(HasSubstr("content vector of item"), HasSubstr("another encoder")));
  EXPECT_THAT(error_of(dataset("narrow", {"click"}, vectors_.slice(1, 0, 3)), contract_),
              AllOf(HasSubstr("3 elements"), HasSubstr("reads 4")));
  EXPECT_THAT(error_of(dataset("bare", {"click"}, {}), contract_), HasSubstr("0 elements"));
  EXPECT_NE(data_contract(dataset("again", {"click"}, vectors_ * 2)).content_version(),
            contract_.content_version());
}

TEST_F(DataContractTest, OtherCodebooksAreRefused) {
  const auto coded = [&](const std::string& name, float scale) {
    const Dataset plain = dataset(name, {"click"}, vectors_);
    const torch::Tensor books = torch::arange(24, torch::kFloat32).view({6, 4}) * scale;
    attach_semantic_ids(plain.directory(), assign_codes(vectors_, books, 2).ids);
    return Dataset::open(plain.directory());
  };
  DataContract contract = contract_;
  contract.codebooks = codebooks_version(coded("coded", 1));
  EXPECT_EQ(parse_data_contract(to_json(contract), "data.json").codebooks, contract.codebooks);
  EXPECT_EQ(error_of(coded("same", 1), contract), "no error");
  EXPECT_EQ(error_of(coded("unread", 2), contract_), "no error") << "without item.semantic_ids";
  EXPECT_THAT(error_of(coded("other", 2), contract),
              AllOf(HasSubstr("/other"), HasSubstr("of step-1"), HasSubstr(contract.codebooks),
                    HasSubstr("--codebooks-of")));
  EXPECT_THAT(error_of(trained_, contract), HasSubstr("/trained/dataset are none"));
}

TEST_F(DataContractTest, WithoutASharedItemNothingCanBeTold) {
  torch::Tensor none = vectors_.slice(0, 0, 1);
  DataContract contract = contract_;
  contract.vector_sample = {{"12345", "00"}};
  EXPECT_THAT(error_of(dataset("few", {"click"}, none), contract), HasSubstr("cannot be told"));
}

TEST_F(DataContractTest, ItemsWithoutAVectorAreNotSampled) {
  torch::Tensor sparse = torch::zeros({600, 4});
  sparse[7].fill_(1);
  const DataContract contract = data_contract(dataset("sparse", {"click"}, sparse));
  EXPECT_EQ(contract.vector_sample.size(), 1U);
  EXPECT_TRUE(contract.vector_sample.contains("7"));
}

TEST_F(DataContractTest, DataWithoutVectorsHasNoContent) {
  const DataContract contract = data_contract(dataset("bare2", {"click"}, {}));
  EXPECT_EQ(contract.content_version(), "none");
  EXPECT_TRUE(contract.vector_sample.empty());
  EXPECT_EQ(error_of(dataset("bare3", {"click"}, {}), contract), "no error");
}

TEST_F(DataContractTest, IndicesGoByName) {
  EXPECT_EQ(indices_of({"like", "view"}, {"click", "like", "view"}), (std::vector<int64_t>{1, 2}));
}

}  // namespace
}  // namespace pinnerformer
