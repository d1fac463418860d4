// Every kind of block keeps the promises of the interface, and so does the one that
// docs/adding_an_encoder.md shows.
#include "trainer/model/encoder_kinds.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "dataloader/base/enum_name.h"
#include "tests/support/encoder_promises.h"
#include "tests/support/mean_block.h"
#include "tests/support/project_paths.h"
#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

ModelOptions dropped_options() {
  ModelOptions options = tiny_model_options();
  options.dropout = 0.3;
  return options;
}

class EncoderKinds : public testing::TestWithParam<BlockKind> {};
INSTANTIATE_TEST_SUITE_P(All, EncoderKinds,
                         testing::Values(BlockKind::kTransformer, BlockKind::kLigr,
                                         BlockKind::kHstu, BlockKind::kLru),
                         [](const auto& block) { return std::string(enum_name(block.param)); });

TEST_P(EncoderKinds, KeepThePromisesOfTheInterface) {
  ModelOptions options = dropped_options();
  options.block = GetParam();
  const EncoderKind& kind = encoder_kind(GetParam());
  EXPECT_EQ(kind.block, GetParam());
  expect_encoder_promises([&] { return kind.make(options, 1); });
}

TEST_P(EncoderKinds, ThatAreRecurrentHaveAState) {
  ModelOptions options = dropped_options();
  options.block = GetParam();
  const auto block = encoder_kind(GetParam()).make(options, 1);
  EXPECT_EQ(dynamic_cast<RecurrentBlock*>(block.get()) != nullptr, is_recurrent(GetParam()));
}

TEST(EncoderKindsPage, KeepsThePromisesOfTheInterface) {
  expect_encoder_promises([] { return std::make_shared<MeanBlock>(dropped_options(), 1); });
}

std::string text_of(const std::string& name) {
  std::ifstream file(source_directory() + "/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(EncoderKindsPage, IsTheOneThatIsCompiled) {
  const std::string code = text_of("tests/support/mean_block.h");
  const std::string body = code.substr(code.find("class MeanBlock"));
  ASSERT_GT(body.size(), 1000U);
  EXPECT_NE(
      text_of("docs/adding_an_encoder.md").find(body.substr(0, body.rfind("\n}  // namespace"))),
      std::string::npos)
      << "docs/adding_an_encoder.md does not quote tests/support/mean_block.h";
}

}  // namespace
}  // namespace pinnerformer
