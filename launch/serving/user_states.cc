#include "launch/serving/user_states.h"

#include "configs/errors.h"
#include "dataloader/base/enum_name.h"
#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

constexpr int64_t kTimeColumns = 2;
constexpr int64_t kTimeUnit = 65536;  // seconds of the first column

}  // namespace

void require_states(const ModelOptions& model) {
  if (!is_recurrent(model.block))
    throw ConfigError("--states and model.block = " + std::string(enum_name(model.block)) +
                      ": only recurrent blocks keep a state; train with model.block=lru");
  if (model.user_head == UserHead::kResidual)
    throw ConfigError(
        "--states and model.user_head = residual: this head reads the last 20 events themselves, "
        "which a state does not hold; train with model.user_head=mlp or norm");
}

int64_t stored_state_width(PinnerFormer& model) { return model->state_width() + kTimeColumns; }

UserStates no_states(PinnerFormer& model, int64_t users) {
  return {torch::zeros({users, model->state_width()}), torch::full({users}, -1, torch::kInt64)};
}

torch::Tensor packed_states(const UserStates& states) {
  const torch::Tensor high = states.time.floor_divide(kTimeUnit);
  const torch::Tensor columns = torch::stack({high, states.time - high * kTimeUnit}, 1);
  return torch::cat({states.memory, columns.to(torch::kFloat32)}, 1);
}

StoredStates::StoredStates(const std::string& path, int64_t width)
    : users_(path, "/user"), states_(path, kStateSet), width_(width) {
  if (states_.width() != width || states_.rows() != users_.rows())
    throw DataError(path + ": /state/vector is [" + std::to_string(states_.rows()) + ", " +
                    std::to_string(states_.width()) + "], expected [" +
                    std::to_string(users_.rows()) + ", " + std::to_string(width) +
                    "]: write the file again with embed --states");
}

UserStates StoredStates::states(const std::vector<int64_t>& rows) const {
  const int64_t memory = width_ - kTimeColumns;
  UserStates found{torch::zeros({std::ssize(rows), memory}),
                   torch::full({std::ssize(rows)}, -1, torch::kInt64)};
  for (int64_t i = 0; i < std::ssize(rows); ++i) {
    const int64_t row = rows[static_cast<size_t>(i)];
    if (row < 0) continue;
    const torch::Tensor stored = states_.vectors(row, 1)[0];
    found.memory[i] = stored.narrow(0, 0, memory);
    const torch::Tensor time = stored.narrow(0, memory, kTimeColumns).to(torch::kInt64);
    found.time[i] = time[0] * kTimeUnit + time[1];
  }
  return found;
}

torch::Tensor StoredStates::rows(int64_t first, int64_t count) const {
  return states_.vectors(first, count);
}

}  // namespace pinnerformer
