// One row of doctor's table.
#pragma once
#include <string>

namespace pinnerformer {

enum class Health { kOk, kNote, kFailed };

struct Check {
  std::string name;
  Health health = Health::kOk;
  std::string finding;
};

}  // namespace pinnerformer
