// pinnerformer semantic-ids: codes of a dataset's content vectors, for item.semantic_ids.
#include "dataloader/vectors/semantic_ids.h"

#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/dataset/dataset_format.h"
#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/cli/progress.h"
#include "launch/commands/registry.h"

namespace pinnerformer {
namespace {

struct SemanticIdsWords {
  std::string into;
  std::string codebooks_of;
  CodebookOptions options;
};

void declare(CommandLine& cli, SemanticIdsWords& words) {
  cli.add_required("into", "DIR", &words.into,
                   "dataset whose content vectors get codes, in place of those that it has");
  cli.add_option("codebooks-of", "DIR", &words.codebooks_of,
                 "take the codebooks of this dataset: what a model trained on it needs");
  cli.add_option("levels", "L", &words.options.levels, "codes of an item");
  cli.add_option("codes", "V", &words.options.codes, "different codes at each level");
  cli.add_option("iterations", "N", &words.options.iterations, "of the clustering of each level");
  cli.add_option("most-vectors", "N", &words.options.most_vectors,
                 "vectors that the codebooks are learned from, at most; all items get codes");
  cli.add_option("seed", "N", &words.options.seed, "of the first centres of the clustering");
}

void check(const SemanticIdsWords& words) {
  constexpr int64_t kMostIterations = 10'000, kMostVectors = int64_t{1} << 30;
  require_between("levels", words.options.levels, 1, kMostCodeLevels);
  require_between("codes", words.options.codes, 2, kMostCodesOfLevel);
  require_between("iterations", words.options.iterations, 1, kMostIterations);
  require_between("most-vectors", words.options.most_vectors, words.options.codes, kMostVectors);
  if (!words.codebooks_of.empty() && words.options != CodebookOptions())
    throw UsageError("--codebooks-of " + words.codebooks_of +
                     ": these codebooks are taken as they are; leave out --levels, --codes, "
                     "--iterations, --most-vectors and --seed");
}

void require_vectors(const Dataset& dataset) {
  if (!dataset.item_vectors().defined())
    throw DataError(dataset.directory() +
                    " has no item vectors to make codes of; import it with --vectors FILE, or make "
                    "vectors with `pinnerformer vectors --into DIR`");
}

struct Codebooks {
  torch::Tensor centres;  // [L * V, C]
  int64_t levels = 0;
};

Codebooks codebooks_of(const Dataset& other, const Dataset& dataset) {
  const SemanticIds& ids = other.semantic_ids();
  if (!ids.defined())
    throw DataError("--codebooks-of " + other.directory() +
                    ": it has no semantic ids; make them with `pinnerformer semantic-ids --into " +
                    other.directory() + "`");
  if (ids.codebooks.size(1) != dataset.vector_width())
    throw DataError("--codebooks-of " + other.directory() + ": its codes are for vectors of " +
                    std::to_string(ids.codebooks.size(1)) + " numbers, " + dataset.directory() +
                    " has vectors of " + std::to_string(dataset.vector_width()));
  return {ids.codebooks, ids.levels()};
}

Codebooks codebooks_for(const Dataset& dataset, const SemanticIdsWords& words) {
  if (!words.codebooks_of.empty()) return codebooks_of(Dataset::open(words.codebooks_of), dataset);
  ProgressLine line;
  const auto progress = [&line](int64_t done, int64_t total) {
    line.update("codebooks", static_cast<double>(done) / static_cast<double>(total),
                line.rate("codebooks", done, "iterations"));
  };
  return {learn_codebooks(dataset.item_vectors(), words.options, progress), words.options.levels};
}

void print(const AssignedCodes& made) {
  const SemanticIds& ids = made.ids;
  std::cout << made.coded << " of " << ids.codes.size(0) << " items have " << ids.levels()
            << " codes, of " << ids.codes_of_level() << " at each level; " << made.distinct
            << " different semantic ids\n"
            << std::fixed << std::setprecision(1);
  for (size_t level = 0; level < made.left.size(); ++level)
    std::cout << "after level " << level + 1 << ", " << 100 * made.left[level]
              << " % of the vectors' squared norm is left\n";
}

}  // namespace

int command_semantic_ids(const Arguments& arguments) {
  SemanticIdsWords words;
  CommandLine cli("semantic-ids",
                  "Gives items codes of their content vectors: similar items share codes, and "
                  "item.semantic_ids=true learns a row for each.",
                  "pinnerformer semantic-ids --into build/quickstart/dataset");
  declare(cli, words);
  if (!cli.parse(arguments)) return kDone;
  check(words);
  const Dataset dataset = Dataset::open(words.into);
  require_vectors(dataset);
  const Codebooks books = codebooks_for(dataset, words);
  const AssignedCodes made = assign_codes(dataset.item_vectors(), books.centres, books.levels);
  attach_semantic_ids(words.into, made.ids);
  print(made);
  write_json_file(cli.json_file(), {{"dataset", words.into},
                                    {"items", dataset.items()},
                                    {"coded", made.coded},
                                    {"levels", books.levels},
                                    {"codes", made.ids.codes_of_level()},
                                    {"distinct", made.distinct},
                                    {"left", made.left}});
  return kDone;
}

}  // namespace pinnerformer
