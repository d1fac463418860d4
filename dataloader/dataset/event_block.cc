#include "dataloader/dataset/event_block.h"

namespace pinnerformer {
namespace {

template <class Value>
void copy_part(const std::vector<Value>& from, int64_t start, int64_t count,
               std::vector<Value>& to) {
  to.assign(from.begin() + start, from.begin() + start + count);
}

}  // namespace

void EventBlock::reset(int64_t first_row, const std::vector<int64_t>& lengths) {
  first_user = first_row;
  start.assign(1, 0);
  for (const int64_t length : lengths) start.push_back(start.back() + length);
  const auto events = static_cast<size_t>(start.back());
  item.resize(events);
  action.resize(events);
  surface.resize(events);
  time.resize(events);
  duration.resize(events);
}

void EventBlock::copy_to(Timeline& out, int64_t user, int64_t events) const {
  const int64_t from = start[static_cast<size_t>(user)];
  out.user = first_user + user;
  copy_part(item, from, events, out.item);
  copy_part(action, from, events, out.action);
  copy_part(surface, from, events, out.surface);
  copy_part(time, from, events, out.time);
  copy_part(duration, from, events, out.duration);
}

}  // namespace pinnerformer
