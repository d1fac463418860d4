#include "launch/commands/train_device.h"

#include <iostream>
#include <string>

#include "dataloader/base/enum_name.h"
#include "launch/commands/data_shape.h"
#include "launch/job/agreed_precision.h"
#include "launch/plan/gpu_need.h"

namespace pinnerformer {

void settle_precision(RunConfig& config, const Session& session) {
  const bool automatic = config.train.precision == Precision::kAuto;
  const Ranks ranks = session.ranks();
  config.train.precision = agreed_precision(config.train.precision, ranks);
  if (automatic && session.coordinator() && !ranks.device.is_cpu())
    std::cout << "train.precision=auto: " << enum_name(config.train.precision) << " on "
              << device_kind(ranks.device).name << std::endl;
}

double gpu_need_of(const RunConfig& config, const Dataset& dataset, const Session& session) {
  const Ranks ranks = session.ranks();
  const auto gpu = scarcest_gpu(own_gpu_memory(ranks.device), *ranks.control);
  if (!gpu) return 0;
  const auto need = gpu_need(config, data_shape(dataset, config), ranks.control->size());
  const std::string note = require_gpu_memory(
      need, gpu->free, "the GPU of rank " + std::to_string(gpu->rank) + " (" + gpu->name + ")");
  if (session.coordinator() && !note.empty())
    std::cerr << "pinnerformer: " + note + "\n" << std::flush;
  return sum_of(need);
}

}  // namespace pinnerformer
