// States of users in a vector file: the set "/state" beside "/user", a row for each user. A row
// holds PinnerFormer::state_width() numbers and then the time of the newest event that was read, as
// two numbers that float32 holds exactly: seconds / 65,536 and the rest.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "dataloader/vectors/embedding_file.h"
#include "trainer/model/model.h"

namespace pinnerformer {

inline constexpr const char* kStateSet = "/state";

// Throws ConfigError, naming the keys, where a model of this form keeps no state.
void require_states(const ModelOptions& model);

// Numbers of a row.
[[nodiscard]] int64_t stored_state_width(PinnerFormer& model);
// Those of users without an event.
[[nodiscard]] UserStates no_states(PinnerFormer& model, int64_t users);
// [n, stored_state_width()] of states that have read an event.
[[nodiscard]] torch::Tensor packed_states(const UserStates& states);

// The users of a vector file with states, read row by row.
class StoredStates {
 public:
  // `width` is stored_state_width() of the model. Throws DataError where the file has no states or
  // those of another model, MissingInputError or IoError.
  StoredStates(const std::string& path, int64_t width);

  [[nodiscard]] const EmbeddingVersion& version() const { return users_.version(); }
  [[nodiscard]] const EmbeddingFileReader& users() const { return users_; }
  // Of these rows; -1 gives a state without an event.
  [[nodiscard]] UserStates states(const std::vector<int64_t>& rows) const;
  [[nodiscard]] torch::Tensor rows(int64_t first, int64_t count) const;
  [[nodiscard]] torch::Tensor vector(int64_t row) const { return users_.vectors(row, 1)[0]; }

 private:
  EmbeddingFileReader users_, states_;
  int64_t width_;
};

}  // namespace pinnerformer
