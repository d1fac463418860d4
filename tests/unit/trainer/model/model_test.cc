// The model: its size, what a position can see, what it reads, and its unit vectors.
#include "trainer/model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"
#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

PinnerFormer make_model(const ModelOptions& options, bool training = false) {
  torch::manual_seed(5);
  PinnerFormer model(options, tiny_model_inputs());
  model->train(training);
  return model;
}

torch::Tensor hidden_of(PinnerFormer& model, const Batch& batch) {
  const torch::NoGradGuard no_grad;
  return model->hidden(batch);
}

Batch copy_of(const Batch& batch) {
  return {
      batch.length.clone(), batch.item.clone(),     batch.action.clone(),   batch.surface.clone(),
      batch.time.clone(),   batch.duration.clone(), batch.draw_key.clone(), {}};
}

TEST(Model, OfThePaperHasTheSizeOfThePaper) {
  constexpr int64_t C = 256, H = 768, L = 6, D = 256, M = 256, I = 1024;
  constexpr int64_t actions = 7, surfaces = 5, d_action = 32, d_surface = 32;
  const ModelOptions paper;
  PinnerFormer model(paper, ModelInputs{torch::zeros({10, C}, torch::kFloat16), actions, surfaces});
  constexpr int64_t times = 2 * (12 + 32 + 32);  // learned phases
  constexpr int64_t inputs = C + 1 + 155 + d_action + d_surface;
  constexpr int64_t block = (3 * H * H + 3 * H) + (H * H + H) + (4 * H * H + 4 * H) +
                            (4 * H * H + H) + 2 * 2 * H;  // qkv, projection, FFN, two norms
  constexpr int64_t head = 2 * H + (4 * H * H + 4 * H) + (4 * H * D + D);
  constexpr int64_t item = (C * I + I) + (I * D + D);
  constexpr int64_t expected = actions * d_action + surfaces * d_surface + times +
                               (inputs * H + H) + M * H + L * block + head + item + 1;
  EXPECT_EQ(count_parameters(model), expected);
  EXPECT_GT(expected, 46'000'000);
  EXPECT_LT(expected, 47'000'000);
}

// What holds for every kind of block.
class ModelBlock : public testing::TestWithParam<BlockKind> {
 protected:
  static ModelOptions options() {
    ModelOptions options = tiny_model_options();
    options.block = GetParam();
    options.features.position = !is_recurrent(GetParam());
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(All, ModelBlock,
                         testing::Values(BlockKind::kTransformer, BlockKind::kLigr,
                                         BlockKind::kHstu, BlockKind::kLru),
                         [](const auto& block) { return std::string(enum_name(block.param)); });

TEST_P(ModelBlock, LaterEventsNeverReachEarlierPositions) {
  PinnerFormer model = make_model(options());
  const Batch batch = random_batch({9, 12}, 1);
  const torch::Tensor before = hidden_of(model, batch);
  // The newest event is left alone where it is the reference of the ages: change the middle.
  for (const int64_t place : {3, 6, 8}) {
    Batch changed = copy_of(batch);
    changed.item.select(1, place) = (changed.item.select(1, place) + 11).remainder(40);
    changed.action.select(1, place) = (changed.action.select(1, place) + 1).remainder(3);
    changed.surface.select(1, place) = (changed.surface.select(1, place) + 1).remainder(4);
    changed.duration.select(1, place).fill_(77);
    const torch::Tensor after = hidden_of(model, changed);
    EXPECT_TRUE(torch::equal(after.narrow(1, 0, place), before.narrow(1, 0, place))) << place;
    for (int64_t s = place; s < 9; ++s)
      EXPECT_FALSE(torch::equal(after.select(1, s), before.select(1, s)))
          << "position " << s << " does not see " << place;
  }
}

TEST(Model, TimeOfALaterEventReachesEarlierPositionsOnlyThroughTheAge) {
  ModelOptions options = tiny_model_options();
  PinnerFormer model = make_model(options);
  const Batch batch = random_batch({9}, 2);
  Batch changed = copy_of(batch);
  changed.time.select(1, 5) = changed.time.select(1, 5) + 1;  // not the newest one
  const torch::Tensor before = hidden_of(model, batch), after = hidden_of(model, changed);
  EXPECT_TRUE(torch::equal(after.narrow(1, 0, 5), before.narrow(1, 0, 5)));
  EXPECT_FALSE(torch::equal(after.select(1, 5), before.select(1, 5)));
  EXPECT_FALSE(torch::equal(after.select(1, 6), before.select(1, 6)));
}

TEST_P(ModelBlock, PaddingNeverReachesAValidPosition) {
  PinnerFormer model = make_model(options());
  const Batch batch = random_batch({4, 12, 7}, 3);
  const torch::Tensor before = hidden_of(model, batch);
  Batch dirty = copy_of(batch);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t length = batch.length[b].item<int64_t>();
    const int64_t rest = 12 - length;
    dirty.item[b].narrow(0, length, rest).fill_(39);
    dirty.action[b].narrow(0, length, rest).fill_(2);
    dirty.surface[b].narrow(0, length, rest).fill_(3);
    dirty.time[b].narrow(0, length, rest).fill_(5);
    dirty.duration[b].narrow(0, length, rest).fill_(1000);
  }
  const torch::Tensor after = hidden_of(model, dirty);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t length = batch.length[b].item<int64_t>();
    EXPECT_TRUE(torch::equal(after[b].narrow(0, 0, length), before[b].narrow(0, 0, length)));
  }
}

// A row gives the same output alone and beside longer rows, with dropout too.
TEST_P(ModelBlock, RowDoesNotDependOnItsBatch) {
  ModelOptions form = options();
  form.dropout = 0.3;
  PinnerFormer model = make_model(form, /*training=*/true);
  const Batch batch = random_batch({4, 12, 7}, 4);
  const torch::Tensor together = hidden_of(model, batch);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t length = batch.length[b].item<int64_t>();
    const auto row = [&](const torch::Tensor& t) { return t.narrow(0, b, 1).narrow(1, 0, length); };
    const Batch alone{batch.length.narrow(0, b, 1),
                      row(batch.item),
                      row(batch.action),
                      row(batch.surface),
                      row(batch.time),
                      row(batch.duration),
                      batch.draw_key.narrow(0, b, 1),
                      {}};
    EXPECT_TRUE(
        torch::allclose(hidden_of(model, alone)[0], together[b].narrow(0, 0, length), 1e-4, 1e-5))
        << b;
  }
}

TEST(Model, DropoutActsInTrainingOnlyAndByKey) {
  ModelOptions options = tiny_model_options();
  options.dropout = 0.3;
  PinnerFormer model = make_model(options, /*training=*/true);
  Batch batch = random_batch({6}, 5);
  const torch::Tensor one = hidden_of(model, batch);
  EXPECT_TRUE(torch::equal(hidden_of(model, batch), one));
  batch.draw_key = batch.draw_key + 1;
  EXPECT_FALSE(torch::equal(hidden_of(model, batch), one));
  model->eval();
  const torch::Tensor still = hidden_of(model, batch);
  batch.draw_key = batch.draw_key + 1;
  EXPECT_TRUE(torch::equal(hidden_of(model, batch), still));
  EXPECT_FALSE(torch::equal(still, one));
}

// With dropout: the masks are those of the positions, wherever they are computed.
TEST_P(ModelBlock, StatesAtSomePlacesAreThoseAtAllPlaces) {
  ModelOptions form = options();
  form.dropout = 0.3;
  PinnerFormer model = make_model(form, /*training=*/true);
  const Batch batch = random_batch({9, 1, 12}, 4);
  const torch::Tensor places = torch::tensor({0, 3, 8, 12, 24, 31, 35}, torch::kInt64);
  const auto gradients = [&](const torch::Tensor& states) {
    model->zero_grad();
    (states * torch::cos(torch::arange(states.numel())).view(states.sizes())).sum().backward();
    std::vector<torch::Tensor> all;
    for (const torch::Tensor& param : model->parameters())
      if (param.grad().defined()) all.push_back(param.grad().clone());
    return all;
  };
  const torch::Tensor all = model->hidden(batch).flatten(0, 1).index_select(0, places);
  const torch::Tensor some = model->hidden_at(places, batch);
  EXPECT_TRUE(torch::allclose(all, some, 1e-5, 1e-6));
  const auto expected = gradients(all), found = gradients(some);
  ASSERT_EQ(expected.size(), found.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(torch::allclose(expected[i], found[i], 1e-4, 1e-5)) << i;
}

TEST_P(ModelBlock, NoPlacesGiveNoStatesAndZeroGradients) {
  PinnerFormer model = make_model(options(), /*training=*/true);
  const torch::Tensor none = torch::empty({0}, torch::kInt64);
  const torch::Tensor states = model->hidden_at(none, random_batch({9, 4}, 4));
  EXPECT_EQ(states.sizes(), (std::vector<int64_t>{0, tiny_model_options().hidden}));
  states.sum().backward();
  for (const auto& entry : model->named_parameters()) {
    const torch::Tensor& grad = entry.value().grad();
    EXPECT_TRUE(!grad.defined() || grad.count_nonzero().item<int64_t>() == 0) << entry.key();
  }
}

TEST(Model, EmbeddingsAreUnitVectorsOfTheNewestPosition) {
  PinnerFormer model = make_model(tiny_model_options());
  const Batch batch = random_batch({1, 12, 7}, 6);
  const torch::Tensor users = model->user_embedding(batch);
  ASSERT_EQ(users.sizes(), (std::vector<int64_t>{3, 6}));
  EXPECT_TRUE(torch::allclose(users.norm(2, 1), torch::ones({3})));
  const torch::Tensor states = model->hidden(batch);
  for (int64_t b = 0; b < 3; ++b) {
    const torch::Tensor newest = states[b][batch.length[b].item<int64_t>() - 1].unsqueeze(0);
    EXPECT_TRUE(torch::allclose(model->user_head(newest)[0], users[b], 1e-5, 1e-6)) << b;
  }
  const torch::Tensor items = model->item_embedding(torch::arange(40));
  ASSERT_EQ(items.sizes(), (std::vector<int64_t>{40, 6}));
  EXPECT_TRUE(torch::allclose(items.norm(2, 1), torch::ones({40})));
}

TEST(Model, SeveralUserVectorsAreUnitVectorsThatDiffer) {
  ModelOptions options = tiny_model_options();
  options.user_vectors = 3;
  PinnerFormer model = make_model(options);
  const torch::Tensor users = model->user_embedding(random_batch({1, 12, 7}, 6));
  ASSERT_EQ(users.sizes(), (std::vector<int64_t>{3, 3, 6}));
  EXPECT_TRUE(torch::allclose(users.norm(2, 2), torch::ones({3, 3})));
  const torch::Tensor cosines = torch::matmul(users, users.transpose(1, 2));
  for (const auto& [a, b] : {std::pair<int64_t, int64_t>{0, 1}, {0, 2}, {1, 2}})
    EXPECT_LT(cosines.select(1, a).select(1, b).max().item<double>(), 0.99);
}

TEST(Model, ATopicChangesTheVectorOfItsOwnRow) {
  ModelOptions options = tiny_model_options();
  options.condition = Condition::kTopic;
  ModelInputs inputs = tiny_model_inputs();
  inputs.topics = 4;
  PinnerFormer model(options, inputs);
  model->eval();
  const torch::NoGradGuard no_grad;
  const Batch batch = random_batch({1, 12, 7}, 6);
  const torch::Tensor any = model->user_embedding(batch);
  const auto with = [&](std::vector<int64_t> topics) {
    return model->user_embedding(batch, {}, torch::tensor(topics, torch::kInt64));
  };
  EXPECT_TRUE(torch::equal(with({-1, -1, -1}), any));
  const torch::Tensor one = with({-1, 3, -1});
  EXPECT_TRUE(torch::equal(one[0], any[0]) && torch::equal(one[2], any[2]));
  EXPECT_GT((one[1] - any[1]).abs().max().item<double>(), 1e-2);
  EXPECT_FALSE(torch::equal(with({0, 0, 0}), with({1, 1, 1})));
}

// Learned rows stand beside the content vectors, or in their place, in both towers.
TEST(Model, ReadsLearnedRowsInTheInputAndInTheItemTower) {
  constexpr int64_t kIdWidth = 3;
  const Batch batch = random_batch({9}, 6);
  for (const bool vectors : {true, false}) {
    ModelInputs inputs = tiny_model_inputs();
    inputs.id_width = kIdWidth;
    if (!vectors) inputs.item_vectors = torch::Tensor();
    torch::manual_seed(5);
    PinnerFormer model(tiny_model_options(), inputs);
    model->eval();
    const int64_t content = vectors ? 8 : 0;
    for (const auto& entry : model->named_parameters()) {
      if (entry.key() == "item_expand.weight") {
        EXPECT_EQ(entry.value().size(1), content + kIdWidth);
      }
      if (entry.key() == "input.weight") {
        EXPECT_EQ(entry.value().size(1), content + kIdWidth + 4 + 5 + 1 + 155);
      }
    }
    const torch::Tensor rows =
        torch::sin(torch::arange(9 * kIdWidth, torch::kFloat32)).view({1, 9, kIdWidth});
    torch::Tensor other = rows.clone();
    other[0][4] += 1;
    const torch::Tensor before = model->hidden(batch, rows), after = model->hidden(batch, other);
    EXPECT_TRUE(torch::equal(after.narrow(1, 0, 4), before.narrow(1, 0, 4)));
    for (int64_t s = 4; s < 9; ++s)
      EXPECT_FALSE(torch::equal(after.select(1, s), before.select(1, s))) << s;

    const torch::Tensor items = torch::tensor({int64_t{1}, int64_t{2}});
    torch::Tensor item_rows = rows[0].narrow(0, 0, 2).clone().requires_grad_(true);
    const torch::Tensor embedded = model->item_embedding(items, item_rows);
    EXPECT_TRUE(torch::allclose(embedded.norm(2, 1), torch::ones({2})));
    embedded[0][0].backward();
    EXPECT_GT(item_rows.grad()[0].norm().item<float>(), 0);
    EXPECT_EQ(item_rows.grad()[1].norm().item<float>(), 0);
  }
}

// What the tied tower gives the softmax is what the encoder reads.
TEST(Model, ItemsWithNeitherVectorNorRowAreBadData) {
  ModelInputs inputs = tiny_model_inputs();
  inputs.item_vectors = torch::Tensor();
  EXPECT_THROW(PinnerFormer(tiny_model_options(), inputs), DataError);
}

TEST(Model, ItemWithoutVectorStaysFinite) {
  ModelInputs inputs = tiny_model_inputs();
  inputs.item_vectors[7].zero_();
  PinnerFormer model(tiny_model_options(), inputs);
  const torch::Tensor item = model->item_embedding(torch::tensor({7}));
  EXPECT_TRUE(item.isfinite().all().item<bool>());
  item.sum().backward();
  for (const torch::Tensor& param : model->parameters())
    EXPECT_TRUE(!param.grad().defined() || param.grad().isfinite().all().item<bool>());
}

struct Switch {
  const char* name;
  bool FeatureOptions::*on;
  std::function<void(Batch&)> change;
};

// With a feature off, changing it changes nothing; with it on, it does.
TEST(Model, SwitchesRemoveTheirInputs) {
  const std::vector<Switch> switches{
      {"action", &FeatureOptions::action, [](Batch& b) { b.action = (b.action + 1).remainder(3); }},
      {"surface", &FeatureOptions::surface,
       [](Batch& b) { b.surface = (b.surface + 1).remainder(4); }},
      {"duration", &FeatureOptions::duration, [](Batch& b) { b.duration = b.duration + 5; }},
      {"time", &FeatureOptions::time, [](Batch& b) { b.time = b.time * 2 - 1'500'000'000; }}};
  const Batch batch = random_batch({8, 5}, 7);
  for (const Switch& entry : switches) {
    Batch changed = copy_of(batch);
    entry.change(changed);
    ModelOptions options = tiny_model_options();
    PinnerFormer with = make_model(options);
    EXPECT_FALSE(torch::equal(hidden_of(with, changed), hidden_of(with, batch))) << entry.name;
    options.features.*entry.on = false;
    PinnerFormer without = make_model(options);
    EXPECT_TRUE(torch::equal(hidden_of(without, changed), hidden_of(without, batch))) << entry.name;
    EXPECT_LT(count_parameters(without), count_parameters(with)) << entry.name;
  }
}

// Without positions and times a repeated event looks the same wherever it stands.
TEST(Model, PositionSwitchRemovesTheOrder) {
  ModelOptions options = tiny_model_options();
  options.features.time = false;
  Batch batch = random_batch({6}, 8);
  for (torch::Tensor* column : {&batch.item, &batch.action, &batch.surface, &batch.duration})
    column->fill_(1);
  PinnerFormer with = make_model(options);
  EXPECT_GT((hidden_of(with, batch)[0][0] - hidden_of(with, batch)[0][5]).abs().max().item<float>(),
            1e-3);
  options.features.position = false;
  PinnerFormer without = make_model(options);
  EXPECT_TRUE(torch::allclose(hidden_of(without, batch)[0][0], hidden_of(without, batch)[0][5],
                              1e-4, 1e-5));
}

TEST(Model, PositionsAreNumberedFromTheNewest) {
  ModelOptions options = tiny_model_options();
  options.features.time = false;
  options.layers = 1;
  PinnerFormer model = make_model(options);
  for (const auto& entry : model->named_parameters())  // a block that hands on what it reads
    if (entry.key().find("projection") != std::string::npos ||
        entry.key().find("contract") != std::string::npos)
      entry.value().detach().zero_();
  Batch batch = random_batch({5, 9}, 9);
  for (torch::Tensor* column : {&batch.item, &batch.action, &batch.surface, &batch.duration})
    column->fill_(1);
  const torch::Tensor states = hidden_of(model, batch);
  for (int64_t back = 0; back < 5; ++back)
    EXPECT_TRUE(torch::allclose(states[0][4 - back], states[1][8 - back], 1e-5, 1e-6)) << back;
  EXPECT_FALSE(torch::allclose(states[0][0], states[1][0], 1e-3, 1e-4));
}

TEST(Model, UnknownDurationIsReadAsNone) {
  PinnerFormer model = make_model(tiny_model_options());
  Batch batch = random_batch({8}, 10);
  EXPECT_TRUE(batch.duration.isnan().any().item<bool>());
  const torch::Tensor states = hidden_of(model, batch);
  EXPECT_TRUE(states.isfinite().all().item<bool>());
  batch.duration = batch.duration.nan_to_num(0.0);
  EXPECT_TRUE(torch::equal(hidden_of(model, batch), states));
}

TEST(Model, TemperatureStartsAsAskedAndNeverFallsBelowAHundredth) {
  PinnerFormer model = make_model(tiny_model_options());
  EXPECT_NEAR(model->temperature(), 0.07, 1e-6);
  EXPECT_NEAR(model->inverse_temperature().item<double>(), 1 / 0.07, 1e-4);
  torch::Tensor raw = model->named_parameters()["log_inverse_temperature"];
  {
    const torch::NoGradGuard no_grad;
    raw.fill_(20);
  }
  EXPECT_NEAR(model->temperature(), 0.01, 1e-6);
  torch::Tensor inverse = model->inverse_temperature();
  EXPECT_NEAR(inverse.item<double>(), 100, 1e-3);
  inverse.backward();  // the gradient goes on, so that it can leave the limit
  EXPECT_NEAR(raw.grad().item<double>(), 100, 1e-3);
}

// Events that come later change nothing of what was read: neither by age nor by position.
TEST(Model, RecurrentBlocksReadNoAgeFromTheNewest) {
  ModelOptions options = tiny_model_options();
  options.block = BlockKind::kLru;
  options.features.position = false;
  PinnerFormer model = make_model(options);
  const Batch batch = random_batch({9, 12}, 11);
  Batch later = copy_of(batch);
  later.time.select(1, 8) = later.time.select(1, 8) + 12345;
  EXPECT_TRUE(torch::equal(hidden_of(model, later).narrow(1, 0, 8),
                           hidden_of(model, batch).narrow(1, 0, 8)));
}

class ModelState : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Times, ModelState, testing::Bool());

// Whatever the events are cut into, and beside users with more or fewer of them.
TEST_P(ModelState, GoesOnToTheVectorsOfTheWholeTimeline) {
  ModelOptions options = tiny_model_options();
  options.block = BlockKind::kLru;
  options.features.position = false;
  options.features.time = GetParam();
  PinnerFormer model = make_model(options);
  const torch::NoGradGuard no_grad;
  const Batch whole = random_batch({12, 7}, 12);
  const torch::Tensor expected = model->user_embedding(whole);
  const auto part = [&](int64_t first, int64_t count, const torch::Tensor& length) {
    const auto cut = [&](const torch::Tensor& t) { return t.narrow(1, first, count); };
    return Batch{length,          cut(whole.item),     cut(whole.action), cut(whole.surface),
                 cut(whole.time), cut(whole.duration), whole.draw_key,    {}};
  };
  const torch::Tensor empty = torch::zeros({2, model->state_width()});
  UserStates states{empty, torch::full({2}, -1, torch::kInt64)};
  model->go_on(part(0, 4, torch::tensor({4, 4})), states);
  UserStates forgotten{empty, states.time};
  const torch::Tensor found = model->go_on(part(4, 8, torch::tensor({8, 3})), states);
  EXPECT_LT((found - expected).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(states.time[1].item<int64_t>(), whole.time[1][6].item<int64_t>());
  EXPECT_GT((model->go_on(part(4, 8, torch::tensor({8, 3})), forgotten) - expected)
                .abs()
                .max()
                .item<double>(),
            1e-3);
}

TEST(Model, OnlyRecurrentBlocksHaveAState) {
  EXPECT_EQ(make_model(tiny_model_options())->state_width(), 0);
  ModelOptions options = tiny_model_options();
  options.block = BlockKind::kLru;
  EXPECT_EQ(make_model(options)->state_width(), options.layers * 2 * options.hidden);
}

TEST(Model, SameSeedGivesTheSameWeights) {
  PinnerFormer one = make_model(tiny_model_options()), two = make_model(tiny_model_options());
  const auto a = one->parameters(), b = two->parameters();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i]));
}

}  // namespace
}  // namespace pinnerformer
