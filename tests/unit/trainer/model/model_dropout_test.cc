// Where the model drops activations: every use has a mask of its own.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "tests/support/tiny_batches.h"
#include "trainer/model/keyed_dropout.h"
#include "trainer/model/model.h"

namespace pinnerformer {
namespace {

constexpr double kRate = 0.5;

// What two branches of a block end with, by kind.
struct Branches {
  BlockKind block;
  std::vector<std::string> last_layers;
};

// The mask of one branch of a block: the layer behind it gives ones, the other branch zeros.
torch::Tensor branch_mask(EncoderBlock& block, const std::vector<std::string>& last_layers,
                          const std::string& branch, const Sequences& sequences) {
  const torch::NoGradGuard no_grad;
  auto parameters = block.named_parameters();
  for (const std::string& name : last_layers) {
    parameters[name + ".weight"].zero_();
    parameters[name + ".bias"].fill_(name == branch ? 1 : 0);
  }
  const torch::Tensor input = torch::zeros({2, 12, 16});
  return (block.forward(input, sequences) - input) * (1 - kRate);
}

// hstu drops before its last layer, which is made the identity of ones here.
torch::Tensor hstu_mask(EncoderBlock& block, const Sequences& sequences) {
  const torch::NoGradGuard no_grad;
  auto parameters = block.named_parameters();
  for (const std::string name : {"mixed_norm.weight", "uqvk.weight", "output.bias"})
    parameters[name].zero_();
  parameters["mixed_norm.bias"].fill_(1);
  parameters["uqvk.bias"].fill_(1);
  parameters["output.weight"].copy_(torch::eye(16) / torch::silu(torch::ones({1})));
  const torch::Tensor input = torch::zeros({2, 12, 16});
  return (block.forward(input, sequences) - input) * (1 - kRate);
}

class ModelDropout : public testing::TestWithParam<Branches> {};
INSTANTIATE_TEST_SUITE_P(Blocks, ModelDropout,
                         testing::Values(Branches{BlockKind::kTransformer,
                                                  {"projection", "contract"}},
                                         Branches{BlockKind::kHstu, {}},
                                         Branches{BlockKind::kLru, {"read", "contract"}}));

TEST_P(ModelDropout, EveryLayerAndBranchHasAMaskOfItsOwn) {
  ModelOptions options = tiny_model_options();
  options.layers = 3;
  options.dropout = kRate;
  options.block = GetParam().block;
  PinnerFormer model(options, tiny_model_inputs());
  model->train();
  const Sequences sequences{torch::tensor({12, 12}), torch::arange(24).view({2, 12}),
                            torch::tensor({5, 77}, torch::kInt64)};
  // That of the input is made at site 0.
  std::vector<torch::Tensor> masks = {
      keyed_dropout(torch::ones({2, 12, 16}), sequences.draw_key, 0, kRate) * (1 - kRate)};
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    const auto module = model->named_children()["block" + std::to_string(layer)];
    auto& block = *module->as<EncoderBlock>();
    for (const std::string& branch : GetParam().last_layers)
      masks.push_back(branch_mask(block, GetParam().last_layers, branch, sequences));
    if (GetParam().last_layers.empty()) masks.push_back(hstu_mask(block, sequences));
  }
  for (size_t a = 0; a < masks.size(); ++a) {
    EXPECT_NEAR(masks[a].mean().item<double>(), 1 - kRate, 0.1) << a;
    for (size_t b = 0; b < a; ++b) {
      const double equal = masks[a].isclose(masks[b]).to(torch::kFloat32).mean().item<double>();
      EXPECT_NEAR(equal, 0.5, 0.15) << "uses " << a << " and " << b << " share their mask";
    }
  }
}

// With branches that give zeros the blocks hand on what they read: the input behind its dropout.
TEST(ModelDropoutOfInputs, IsAtTheRateOfTheOptions) {
  ModelOptions options = tiny_model_options();
  options.dropout = kRate;
  PinnerFormer model(options, tiny_model_inputs());
  model->train();
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters())
    if (parameter.key().find("projection") != std::string::npos ||
        parameter.key().find("contract") != std::string::npos)
      parameter.value().zero_();
  const torch::Tensor hidden = model->hidden(random_batch({12, 12, 12}, 3));
  EXPECT_NEAR(hidden.eq(0).to(torch::kFloat32).mean().item<double>(), kRate, 0.1);
}

}  // namespace
}  // namespace pinnerformer
