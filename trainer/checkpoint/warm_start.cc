#include "trainer/checkpoint/warm_start.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "trainer/checkpoint/safetensors.h"
#include "trainer/stored_tensor.h"

namespace pinnerformer {
namespace {

using Tensors = std::map<std::string, torch::Tensor>;

// The rows of `stored` for `names`, whose order there is `known`.
torch::Tensor rows_by_name(const torch::Tensor& stored, const std::vector<std::string>& known,
                           const std::vector<std::string>& names, const torch::Tensor& fresh) {
  torch::Tensor rows = fresh.detach().cpu().clone();
  for (size_t i = 0; i < names.size(); ++i) {
    const auto found = std::ranges::find(known, names[i]);
    if (found != known.end())
      rows[static_cast<int64_t>(i)] = stored[static_cast<int64_t>(found - known.begin())];
  }
  return rows;
}

// Replaces the embedding `name` of `state` by one for `names`, where the model has it.
void reorder(Tensors& state, const std::string& name, const std::vector<std::string>& known,
             const std::vector<std::string>& names, const Tensors& fresh,
             const std::string& source) {
  const auto target = fresh.find(name);
  if (target == fresh.end()) return;
  std::vector<int64_t> shape = target->second.sizes().vec();
  shape[0] = std::ssize(known);
  torch::Tensor stored = torch::empty(shape, target->second.scalar_type());
  restore_tensor(state, name, stored, source);
  state[name] = rows_by_name(stored, known, names, target->second);
}

// The slice of `column` as rank 0 has it after the stored rows have replaced those that are known.
torch::Tensor merged(const torch::Tensor& known, const torch::Tensor& stored,
                     const torch::Tensor& present) {
  return torch::where(known, stored.to(present.scalar_type()), present);
}

}  // namespace

DataContract warm_start_contract(const Checkpoint& checkpoint, const std::string& path,
                                 const Dataset& dataset) {
  if (checkpoint.data.empty())
    throw CheckpointError(path +
                          " has no data.json, an older program wrote it: which actions and "
                          "vectors its weights are for cannot be told. Train anew");
  DataContract contract = parse_data_contract(checkpoint.data, path + "/data.json");
  require_same_content(dataset, contract, path);
  return contract;
}

Tensors warm_start_weights(const Checkpoint& checkpoint, const DataContract& contract,
                           const Dataset& dataset, const Tensors& fresh,
                           const std::string& source) {
  Tensors state = checkpoint.model;
  reorder(state, "action.weight", contract.actions, dataset.actions(), fresh, source);
  reorder(state, "surface.weight", contract.surfaces, dataset.surfaces(), fresh, source);
  reorder(state, "condition.weight", contract.topics, dataset.topic_names(), fresh, source);
  return state;
}

int64_t warm_start_rows(const StoredItemTable* stored, ItemTable& table, Communicator& comm) {
  Tensors columns = table.model_state();
  const torch::Tensor &rows = columns.at("rows"), &updates = columns.at("updates");
  const bool coordinator = comm.rank() == 0;
  int64_t taken = 0;
  const SlicedTensor plan{"rows", torch::kFloat32, {table.rows(), table.width()}, {}};
  for_each_slice(plan, [&](int64_t first, int64_t count) {
    torch::Tensor values = table.exchange().collect(rows, first, count);
    torch::Tensor counts = table.exchange().collect(updates, first, count);
    if (coordinator) {
      const StoredItemTable::TableRows found = stored->table_rows(first, count);
      values = merged(found.trained.unsqueeze(1), found.values, values);
      counts = merged(found.trained, torch::ones({count}), counts);
      taken += found.trained.sum().item<int64_t>();
      if (first + count == table.rows()) taken -= found.trained[count - 1].item<int64_t>();
    } else {
      values = torch::empty({count, table.width()});
      counts = torch::empty({count}, torch::kInt32);
    }
    table.exchange().distribute(rows, values, first);
    table.exchange().distribute(updates, counts, first);
  });
  return taken;
}

}  // namespace pinnerformer
