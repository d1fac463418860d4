// Checks that all ranks run the same job. Hashes are compared first; texts are sent only where
// these differ.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// Something that must be equal on all ranks, as lines of text.
struct AgreedItem {
  std::string name;  // "configuration"
  std::string value;
};

struct Disagreement {
  std::string item;
  std::vector<int> ranks;  // those whose value differs from rank 0's
  // The first line in which the first of these ranks differs; "" where a value has no more lines.
  std::string line_of_rank_0;
  std::string line_of_other;
};

// The first item that is not equal on all ranks; the result is the same on every rank. Every rank
// must call it, with items of the same names.
[[nodiscard]] std::optional<Disagreement> find_disagreement(Communicator& control,
                                                            const std::vector<AgreedItem>& items);

// One text per rank, of at most `longest` bytes each. Every rank must call it.
[[nodiscard]] std::vector<std::string> gather_texts(Communicator& control, const std::string& mine,
                                                    size_t longest, const std::string& name);

}  // namespace pinnerformer
