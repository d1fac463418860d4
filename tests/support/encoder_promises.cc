#include "tests/support/encoder_promises.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/tiny_batches.h"

namespace pinnerformer {
namespace {

constexpr int64_t kUsers = 3, kLength = 12, kWidth = 16;

torch::Tensor some_states() { return waves({kUsers, kLength, kWidth}, 0.37); }

Sequences some_sequences() {
  return {torch::tensor({12, 5, 9}, torch::kInt64),
          torch::exp(waves({kUsers, kLength}, 0.5) * 4 + 4).to(torch::kInt64).cumsum(1),
          torch::tensor({5, 77, 1234}, torch::kInt64)};
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return a.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
}

void expect_causal(EncoderBlock& block) {
  const Sequences sequences = some_sequences();
  const torch::Tensor before = block.forward(some_states(), sequences);
  for (const int64_t place : {1, 4, 11}) {
    torch::Tensor changed = some_states();
    changed.select(1, place) += 1;
    const torch::Tensor after = block.forward(changed, sequences);
    EXPECT_EQ(distance(after.narrow(1, 0, place), before.narrow(1, 0, place)), 0)
        << "a position sees event " << place << ", which is later";
    EXPECT_GT(distance(after.select(1, place), before.select(1, place)), 1e-3);
  }
}

void expect_rows_apart(EncoderBlock& block) {
  const Sequences all = some_sequences();
  const torch::Tensor together = block.forward(some_states(), all);
  for (int64_t b = 0; b < kUsers; ++b) {
    const int64_t length = all.length[b].item<int64_t>();
    const auto row = [&](const torch::Tensor& t) { return t.narrow(0, b, 1).narrow(1, 0, length); };
    const torch::Tensor alone =
        block.forward(row(some_states()),
                      {all.length.narrow(0, b, 1), row(all.time), all.draw_key.narrow(0, b, 1)});
    EXPECT_LT(distance(alone, row(together)), 1e-5) << "row " << b << " depends on its batch";
  }
}

void expect_keyed_dropout(EncoderBlock& block) {
  Sequences sequences = some_sequences();
  const torch::Tensor one = block.forward(some_states(), sequences);
  EXPECT_EQ(distance(block.forward(some_states(), sequences), one), 0);
  sequences.draw_key = sequences.draw_key + 1;
  EXPECT_GT(distance(block.forward(some_states(), sequences), one), 1e-3);
}

// Values and the gradients of the input and of all weights.
std::vector<torch::Tensor> results(EncoderBlock& block, const torch::Tensor& positions, bool at) {
  torch::Tensor states = some_states().requires_grad_(true);
  block.zero_grad();
  const torch::Tensor output = at ? block.forward_at(states, some_sequences(), positions)
                                  : rows_at(block.forward(states, some_sequences()), positions);
  (output * waves({positions.numel(), kWidth}, 1.3)).sum().backward();
  std::vector<torch::Tensor> all = {output.detach(), states.grad()};
  for (const torch::Tensor& weight : block.parameters())
    if (weight.grad().defined()) all.push_back(weight.grad().clone());
  return all;
}

void expect_same_at_positions(EncoderBlock& block) {
  const torch::Tensor positions = torch::tensor({0, 4, 13, 16, 32}, torch::kInt64);
  const auto whole = results(block, positions, false), some = results(block, positions, true);
  ASSERT_EQ(whole.size(), some.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_GT(whole[i].abs().max().item<double>(), 0) << i;
    EXPECT_LT(distance(whole[i], some[i]), 1e-4) << "of result " << i;
  }
}

}  // namespace

void expect_encoder_promises(const std::function<std::shared_ptr<EncoderBlock>()>& make) {
  torch::manual_seed(5);
  const std::shared_ptr<EncoderBlock> block = make();
  block->train();
  expect_same_at_positions(*block);
  const torch::NoGradGuard no_grad;
  expect_rows_apart(*block);
  expect_keyed_dropout(*block);
  block->eval();
  expect_causal(*block);
}

}  // namespace pinnerformer
