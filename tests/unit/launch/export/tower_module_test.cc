// The exported towers give the vectors of the model, for every form of it, any batch and length.
#include "launch/export/tower_module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/errors.h"
#include "tests/support/dataset_fixture.h"
#include "tests/support/message_of.h"
#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

constexpr int64_t kItems = 40;

// A form of the model, and what its items have.
struct Form {
  std::string name;
  void (*change)(ModelOptions&, ModelInputs&);
};

void without_features(ModelOptions& options, ModelInputs&) {
  options.features = {.content = false,
                      .time = false,
                      .surface = false,
                      .action = true,
                      .duration = false,
                      .position = false};
}

void tie(ModelOptions& options, ModelInputs& inputs) {
  inputs.tower = ItemTower::kTied;
  inputs.id_width = 16;
  options.output = 16;
}

void topics(ModelOptions& options, ModelInputs& inputs) {
  options.condition = Condition::kTopic;
  inputs.topics = 5;
}

void codes(ModelInputs& inputs) {
  inputs.codes = 7;
  inputs.code_rows = (torch::arange(kItems * 2, torch::kInt32) % 8 - 1).view({kItems, 2});
}

const std::vector<Form>& forms() {
  static const std::vector<Form> all = {
      {"paper", [](ModelOptions&, ModelInputs&) {}},
      {"ligr", [](ModelOptions& options, ModelInputs&) { options.block = BlockKind::kLigr; }},
      {"hstu", [](ModelOptions& options, ModelInputs&) { options.block = BlockKind::kHstu; }},
      {"hstu_without_features",
       [](ModelOptions& options, ModelInputs& inputs) {
         options.block = BlockKind::kHstu;
         without_features(options, inputs);
       }},
      {"lru",
       [](ModelOptions& options, ModelInputs&) {
         options.block = BlockKind::kLru;
         options.features.position = false;
       }},
      {"lru_residual_head",
       [](ModelOptions& options, ModelInputs&) {
         options.block = BlockKind::kLru;
         options.features.position = false;
         options.user_head = UserHead::kResidual;
       }},
      {"norm",
       [](ModelOptions& options, ModelInputs&) {
         options.user_head = UserHead::kNorm;
         options.output = 16;
       }},
      {"residual_head",
       [](ModelOptions& options, ModelInputs&) { options.user_head = UserHead::kResidual; }},
      {"residual_head_of_long_histories",
       [](ModelOptions& options, ModelInputs&) {
         options.user_head = UserHead::kResidual;
         options.max_length = 30;
       }},
      {"residual_items",
       [](ModelOptions&, ModelInputs& inputs) { inputs.tower = ItemTower::kResidual; }},
      {"tied", tie},
      {"tied_without_vectors",
       [](ModelOptions& options, ModelInputs& inputs) {
         tie(options, inputs);
         inputs.item_vectors = torch::Tensor();
       }},
      {"tied_position_alone",
       [](ModelOptions& options, ModelInputs& inputs) {
         tie(options, inputs);
         without_features(options, inputs);
         options.features.action = false;
         options.features.position = true;
       }},
      {"tied_residual_head",
       [](ModelOptions& options, ModelInputs& inputs) {
         tie(options, inputs);
         options.user_head = UserHead::kResidual;
       }},
      {"dot", [](ModelOptions& options, ModelInputs&) { options.similarity = Similarity::kDot; }},
      {"dot_residual",
       [](ModelOptions& options, ModelInputs& inputs) {
         options.similarity = Similarity::kDot;
         options.user_head = UserHead::kResidual;
         inputs.tower = ItemTower::kResidual;
       }},
      {"rows_alone",
       [](ModelOptions&, ModelInputs& inputs) {
         inputs.item_vectors = torch::Tensor();
         inputs.id_width = 6;
       }},
      {"vectors_and_rows", [](ModelOptions&, ModelInputs& inputs) { inputs.id_width = 6; }},
      {"without_features", without_features},
      {"prior",
       [](ModelOptions& options, ModelInputs&) {
         options.prior_days = {1, 7};
       }},
      {"user_vectors", [](ModelOptions& options, ModelInputs&) { options.user_vectors = 3; }},
      {"user_vectors_prior",
       [](ModelOptions& options, ModelInputs&) {
         options.user_vectors = 3;
         options.prior_days = {1, 7};
       }},
      {"codes", [](ModelOptions&, ModelInputs& inputs) { codes(inputs); }},
      {"codes_rows_residual_head",
       [](ModelOptions& options, ModelInputs& inputs) {
         codes(inputs);
         inputs.id_width = 6;
         options.user_head = UserHead::kResidual;
       }},
      {"codes_tied",
       [](ModelOptions& options, ModelInputs& inputs) {
         tie(options, inputs);
         codes(inputs);
       }},
      {"topics", [](ModelOptions& options, ModelInputs& inputs) { topics(options, inputs); }},
      {"lru_three_layers_tied",
       [](ModelOptions& options, ModelInputs& inputs) {
         tie(options, inputs);
         options.block = BlockKind::kLru;
         options.features.position = false;
         options.layers = 3;
         options.user_vectors = 2;
       }},
      {"one_layer", [](ModelOptions& options, ModelInputs&) { options.layers = 1; }},
      {"three_layers_ligr_dot",
       [](ModelOptions& options, ModelInputs&) {
         options.layers = 3;
         options.block = BlockKind::kLigr;
         options.similarity = Similarity::kDot;
       }},
  };
  return all;
}

// A model of this form with weights none of which is 0 or 1, and its towers.
struct Exported {
  explicit Exported(const Form& form) {
    torch::manual_seed(17);
    options = tiny_model_options();
    inputs = tiny_model_inputs();
    form.change(options, inputs);
    model = PinnerFormer(options, inputs);
    model->eval();
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& weight : model->parameters()) weight.add_(torch::randn_like(weight) * 0.2);
    rows = torch::randn({kItems, inputs.id_width});
    spec = tower_spec(model, options, inputs, {"weights-1", "vectors-1"});
    user = user_tower(spec);
    item = item_tower(spec);
  }

  [[nodiscard]] torch::Tensor content_of(const torch::Tensor& items) const {
    std::vector<int64_t> shape = items.sizes().vec();
    shape.push_back(spec.content_width);
    if (spec.content_width == 0) return torch::zeros(shape);
    return inputs.item_vectors.to(torch::kFloat32).index_select(0, items.flatten()).view(shape);
  }
  // What the towers read: the learned rows, and the sums of the code rows behind them.
  [[nodiscard]] torch::Tensor rows_of(const torch::Tensor& items) const {
    const torch::NoGradGuard no_grad;
    const torch::Tensor own = learned_rows(items);
    return spec.code_width > 0 ? torch::cat({own, PinnerFormer(model)->code_sums(items)}, -1) : own;
  }
  [[nodiscard]] torch::Tensor learned_rows(const torch::Tensor& items) const {
    std::vector<int64_t> shape = items.sizes().vec();
    shape.push_back(inputs.id_width);
    return rows.index_select(0, items.flatten()).view(shape);
  }
  // Undefined without rows, as the model wants them.
  [[nodiscard]] torch::Tensor model_rows(const torch::Tensor& items) const {
    return inputs.id_width > 0 ? learned_rows(items) : torch::Tensor();
  }
  [[nodiscard]] std::vector<c10::IValue> user_inputs(const Batch& batch) const {
    return {content_of(batch.item), rows_of(batch.item), batch.action, batch.surface, batch.time,
            batch.duration,         batch.length};
  }
  [[nodiscard]] torch::Tensor expected_users(const Batch& batch) {
    const torch::NoGradGuard no_grad;
    const torch::Tensor vectors = model->user_embedding(batch, model_rows(batch.item));
    if (options.prior_days.empty()) return vectors;
    std::vector<int64_t> shape = vectors.sizes().vec();
    shape.back() = -1;
    return torch::cat({vectors, model->scaled_prior_weights().expand(shape)}, -1);
  }
  [[nodiscard]] torch::Tensor expected_items() {
    const torch::NoGradGuard no_grad;
    const torch::Tensor items = torch::arange(kItems);
    return model->item_embedding(items, model_rows(items));
  }

  ModelOptions options;
  ModelInputs inputs;
  PinnerFormer model{nullptr};
  torch::Tensor rows;
  TowerSpec spec;
  torch::jit::Module user, item;
};

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

const Form& form_of(const std::string& name) {
  return *std::ranges::find(forms(), name, &Form::name);
}

class TowerModule : public testing::TestWithParam<Form> {};
INSTANTIATE_TEST_SUITE_P(Forms, TowerModule, testing::ValuesIn(forms()),
                         [](const auto& form) { return form.param.name; });

TEST_P(TowerModule, GivesTheVectorsOfTheModel) {
  Exported exported(GetParam());
  const double scale = std::max(1.0, exported.expected_items().abs().max().item<double>());
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{1},
                                              {exported.options.max_length},
                                              {4, exported.options.max_length, 7},
                                              {1, 2, 3, 5, 8, 11}}) {
    const Batch batch = random_batch(lengths, 3);
    const torch::Tensor vectors = exported.user.forward(exported.user_inputs(batch)).toTensor();
    const torch::Tensor expected = exported.expected_users(batch);
    ASSERT_EQ(vectors.sizes(), expected.sizes());
    EXPECT_LT(distance(vectors, expected), 1e-5 * scale) << lengths.size();
  }
  const torch::Tensor items = torch::arange(kItems);
  const torch::Tensor vectors =
      exported.item.forward({exported.content_of(items), exported.rows_of(items)}).toTensor();
  EXPECT_LT(distance(vectors, exported.expected_items()), 1e-5 * scale);
}

TEST_P(TowerModule, LoadsAgainFromItsFile) {
  Exported exported(GetParam());
  const TemporaryDirectory directory;
  save_tower(exported.user, directory / "user_tower.pt");
  const torch::jit::Module loaded = load_tower(directory / "user_tower.pt");
  torch::jit::Module again = loaded;
  const Batch batch = random_batch({4, 12, 7}, 5);
  // Three calls: the profiling executor specialises after the first ones.
  for (int call = 0; call < 3; ++call)
    EXPECT_TRUE(torch::equal(again.forward(exported.user_inputs(batch)).toTensor(),
                             exported.user.forward(exported.user_inputs(batch)).toTensor()));
  EXPECT_EQ(version_of(loaded).model, "weights-1");
  EXPECT_EQ(version_of(loaded).content, "vectors-1");
}

TEST(TowerModuleFile, ArgumentsHaveTheNamesAndTheOrderOfTheFormat) {
  Exported exported(form_of("paper"));
  std::vector<std::string> names, declared;
  for (const auto& argument :
       exported.user.get_method("forward").function().getSchema().arguments())
    names.push_back(argument.name());
  for (const TowerInput& input : user_tower_inputs(exported.spec)) declared.push_back(input.name);
  EXPECT_EQ(names, (std::vector<std::string>{"self", "content", "id_rows", "action", "surface",
                                             "time", "duration", "length"}));
  declared.insert(declared.begin(), "self");
  EXPECT_EQ(names, declared);
}

TEST(TowerModuleFile, ParametersHaveTheNamesOfTheModel) {
  Exported exported(form_of("residual_head"));
  std::vector<std::string> names, expected;
  for (const auto& parameter : exported.user.named_parameters()) names.push_back(parameter.name);
  for (const auto& [name, weight] : exported.spec.weights)
    if (name != "log_inverse_temperature") expected.push_back(name);
  std::ranges::sort(names);
  EXPECT_EQ(names, expected);
}

TEST(TowerModuleFile, ExtraFilesHoldTheVersions) {
  Exported exported(form_of("paper"));
  const TemporaryDirectory directory;
  save_tower(exported.item, directory / "item_tower.pt");
  torch::jit::ExtraFilesMap extra = {{"model_version", ""}, {"content_version", ""}};
  torch::jit::load(directory / "item_tower.pt", torch::kCPU, extra);
  EXPECT_EQ(extra["model_version"], "weights-1");
  EXPECT_EQ(extra["content_version"], "vectors-1");
}

TEST(TowerModuleFile, ADamagedOrForeignFileIsADataError) {
  const TemporaryDirectory directory;
  EXPECT_THROW(static_cast<void>(load_tower(directory / "none.pt")), MissingInputError);
  write_durable(directory / "text.pt", "no archive");
  EXPECT_THROW(static_cast<void>(load_tower(directory / "text.pt")), DataError);
  torch::jit::Module other("__torch__.other");
  other.save(directory / "other.pt");
  EXPECT_THROW(static_cast<void>(load_tower(directory / "other.pt")), DataError);
}

TEST(TowerModuleTopics, ATopicIsOneMoreInput) {
  Exported exported(form_of("topics"));
  const Batch batch = random_batch({4, 12, 7}, 3);
  std::vector<c10::IValue> inputs = exported.user_inputs(batch);
  inputs.emplace_back(torch::tensor({4, -1, 0}, torch::kInt64));
  const torch::NoGradGuard no_grad;
  const torch::Tensor found = exported.user.get_method("for_topic")(inputs).toTensor();
  const torch::Tensor any = exported.expected_users(batch);
  const torch::Tensor expected =
      exported.model->user_embedding(batch, {}, inputs.back().toTensor());
  EXPECT_LT(distance(found, expected), 1e-5);
  EXPECT_LT(distance(found[1], any[1]), 1e-5);
  for (const int64_t user : {0, 2}) EXPECT_GT(distance(found[user], any[user]), 1e-2) << user;
  for (const int64_t bad : {-2, 5}) {
    inputs.back() = torch::full({3}, bad, torch::kInt64);
    EXPECT_THAT(message_of<std::exception>([&] { exported.user.get_method("for_topic")(inputs); }),
                testing::HasSubstr("topic: expected -1 to 4"));
  }
}

// Events in two parts, the second from the state after the first, are the events together.
TEST(TowerModuleStates, GoingOnGivesTheVectorsOfTheWholeTimelines) {
  for (const char* name : {"lru", "lru_three_layers_tied"}) {
    Exported exported(form_of(name));
    const Batch whole = random_batch({12, 12, 12}, 3);
    const auto part = [&](int64_t first, int64_t count) {
      Batch batch = whole;
      for (torch::Tensor* column :
           {&batch.item, &batch.action, &batch.surface, &batch.time, &batch.duration})
        *column = column->narrow(1, first, count);
      batch.length = torch::full({3}, count, torch::kInt64);
      return batch;
    };
    const int64_t width = exported.model->state_width();
    c10::IValue state = torch::zeros({3, width}), time = torch::full({3}, -1, torch::kInt64);
    torch::Tensor vectors;
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 5}, {5, 1}, {6, 6}}) {
      std::vector<c10::IValue> inputs = exported.user_inputs(part(first, count));
      inputs.push_back(state);
      inputs.push_back(time);
      const std::vector<c10::IValue> results =
          exported.user.get_method("go_on")(inputs).toTuple()->elements().vec();
      vectors = results[0].toTensor();
      state = results[1];
      time = results[2];
    }
    EXPECT_LT(distance(vectors, exported.expected_users(whole)), 1e-4) << name;
    EXPECT_TRUE(torch::equal(time.toTensor(), whole.time.select(1, 11)));
    std::vector<c10::IValue> alone = exported.user_inputs(part(6, 6));
    EXPECT_GT(distance(exported.user.forward(alone).toTensor(), vectors), 1e-3)
        << "the state matters";
    alone.emplace_back(torch::zeros({3, width - 1}));
    alone.push_back(time);
    EXPECT_THAT(message_of<std::exception>([&] { exported.user.get_method("go_on")(alone); }),
                testing::HasSubstr("state: expected [B, " + std::to_string(width) + "]"));
  }
}

// What stands behind the newest event is never read.
TEST(TowerModuleInputs, PaddingMayHoldAnything) {
  for (const char* name : {"residual_head", "tied", "vectors_and_rows"}) {
    Exported exported(form_of(name));
    const Batch batch = random_batch({4, 12, 7}, 3);
    std::vector<c10::IValue> inputs = exported.user_inputs(batch);
    const torch::Tensor before = exported.user.forward(inputs).toTensor();
    const torch::Tensor padding = torch::arange(12) >= batch.length.unsqueeze(1);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const size_t i : {0U, 1U})
      inputs[i] = inputs[i].toTensor().masked_fill(padding.unsqueeze(-1), nan);
    for (const size_t i : {2U, 3U, 4U}) inputs[i] = inputs[i].toTensor().masked_fill(padding, -99);
    inputs[5] = inputs[5].toTensor().masked_fill(padding, nan);
    EXPECT_TRUE(torch::equal(exported.user.forward(inputs).toTensor(), before)) << name;
  }
}

TEST(TowerModuleInputs, LengthMayBeAColumnAndUnreadInputsOfAnyWidth) {
  Exported exported(form_of("paper"));
  const Batch batch = random_batch({4, 7}, 3);
  std::vector<c10::IValue> inputs = exported.user_inputs(batch);
  const torch::Tensor before = exported.user.forward(inputs).toTensor();
  inputs[1] = torch::zeros({2, 7, 1});
  inputs[6] = batch.length.unsqueeze(1);
  EXPECT_TRUE(torch::equal(exported.user.forward(inputs).toTensor(), before));
}

TEST(TowerModuleInputs, AnAbsentDurationIsMinusOneOrNan) {
  Exported exported(form_of("paper"));
  const Batch batch = random_batch({4, 7}, 3);
  std::vector<c10::IValue> inputs = exported.user_inputs(batch);
  inputs[5] = torch::full({2, 7}, -1.0);
  const torch::Tensor one = exported.user.forward(inputs).toTensor();
  inputs[5] = torch::full({2, 7}, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(torch::equal(exported.user.forward(inputs).toTensor(), one));
}

struct BadInput {
  size_t input;
  std::function<torch::Tensor(const torch::Tensor&)> change;
  std::string says;
};

TEST(TowerModuleInputs, BadValuesAreRefusedByName) {
  Exported exported(form_of("paper"));
  const Batch batch = random_batch({4, 7}, 3);
  using T = torch::Tensor;
  const std::vector<BadInput> cases = {
      {0, [](const T& t) { return t.narrow(2, 0, 7); }, "content: the last dimension must be 8"},
      {0, [](const T& t) { return t.flatten(1); }, "content: wrong number of dimensions"},
      {0, [](const T& t) { return t / 0.0; }, "holds NaN or infinity"},
      {2, [](const T& t) { return t + 3; }, "action: expected 0 to 2"},
      {2, [](const T& t) { return t - 3; }, "action: expected 0 to 2"},
      {3, [](const T& t) { return t + 4; }, "surface: expected 0 to 3"},
      {4, [](const T& t) { return t * 1000; }, "time: expected seconds"},
      {4, [](const T& t) { return -t; }, "time: expected seconds"},
      {4, [](const T& t) { return t.flip(1); }, "time: events must be ordered"},
      {4,
       [](const T& t) {
         return t.repeat({1, 3});
       },
       "at most 12 events"},
      {6, [](const T& t) { return t - 4; }, "length: expected 1 to"},
      {6, [](const T& t) { return t + 1; }, "length: expected 1 to"},
      {6, [](const T& t) { return t.narrow(0, 0, 1); }, "length: expected one number"},
  };
  for (const BadInput& bad : cases) {
    std::vector<c10::IValue> inputs = exported.user_inputs(batch);
    inputs[bad.input] = bad.change(inputs[bad.input].toTensor());
    // The message quotes the lines around the failed check as well; the reason is what comes last.
    const std::string message = message_of<std::exception>([&] { exported.user.forward(inputs); });
    EXPECT_THAT(message.substr(std::min(message.rfind("AssertionError"), message.size())),
                testing::HasSubstr(bad.says))
        << message;
  }
}

}  // namespace
}  // namespace pinnerformer
