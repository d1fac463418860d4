// States of users in a vector file: what is stored is what is read.
#include "launch/serving/user_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/errors.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

UserStates three_states(int64_t width) {
  return {
      waves({3, width}, 0.7),
      torch::tensor({int64_t{0}, int64_t{1'700'000'123}, int64_t{4'102'444'799}}, torch::kInt64)};
}

// A file with three users, whose vectors have 4 numbers.
std::string write_states(const TemporaryDirectory& directory, const UserStates& states) {
  const auto ids = [](int64_t count) {
    IdColumn column(/*integers=*/true);
    for (int64_t i = 0; i < count; ++i) column.push_back(i);
    return column;
  };
  const torch::Tensor packed = packed_states(states);
  EmbeddingFileWriter writer(directory / "vectors.h5", {"weights", "content"},
                             {{"/user", 3, 4, true, ids, ElementType::kFloat32},
                              {kStateSet, 3, packed.size(1), true, ids, ElementType::kFloat32}});
  writer.write("/user", 0, waves({3, 4}, 1.1));
  writer.write(kStateSet, 0, packed);
  writer.publish();
  return directory / "vectors.h5";
}

TEST(UserStates, ComeBackAsTheyWereStored) {
  const TemporaryDirectory directory;
  const UserStates states = three_states(6);
  const StoredStates stored(write_states(directory, states), 8);
  const UserStates found = stored.states({2, -1, 0, 1});
  for (const auto& [place, row] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 2}, {2, 0}, {3, 1}}) {
    EXPECT_TRUE(torch::equal(found.memory[place], states.memory[row])) << row;
    EXPECT_EQ(found.time[place].item<int64_t>(), states.time[row].item<int64_t>()) << row;
  }
  EXPECT_EQ(found.memory[1].count_nonzero().item<int64_t>(), 0) << "a user without a state";
  EXPECT_EQ(found.time[1].item<int64_t>(), -1);
  EXPECT_TRUE(torch::equal(stored.vector(1), waves({3, 4}, 1.1)[1]));
}

TEST(UserStates, OfAnotherWidthAreRefused) {
  const TemporaryDirectory directory;
  const std::string path = write_states(directory, three_states(6));
  EXPECT_THAT(message_of<DataError>([&] { StoredStates(path, 10); }),
              HasSubstr("/state/vector is [3, 8], expected [3, 10]"));
}

TEST(UserStates, AreKeptByRecurrentModelsAlone) {
  ModelOptions options = tiny_model_options();
  EXPECT_THAT(message_of<ConfigError>([&] { require_states(options); }),
              HasSubstr("--states and model.block = transformer"));
  options.block = BlockKind::kLru;
  EXPECT_NO_THROW(require_states(options));
  options.user_head = UserHead::kResidual;
  EXPECT_THAT(message_of<ConfigError>([&] { require_states(options); }),
              HasSubstr("--states and model.user_head = residual"));
}

}  // namespace
}  // namespace pinnerformer
