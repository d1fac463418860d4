// Random values come from keyed draws, so that tests do not share a generator.
#include "tests/support/tiny_batches.h"

#include <limits>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {
constexpr int64_t kItems = 40, kContent = 8, kActions = 3, kSurfaces = 4;
}

ModelOptions tiny_model_options() {
  ModelOptions options;
  options.max_length = 12;
  options.hidden = 16;
  options.layers = 2;
  options.heads = 2;
  options.output = 6;
  options.item_hidden = 10;
  options.action_dim = 4;
  options.surface_dim = 5;
  options.dropout = 0;
  return options;
}

ModelInputs tiny_model_inputs() {
  const torch::Tensor grid = torch::arange(kItems * kContent, torch::kFloat32);
  return {torch::sin(grid * 1.7).view({kItems, kContent}).to(torch::kFloat16), kActions, kSurfaces};
}

Batch random_batch(const std::vector<int64_t>& lengths, int64_t seed) {
  KeyedRandom random(RandomStream::kSynth, {seed});
  std::vector<Timeline> timelines;
  for (const int64_t length : lengths) {
    Timeline timeline;
    int64_t time = 1'600'000'000 + random.below(1'000'000);
    for (int64_t i = 0; i < length; ++i) {
      timeline.item.push_back(static_cast<int32_t>(random.below(kItems)));
      timeline.action.push_back(static_cast<int16_t>(random.below(kActions)));
      timeline.surface.push_back(static_cast<int16_t>(random.below(kSurfaces)));
      timeline.time.push_back(time += random.below(100'000));
      timeline.duration.push_back(random.below(4) == 0 ? std::numeric_limits<float>::quiet_NaN()
                                                       : static_cast<float>(random.below(90)));
    }
    timelines.push_back(std::move(timeline));
  }
  std::vector<BatchRow> rows;
  for (size_t b = 0; b < timelines.size(); ++b)
    rows.push_back({&timelines[b], 0, timelines[b].size(), static_cast<int64_t>(random.next())});
  return make_batch(rows);
}

torch::Tensor waves(const std::vector<int64_t>& shape, double step) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return torch::sin(torch::arange(count, torch::kFloat32) * step).view(shape);
}

}  // namespace pinnerformer
