// What trainer/model/encoder_block.h promises of every block, as checks for tests.
#pragma once
#include <functional>
#include <memory>

#include "trainer/model/encoder_block.h"

namespace pinnerformer {

// Makes blocks of width 16 for up to 12 events, the same one each time, and fails the running test
// where a position sees a later one or padding, a row depends on its batch, dropout ignores its
// keys, or forward_at() differs from forward(), in value or gradient.
void expect_encoder_promises(const std::function<std::shared_ptr<EncoderBlock>()>& make);

}  // namespace pinnerformer
