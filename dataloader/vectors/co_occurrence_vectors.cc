// Counts, matrix, decomposition, rows.
#include "dataloader/vectors/co_occurrence_vectors.h"

#include <torch/torch.h>

#include <algorithm>
#include <sstream>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "dataloader/base/time_text.h"
#include "dataloader/vectors/ppmi.h"

namespace pinnerformer {
namespace {

// The spectrum of co-occurrence falls slowly: singular values 64 and 80 of a catalogue of 7,461
// videos differ by 5 %. With so many directions and repeated products the cosines of item vectors
// lie .0014 from the converged ones there, with 16 more and four iterations .02.
constexpr int64_t kDirectionsPerDimension = 2;
constexpr int64_t kPowerIterations = 8;

struct TruncatedSvd {
  torch::Tensor left;             // [n, k]
  torch::Tensor singular_values;  // [k], descending
};

// Standard normal numbers keyed by (seed, row), so that threads and blocks change nothing.
torch::Tensor random_directions(int64_t rows, int64_t columns, int64_t seed) {
  torch::Tensor directions = torch::empty({rows, columns});
  float* out = directions.mutable_data_ptr<float>();
  for (int64_t row = 0; row < rows; ++row) {
    KeyedRandom random(RandomStream::kProjection, {seed, row});
    for (int64_t column = 0; column < columns; ++column) {
      *out++ = static_cast<float>(random.normal());
    }
  }
  return directions;
}

torch::Tensor orthonormal(const torch::Tensor& columns) {
  return std::get<0>(torch::linalg_qr(columns, "reduced"));
}

// The sign of a singular vector is free: its largest element is made positive, so that the
// library's choice does not show.
void fix_signs(torch::Tensor& left) {
  const torch::Tensor largest = left.gather(0, left.abs().argmax(0, /*keepdim=*/true));
  left *= torch::where(largest < 0, -1.0, 1.0).to(left.scalar_type());
}

TruncatedSvd truncated_svd(const PpmiMatrix& matrix, int64_t rank, int64_t seed,
                           const StageCallback& progress) {
  constexpr double kProducts = 2 * kPowerIterations + 2;
  int64_t done = 0;
  const auto report = [&] {
    ++done;
    if (progress)
      progress({"decomposing", static_cast<double>(done) / kProducts, done, "products"});
  };
  const int64_t width = std::min(rank * kDirectionsPerDimension, matrix.size());
  torch::Tensor basis = matrix.times(random_directions(matrix.size(), width, seed));
  report();
  for (int64_t i = 0; i < kPowerIterations; ++i) {
    basis = matrix.transposed_times(orthonormal(basis));
    report();
    basis = matrix.times(orthonormal(basis));
    report();
  }
  basis = orthonormal(basis);
  // M is nearly basis basis' M, and transposed(basis' M) = V S W' is small: M = (basis W) S V'.
  const torch::Tensor projected = matrix.transposed_times(basis);
  report();
  const auto [v, s, wt] = torch::linalg_svd(projected, /*full_matrices=*/false);
  torch::Tensor left = basis.matmul(wt.t().narrow(1, 0, rank));
  fix_signs(left);
  return {std::move(left), s.narrow(0, 0, rank)};
}

// Rows of which the truncation keeps something. What remains of an empty row, or of one that has
// nothing in common with the leading directions (two items that only share users with each other),
// is rounding error: scaled to length 1 it would look like a vector.
torch::Tensor rows_inside(const PpmiMatrix& matrix, const TruncatedSvd& svd) {
  constexpr double kLeastShare = 1e-3;
  const torch::Tensor kept = (svd.left * svd.singular_values).norm(2, 1);
  return (kept > matrix.row_norms() * kLeastShare).nonzero().flatten();
}

IdColumn ids_of(const Dataset& dataset, const std::vector<int32_t>& items) {
  IdColumn ids(dataset.item_ids_are_integers());
  for (const int32_t item : items) {
    const std::string id = dataset.item_id(item);
    if (ids.integers()) {
      ids.push_back(int64_t{std::stoll(id)});
    } else {
      ids.push_back(std::string_view(id));
    }
  }
  return ids;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

std::string recipe_of(const Dataset& dataset, const CoOccurrenceVectorsOptions& options) {
  const CoOccurrenceOptions& counting = options.counting;
  std::ostringstream text;
  text << "co-occurrence of items in the timelines of the users of dataset "
       << dataset.fingerprint() << ", events before " << utc_text(counting.before) << " (second "
       << counting.before << ")";
  if (counting.leave_out > 0) text << " without the last " << counting.leave_out << " of a user";
  if (!counting.counted.actions.empty()) text << ", actions " << joined(counting.counted.actions);
  if (!counting.counted.surfaces.empty()) {
    text << ", surfaces " << joined(counting.counted.surfaces);
  }
  text << ", items of at least " << counting.min_users << " users, the most recent "
       << counting.max_items_per_user << " items of a user; positive PMI (context smoothing "
       << options.smoothing << "), truncated SVD " << options.dimension << " (seed " << options.seed
       << "), rows scaled by sqrt(singular values), L2-normalised, float16";
  return text.str();
}

void check_dimension(const Dataset& dataset, const CoOccurrenceVectorsOptions& options,
                     size_t items) {
  if (options.dimension <= static_cast<int64_t>(items)) return;
  throw DataError(dataset.directory() + ": expected at least as many items as dimensions (" +
                  std::to_string(options.dimension) + "), found " + std::to_string(items) +
                  " items of " + std::to_string(options.counting.min_users) +
                  " or more users before " + utc_text(options.counting.before) +
                  "; choose a smaller dimension");
}

}  // namespace

ItemVectors make_co_occurrence_vectors(const Dataset& dataset,
                                       const CoOccurrenceVectorsOptions& options,
                                       const StageCallback& progress) {
  const CoOccurrence counts = count_co_occurrence(dataset, options.counting, progress);
  check_dimension(dataset, options, counts.items.size());
  const PpmiMatrix matrix(counts, options.smoothing);
  const TruncatedSvd svd = truncated_svd(matrix, options.dimension, options.seed, progress);

  const torch::Tensor rows = rows_inside(matrix, svd);
  if (rows.numel() == 0) {
    throw DataError(dataset.directory() + ": no two items occur together more often than by " +
                    "chance, so there is nothing to make vectors of");
  }
  const torch::Tensor scaled = (svd.left * svd.singular_values.sqrt()).index_select(0, rows);
  std::vector<int32_t> items;
  for (int64_t i = 0; i < rows.numel(); ++i) {
    items.push_back(counts.items[static_cast<size_t>(rows.const_data_ptr<int64_t>()[i])]);
  }
  return {.ids = ids_of(dataset, items),
          .vectors = torch::nn::functional::normalize(scaled).to(torch::kFloat16),
          .singular_values = svd.singular_values,
          .statistics = counts.statistics,
          .pairs = counts.pairs.size(),
          .before = options.counting.before,
          .recipe = recipe_of(dataset, options)};
}

}  // namespace pinnerformer
