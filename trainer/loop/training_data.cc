#include "trainer/loop/training_data.h"

#include "comm/communicator.h"
#include "trainer/loop/step_inputs.h"
#include "trainer/objective/objective.h"

namespace pinnerformer {

std::unique_ptr<DataLoader> make_loader(const TrainingData& data, const TrainerOptions& options,
                                        const ObjectiveOptions& objective, const Ranks& ranks,
                                        LoaderPosition position,
                                        const torch::Tensor& host_vectors) {
  LoaderSpec spec;
  spec.window = window_spec(objective, options.model.max_length, data.part.train_until);
  spec.part = data.part;
  spec.global_batch_users = options.train.global_batch_users;
  spec.seed = options.run.seed;
  spec.rank = ranks.control->rank();
  spec.world = ranks.control->size();
  if (host_vectors.defined())
    spec.finish_batch = [host_vectors, device = ranks.device](Batch& batch) {
      gather_vectors(host_vectors, device, batch);
    };
  return std::make_unique<DataLoader>(*data.dataset, data.users, data.positives, spec, data.options,
                                      position);
}

}  // namespace pinnerformer
