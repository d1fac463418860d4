// The counts of a training step that its memory and time follow from.
#pragma once
#include <cstdint>

#include "configs/run_config.h"
#include "launch/plan/block_cost.h"

namespace pinnerformer {

// What a plan must know of the data.
struct DataShape {
  double users = 0;  // of an epoch
  double items = 0;
  double content_width = 0;    // C; 0: no vectors
  double events_per_user = 0;  // of the whole timeline, which is read
  double window = 0;           // events that a sample has on average, at most model.max_length
  double pairs_per_user = 0;   // of the loss; 0: as many as the objective draws from full windows
  int64_t actions = 8, surfaces = 4;
  int64_t topics = 0;      // for model.condition=topic
  double code_levels = 0;  // L of the semantic ids; 0: no semantic ids
  double codes = 0;        // L * V
};

// Of one rank. Doubles throughout: the product of absurd sizes must not overflow.
struct StepShape {
  double ranks = 1;
  double hidden = 0, layers = 0, output = 0, item_hidden = 0;
  double user_vectors = 1;  // K
  BlockCost block;
  double head_elements = 0, tower_elements = 0;  // of the matrices of the user head, the item tower
  double input_width = 0;                        // of the encoder's input features
  double item_width = 0;                         // of the item tower's input, C + E
  double code_levels = 0;   // rows of an item's codes that are summed, with item.semantic_ids
  double global_users = 0;  // of a step, over all ranks
  double users = 0;         // of a rank's step
  double part_users = 0;    // of one part of it (train.gradient_accumulation_steps)
  double window = 0;        // events of a user, padding included
  double events = 0;        // positions of a part
  double queries = 0;       // positions of a part that have pairs
  double pairs = 0;         // of a part
  double head_rows = 0;     // that the user head computes: queries, or pairs where a topic is read
  double tower_rows = 0;    // items of a part that the tower embeds, without those of the pool
  double pool = 0;          // columns, over all ranks
  double pool_share = 0;    // columns whose embedding this rank computes
  double table_rows = 0;    // of the item table that this rank keeps
  double step_rows = 0;     // that a rank's step reads of the table
  double parameters = 0;    // of the model, without the item table
  bool bf16 = false;
};

[[nodiscard]] StepShape step_shape(const RunConfig& config, const DataShape& data, double ranks,
                                   bool gpu);

}  // namespace pinnerformer
