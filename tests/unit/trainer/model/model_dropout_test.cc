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

// The mask of one branch of a block: the layer behind it gives ones, the other branch zeros.
torch::Tensor branch_mask(BlockImpl& block, const std::string& branch,
                          const torch::Tensor& draw_key) {
  const torch::NoGradGuard no_grad;
  auto parameters = block.named_parameters();
  for (const std::string name : {"projection", "contract"}) {
    parameters[name + ".weight"].zero_();
    parameters[name + ".bias"].fill_(name == branch ? 1 : 0);
  }
  const torch::Tensor input = torch::zeros({draw_key.numel(), 12, 16});
  return (block.forward(input, draw_key) - input) * (1 - kRate);
}

TEST(ModelDropout, EveryLayerAndBranchHasAMaskOfItsOwn) {
  ModelOptions options = tiny_model_options();
  options.layers = 3;
  options.dropout = kRate;
  PinnerFormer model(options, tiny_model_inputs());
  model->train();
  const torch::Tensor draw_key = torch::tensor({5, 77}, torch::kInt64);
  // That of the input is made at site 0.
  std::vector<torch::Tensor> masks = {keyed_dropout(torch::ones({2, 12, 16}), draw_key, 0, kRate) *
                                      (1 - kRate)};
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    auto module = model->named_children()["block" + std::to_string(layer)];
    for (const std::string branch : {"projection", "contract"})
      masks.push_back(branch_mask(*module->as<BlockImpl>(), branch, draw_key));
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
TEST(ModelDropout, InputIsDroppedAtTheRateOfTheOptions) {
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
