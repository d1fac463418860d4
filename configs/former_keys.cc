#include "configs/former_keys.h"

#include <algorithm>
#include <array>

#include "configs/errors.h"

namespace pinnerformer {
namespace {

constexpr auto kFormerKeys = std::to_array<FormerKey>({
    {"item.id_table", "item.table", ""},
    {"train.accumulate", "train.gradient_accumulation_steps", ""},
    {"comm.wire_precision", "comm.reduce_dtype", ""},
    {"checkpoint.keep_best", "",
     "a training loss does not tell which checkpoint is best. Keep several with "
     "checkpoint.keep_last or checkpoint.keep_every and compare them with `evaluate --checkpoint`"},
    {"negatives.sketch_width", "", "positives are counted exactly; remove the key"},
    {"negatives.sketch_depth", "", "positives are counted exactly; remove the key"},
    {"comm.first_bucket_mib", "", "the first bucket has 1 MiB, or comm.bucket_mib if that is less"},
});

bool is_or_contains(std::string_view former, std::string_view key) {
  return key.starts_with(former) && (key.size() == former.size() || key[former.size()] == '.');
}

}  // namespace

const FormerKey* find_former_key(std::string_view key) {
  const auto* const found = std::ranges::find_if(
      kFormerKeys, [&](const FormerKey& former) { return is_or_contains(former.name, key); });
  return found == kFormerKeys.end() ? nullptr : found;
}

std::optional<std::string> current_key(const std::string& key) {
  const FormerKey* former = find_former_key(key);
  if (former == nullptr) return key;
  if (former->now.empty()) return std::nullopt;
  return std::string(former->now) + key.substr(former->name.size());
}

void refuse_former_key(const std::string& key, const std::string& origin) {
  const FormerKey* former = find_former_key(key);
  if (former == nullptr) return;
  const std::optional<std::string> now = current_key(key);
  throw ConfigError(
      "unknown key '" + key + "' (" + origin + "): " +
      (now ? "it is now called '" + *now + "'" : "it was removed; " + std::string(former->advice)));
}

}  // namespace pinnerformer
