#include "dataloader/sampling/batch.h"

#include <algorithm>

namespace pinnerformer {

Batch Batch::to(torch::Device device) const {
  const auto move = [&](const torch::Tensor& t) {
    return t.defined() ? t.to(device, /*non_blocking=*/true) : t;
  };
  return {move(length), move(item),     move(action),   move(surface),
          move(time),   move(duration), move(draw_key), move(vectors)};
}

Batch Batch::rows(int64_t first, int64_t count) const {
  const auto part = [&](const torch::Tensor& t) {
    return t.defined() ? t.narrow(0, first, count) : t;
  };
  return {part(length), part(item),     part(action),   part(surface),
          part(time),   part(duration), part(draw_key), part(vectors)};
}

Batch make_batch(std::span<const BatchRow> rows) {
  TORCH_CHECK(!rows.empty(), "a batch has at least one row");
  const auto users = static_cast<int64_t>(rows.size());
  int64_t longest = 0;
  for (const BatchRow& row : rows) {
    TORCH_CHECK(row.end > row.first, "a row of a batch has at least one event");
    longest = std::max(longest, row.end - row.first);
  }
  Batch batch;
  batch.length = torch::empty({users}, torch::kInt64);
  batch.draw_key = torch::empty({users}, torch::kInt64);
  batch.item = torch::zeros({users, longest}, torch::kInt64);
  batch.action = torch::zeros({users, longest}, torch::kInt64);
  batch.surface = torch::zeros({users, longest}, torch::kInt64);
  batch.time = torch::zeros({users, longest}, torch::kInt64);
  batch.duration = torch::zeros({users, longest}, torch::kFloat32);
  for (int64_t b = 0; b < users; ++b) {
    const BatchRow& row = rows[static_cast<size_t>(b)];
    const Timeline& events = *row.timeline;
    const auto copy = [&](const auto& column, auto* to) {
      std::copy(column.begin() + row.first, column.begin() + row.end, to + b * longest);
    };
    copy(events.item, batch.item.data_ptr<int64_t>());
    copy(events.action, batch.action.data_ptr<int64_t>());
    copy(events.surface, batch.surface.data_ptr<int64_t>());
    copy(events.time, batch.time.data_ptr<int64_t>());
    copy(events.duration, batch.duration.data_ptr<float>());
    batch.length.data_ptr<int64_t>()[b] = row.end - row.first;
    batch.draw_key.data_ptr<int64_t>()[b] = row.draw_key;
  }
  return batch;
}

Batch placeholder_batch() {
  const Timeline timeline{
      .user = 0, .item = {0}, .action = {0}, .surface = {0}, .time = {0}, .duration = {0}};
  return make_batch(std::vector<BatchRow>{{&timeline, 0, 1, 0}});
}

}  // namespace pinnerformer
