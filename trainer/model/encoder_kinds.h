// The kinds of blocks an encoder can be made of: one row of a table for each value of model.block.
#pragma once
#include <memory>
#include <string>

#include "trainer/model/encoder_block.h"
#include "trainer/options.h"

namespace pinnerformer {

struct EncoderKind {
  BlockKind block;
  // Draws the weights from LibTorch's default generator. `site` and `site + 1` number the dropouts.
  std::shared_ptr<EncoderBlock> (*make)(const ModelOptions& options, int64_t site);
  // Its formula in evaluation mode as TorchScript, for the export:
  //   forward(self, states: Tensor, time: Tensor) -> Tensor
  //   newest(self, states: Tensor, time: Tensor, valid: Tensor, last: Tensor) -> Tensor
  // forward() is that of EncoderBlock. newest() gives row `last` of every user, [B, H]; `valid`
  // [B, S] is false at padding. Weights have their names; modules are called by forward().
  std::string (*script)(const ModelOptions& options);
};

[[nodiscard]] const EncoderKind& encoder_kind(BlockKind block);

}  // namespace pinnerformer
