#include "trainer/model/encoder_kinds.h"

#include <algorithm>
#include <array>

#include "trainer/model/hstu_block.h"
#include "trainer/model/lru_block.h"
#include "trainer/model/transformer_block.h"

namespace pinnerformer {
namespace {

template <class Block>
std::shared_ptr<EncoderBlock> make(const ModelOptions& options, int64_t site) {
  return std::make_shared<Block>(options, site);
}

constexpr auto kKinds = std::to_array<EncoderKind>({
    {BlockKind::kTransformer, make<TransformerBlock>, transformer_script},
    {BlockKind::kLigr, make<TransformerBlock>, transformer_script},
    {BlockKind::kHstu, make<HstuBlock>, hstu_script},
    {BlockKind::kLru, make<LruBlock>, lru_script},
});
static_assert(kKinds.size() == enum_names(BlockKind()).size());

}  // namespace

const EncoderKind& encoder_kind(BlockKind block) {
  return *std::ranges::find(kKinds, block, &EncoderKind::block);
}

}  // namespace pinnerformer
