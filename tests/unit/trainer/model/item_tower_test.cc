// The forms of the item tower, and the rows of codes that they add.
#include <gtest/gtest.h>

#include <cmath>

#include "dataloader/base/enum_name.h"
#include "tests/support/tiny_batches.h"
#include "trainer/model/model.h"

namespace pinnerformer {
namespace {

TEST(ItemTowerForms, TiedIsTheRowPlusALinearMapOfTheVector) {
  for (const bool vectors : {true, false}) {
    ModelOptions options = tiny_model_options();
    options.output = options.hidden;
    options.similarity = Similarity::kDot;
    ModelInputs inputs = tiny_model_inputs();
    inputs.tower = ItemTower::kTied;
    inputs.id_width = options.hidden;
    if (!vectors) inputs.item_vectors = torch::Tensor();
    PinnerFormer model(options, inputs);
    model->eval();
    const torch::Tensor items = torch::arange(5), rows = torch::randn({5, options.hidden});
    const torch::Tensor embedded = model->item_embedding(items, rows);
    if (!vectors) {
      EXPECT_TRUE(torch::equal(embedded, rows));
      continue;
    }
    const torch::Tensor other = model->item_embedding(items, rows + 1);
    EXPECT_TRUE(torch::allclose(other - embedded, torch::ones_like(rows), 0, 1e-5));
    EXPECT_GT((embedded - rows).abs().max().item<float>(), 1e-3) << "the vector is read too";
  }
}

TEST(ItemTowerForms, CodesOfAllLevelsAreAddedToTheEmbedding) {
  for (const ItemTower tower : {ItemTower::kMlp, ItemTower::kResidual}) {
    ModelOptions options = tiny_model_options();
    options.similarity = Similarity::kDot;
    ModelInputs inputs = tiny_model_inputs();
    inputs.tower = tower;
    inputs.codes = 6;
    inputs.code_rows = torch::full({inputs.item_vectors.size(0), 2}, -1, torch::kInt32);
    const torch::Tensor codes = torch::tensor({0, 3, 1, 4, 2, -1, -1, -1}, torch::kInt32);
    inputs.code_rows.narrow(0, 0, 4).copy_(codes.view({4, 2}));
    PinnerFormer model(options, inputs);
    const torch::NoGradGuard no_grad;
    torch::Tensor rows = model->named_parameters()["item_code.weight"];
    const torch::Tensor items = torch::arange(4);
    rows.zero_();
    const torch::Tensor without = model->item_embedding(items);
    rows.copy_(torch::randn_like(rows));
    const torch::Tensor sums =
        torch::stack({rows[0] + rows[3], rows[1] + rows[4], rows[2], torch::zeros_like(rows[0])});
    EXPECT_TRUE(torch::allclose(model->item_embedding(items) - without, sums, 1e-4, 1e-4))
        << enum_name(tower);
  }
}

// At the start the deep part of the residual tower is zero.
TEST(ItemTowerForms, ResidualStartsLinear) {
  ModelInputs inputs = tiny_model_inputs();
  inputs.tower = ItemTower::kResidual;
  ModelOptions options = tiny_model_options();
  options.similarity = Similarity::kDot;
  PinnerFormer model(options, inputs);
  const torch::Tensor items = torch::arange(5);
  const torch::Tensor content = inputs.item_vectors.narrow(0, 0, 5).to(torch::kFloat32);
  const torch::Tensor scaled = content / content.norm(2, 1, true) * std::sqrt(8.0);
  const auto weights = model->named_parameters();
  EXPECT_TRUE(torch::allclose(
      model->item_embedding(items),
      torch::linear(scaled, weights["item_linear.weight"], weights["item_linear.bias"]), 1e-5,
      1e-5));
}

}  // namespace
}  // namespace pinnerformer
