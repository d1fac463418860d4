// Collects on rank 0, as a checkpoint does, and hands the result out.
#include "tests/support/whole_item_table.h"

namespace pinnerformer {

std::map<std::string, torch::Tensor> whole_item_table(ItemTable& table, Communicator& comm) {
  std::map<std::string, torch::Tensor> columns = table.model_state();
  columns.merge(table.training_state());
  for (auto& [name, column] : columns) {
    std::vector<int64_t> shape = column.sizes().vec();
    shape[0] = table.rows();
    torch::Tensor whole = torch::empty(shape, column.options().device(torch::kCPU));
    const torch::Tensor collected = table.exchange().collect(column, 0, table.rows());
    if (comm.rank() == 0) whole.copy_(collected);
    comm.broadcast(whole.element_size() == 4 ? whole.view(torch::kFloat32) : whole, 0, name)
        ->wait();
    column = whole;
  }
  return columns;
}

}  // namespace pinnerformer
