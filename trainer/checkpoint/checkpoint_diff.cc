#include "trainer/checkpoint/checkpoint_diff.h"

#include <array>
#include <cstdio>
#include <limits>
#include <set>
#include <sstream>

#include "trainer/checkpoint/item_table_file.h"

namespace pinnerformer {
namespace {

// The elements as bits: two NaNs are equal where their bits are, 0 and -0 are not.
torch::Tensor bits_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous().flatten();
  switch (flat.element_size()) {
    case 1:
      return flat.view(torch::kUInt8);
    case 2:
      return flat.view(torch::kInt16);
    case 4:
      return flat.view(torch::kInt32);
    case 8:
      return flat.view(torch::kInt64);
    default:
      TORCH_CHECK(false, "elements of ", flat.element_size(), " bytes");
  }
}

std::string kind_of(const torch::Tensor& tensor) {
  return c10::str(tensor.scalar_type(), " ", tensor.sizes());
}

TensorDifference compare(const std::string& name, const torch::Tensor& a, const torch::Tensor& b) {
  TensorDifference difference{name, "", 0, a.numel()};
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) {
    difference.mismatch = kind_of(a) + " and " + kind_of(b);
    return difference;
  }
  const torch::Tensor positions = bits_of(a).ne(bits_of(b)).nonzero().flatten();
  difference.elements = positions.numel();
  if (difference.elements == 0) return difference;
  const auto values = [&](const torch::Tensor& t) {
    return t.contiguous().flatten().index_select(0, positions).to(torch::kFloat64);
  };
  const torch::Tensor from = values(a), to = values(b);
  const torch::Tensor absolute = (from - to).abs();
  const torch::Tensor relative = absolute / torch::maximum(from.abs(), to.abs()).clamp_min(1e-300);
  const auto largest = [](const torch::Tensor& t) {
    const double infinity = std::numeric_limits<double>::infinity();
    return t.nan_to_num(infinity, infinity).max().item<double>();
  };
  difference.largest_absolute = largest(absolute);
  difference.largest_relative = largest(relative);
  return difference;
}

template <class Value>
void note(std::vector<std::string>& differences, const std::string& name, const Value& a,
          const Value& b) {
  if (a == b) return;
  std::ostringstream line;
  line << name << ": " << a << " and " << b;
  differences.push_back(line.str());
}

std::string checksum(const CheckpointInfo& info, const std::string& file) {
  const auto found = info.files.find(file);
  return found == info.files.end() ? "none" : found->second.xxh3;
}

std::string beginning(const CheckpointInfo& info) {
  return info.initial.model.empty() ? "none" : info.initial.model;
}

}  // namespace

std::vector<TensorDifference> tensor_differences(const NamedTensors& first,
                                                 const NamedTensors& second) {
  std::set<std::string> names;
  for (const auto* tensors : {&first, &second})
    for (const auto& [name, tensor] : *tensors) names.insert(name);
  std::vector<TensorDifference> differences;
  for (const std::string& name : names) {
    const auto a = first.find(name), b = second.find(name);
    if (a == first.end()) {
      differences.push_back({name, "only in the second"});
    } else if (b == second.end()) {
      differences.push_back({name, "only in the first"});
    } else {
      const TensorDifference difference = compare(name, a->second, b->second);
      if (!difference.mismatch.empty() || difference.elements > 0)
        differences.push_back(difference);
    }
  }
  return differences;
}

std::vector<std::string> info_differences(const CheckpointInfo& first,
                                          const CheckpointInfo& second) {
  std::vector<std::string> differences;
  note(differences, "step", first.step, second.step);
  note(differences, "epoch", first.position.epoch, second.position.epoch);
  note(differences, "epoch_consumed", first.position.consumed, second.position.consumed);
  note(differences, "samples", first.samples, second.samples);
  note(differences, "world_size", first.world_size, second.world_size);
  note(differences, "dataset_fingerprint", first.dataset_fingerprint, second.dataset_fingerprint);
  note(differences, "loss", first.loss.value_or(0), second.loss.value_or(0));
  note(differences, "best step", first.best.step, second.best.step);
  note(differences, "best recall_at_10", first.best.recall_at_10, second.best.recall_at_10);
  note(differences, "validations_since", first.best.validations_since,
       second.best.validations_since);
  note(differences, "initial_weights (checksum)", beginning(first), beginning(second));
  for (const char* table : {kItemTableFile, kItemTableTrainingFile, kItemTableChangesFile})
    note(differences, std::string(table) + " (checksum)", checksum(first, table),
         checksum(second, table));
  return differences;
}

std::string describe(const TensorDifference& difference) {
  if (!difference.mismatch.empty()) return difference.name + ": " + difference.mismatch;
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(),
                ": %lld of %lld elements, largest difference %.3g absolute, %.3g relative",
                static_cast<long long>(difference.elements), static_cast<long long>(difference.of),
                difference.largest_absolute, difference.largest_relative);
  return difference.name + text.data();
}

}  // namespace pinnerformer
