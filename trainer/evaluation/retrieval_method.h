// The interface of a method that retrieves items for a user: the model or a baseline.
#pragma once
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

// The first `length` events of a timeline. A vector made at `time` may depend on these only.
struct HistoryPrefix {
  const Timeline* timeline = nullptr;
  int64_t length = 0;
  int64_t time = 0;    // when the vector is made; no event of the prefix is later
  int64_t window = 0;  // number of the evaluation window
};

struct QueryVectors {
  // [sum of counts, D] float32, or [sum of counts, K, D]: an item's score is the largest of K.
  torch::Tensor vectors;
  // Vectors of each prefix, most important first; empty: one each. With several, each positive is
  // ranked by the nearest of them (paper section 8).
  std::vector<int64_t> counts;
};

// Names and values that a method chose itself, for people and --json.
using Settings = std::vector<std::pair<std::string, double>>;

// The score of an item is the dot product of a query vector and the item's vector.
class RetrievalMethod {
 public:
  virtual ~RetrievalMethod() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  // [I, D] float32 on any device; undefined: the identity, so that a query vector is the score of
  // every item. Called once, by all ranks, before encode(); may communicate.
  virtual torch::Tensor item_vectors() = 0;
  // How many prefixes one call of encode() may get; at least 1 whatever it says.
  [[nodiscard]] virtual int64_t most_prefixes() const { return INT64_MAX; }
  // At most evaluate.batch_users and most_prefixes() prefixes. Must not communicate: ranks have
  // unequal shares.
  virtual QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) = 0;
  // False where a vector does not change between t and the end of the window, so that every
  // frequency of inference gives the result of `once`.
  [[nodiscard]] virtual bool depends_on_time() const { return true; }
  // Known after item_vectors().
  [[nodiscard]] virtual Settings settings() const { return {}; }
};

// Prefixes for a method whose query vectors have one number per item: bounds their memory.
[[nodiscard]] inline int64_t dense_prefixes(int64_t items) {
  constexpr int64_t kMostNumbers = int64_t{1} << 28;
  return kMostNumbers / std::max<int64_t>(1, items);
}

// [n, D] or [n, K, D] float32 for n prefixes.
using UserEncoder = std::function<torch::Tensor(const std::vector<HistoryPrefix>&)>;

// A method of one vector per user, or of K whose scores count as one, such as the model.
class EncoderMethod final : public RetrievalMethod {
 public:
  EncoderMethod(std::string name, UserEncoder encoder, torch::Tensor item_vectors)
      : name_(std::move(name)),
        encoder_(std::move(encoder)),
        item_vectors_(std::move(item_vectors)) {}
  [[nodiscard]] std::string name() const override { return name_; }
  torch::Tensor item_vectors() override { return item_vectors_; }
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override {
    return {.vectors = encoder_(prefixes), .counts = {}};
  }

 private:
  std::string name_;
  UserEncoder encoder_;
  torch::Tensor item_vectors_;
};

}  // namespace pinnerformer
