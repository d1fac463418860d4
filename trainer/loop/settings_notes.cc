#include "trainer/loop/settings_notes.h"

#include <numeric>

#include "trainer/model/autocast.h"

namespace pinnerformer {
namespace {

std::string text_of(const char* key, int64_t value) { return key + ("=" + std::to_string(value)); }

std::string precision_note(Precision precision, torch::DeviceType device) {
  const bool cpu = device == torch::kCPU, bf16 = precision == Precision::kBf16;
  if (bf16 && !has_bfloat16(device))
    return "train.precision=bf16: this CPU has no bfloat16 instructions; it computes in fp32, "
           "which is faster than emulating them";
  if (bf16 && !cpu)
    return "train.precision=bf16: products of matrices in bfloat16; sums, weights and optimizer in "
           "fp32";
  if (!bf16 && !cpu)
    return "train.precision=fp32 on a GPU: its products run at about a tenth of the rate of bf16; "
           "weights and optimizer stay in fp32 with train.precision=bf16, too";
  return "";
}

std::string warmup_note(const TrainerOptions& options) {
  const int64_t warmup = options.optimizer.warmup_steps, steps = options.train.steps;
  if (warmup <= steps) return "";
  return text_of("optimizer.warmup_steps", warmup) + " is more than " +
         text_of("train.steps", steps) + ": the learning rate does not reach its highest value";
}

std::string patience_note(const ValidateOptions& validate) {
  if (validate.patience == 0 || validate.every_steps > 0) return "";
  return text_of("validate.patience", validate.patience) +
         " has no effect: validate.every_steps=0 validates never";
}

std::string keep_note(const CheckpointOptions& checkpoint) {
  const int64_t keep = checkpoint.keep_every, every = checkpoint.every_steps;
  if (keep == 0 || keep % every == 0) return "";
  return text_of("checkpoint.keep_every", keep) + " is no multiple of " +
         text_of("checkpoint.every_steps", every) + ": of the regular checkpoints, one in " +
         std::to_string(std::lcm(keep, every)) + " steps is kept for good";
}

std::string rows_note(const ItemTableOptions& table) {
  if (table.placement != ItemPlacement::kNone) return "";
  const ItemTableOptions usual;
  std::string keys;
  const auto add = [&keys](const char* key, bool is_usual) {
    if (!is_usual) keys += (keys.empty() ? "item.table." : ", item.table.") + std::string(key);
  };
  add("memory", table.memory == usual.memory);
  add("dim", table.dim == usual.dim);
  add("optimizer", table.optimizer == usual.optimizer);
  add("learning_rate", table.learning_rate == usual.learning_rate);
  add("init_std", table.init_std == usual.init_std);
  add("hash_buckets", table.hash_buckets == usual.hash_buckets);
  add("unknown_rate", table.unknown_rate == usual.unknown_rate);
  add("pretrain_steps", table.pretrain_steps == usual.pretrain_steps);
  if (keys.empty()) return "";
  return "without effect: " + keys + "; item.table.placement=none gives items no learned rows";
}

}  // namespace

std::vector<std::string> settings_notes(const TrainerOptions& options, torch::DeviceType device) {
  std::vector<std::string> notes{precision_note(options.train.precision, device),
                                 warmup_note(options), patience_note(options.validate),
                                 keep_note(options.checkpoint), rows_note(options.item.table)};
  std::erase(notes, "");
  return notes;
}

}  // namespace pinnerformer
