// The rows of an item table that is spread over ranks, put together again.
#pragma once
#include <torch/types.h>

#include <map>
#include <string>

#include "comm/communicator.h"
#include "trainer/items/item_table.h"

namespace pinnerformer {

// Every column of the table and its update rule in global row order, the same on every rank.
// Every rank must call it.
[[nodiscard]] std::map<std::string, torch::Tensor> whole_item_table(ItemTable& table,
                                                                    Communicator& comm);

}  // namespace pinnerformer
