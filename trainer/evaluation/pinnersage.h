// PinnerSage (Pal et al., KDD'20), the multi-vector method that the paper compares with: a user is
// represented by the medoids of the clusters of their recent items.
#pragma once
#include <cstdint>
#include <string>

#include "dataloader/dataset/dataset.h"
#include "trainer/evaluation/retrieval_method.h"

namespace pinnerformer {

struct PinnerSageOptions {
  int64_t clusters = 5;         // the most important ones are kept
  double history_days = 90;     // items of this many days before the vector is made
  int64_t max_items = 512;      // the latest of them; clustering takes n * n time
  double max_distance = 1.0;    // Ward distance up to which clusters merge; vectors have norm 1
  double decay_per_day = 0.01;  // importance = sum over items of exp(-decay * age in days)
};

// Each positive is ranked by its best cluster, as if an oracle chose it, and the lists interleave
// the clusters (paper section 8). Recall is therefore an upper bound of recall in serving.
class PinnerSageBaseline final : public RetrievalMethod {
 public:
  // Throws DataError where the dataset has no content vectors.
  PinnerSageBaseline(const Dataset& dataset, const PinnerSageOptions& options);
  [[nodiscard]] std::string name() const override {
    return "pinnersage_" + std::to_string(options_.clusters);
  }
  torch::Tensor item_vectors() override { return vectors_; }
  // Medoids, the most important cluster first; one vector of zeros where no recent item has one.
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;

 private:
  [[nodiscard]] torch::Tensor medoids(const HistoryPrefix& prefix) const;

  torch::Tensor vectors_;  // [I, C], rows of norm 1 or 0
  PinnerSageOptions options_;
};

}  // namespace pinnerformer
