// pinnerformer index: an index of item vectors for approximate search.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "launch/cli/cli.h"
#include "launch/cli/json_file.h"
#include "launch/cli/option_checks.h"
#include "launch/commands/registry.h"
#include "launch/serving/index_job.h"

namespace pinnerformer {
namespace {

constexpr int64_t kMostCandidates = 100'000;

void declare(CommandLine& cli, IndexRequest* request) {
  cli.add_word("VECTORS", &request->vectors,
               "vector file with items: of `pinnerformer embed`, or items.h5 of an export");
  cli.add_required("out", "FILE", &request->out,
                   "index to write; its description FILE.json and its ids stand beside it");
  cli.add_option("m", "N", &request->graph.m, "links of an item: more memory, better recall");
  cli.add_option("ef-construction", "N", &request->graph.ef_construction,
                 "candidates while building: more time, better recall");
  cli.add_option("ef", "N", &request->ef,
                 "items that a search compares (hnswlib's ef): more find more of the nearest, and "
                 "take longer");
  cli.add_option("threads", "N", &request->graph.threads,
                 "threads; 0: one for each core. With 1, equal vectors give an equal index");
  cli.add_option("queries", "N", &request->queries, "queries to measure the recall with");
  cli.add_option("least-recall", "SHARE", &request->least_recall,
                 "write nothing where recall@10 against exact search is lower");
}

void check(IndexRequest* request) {
  require_ending("out", request->out, "an index of hnswlib", {".hnsw"});
  constexpr int64_t kMostThreads = 1024;
  require_between("m", request->graph.m, 2, kMostHnswLinks);
  require_between("ef-construction", request->graph.ef_construction, request->graph.m,
                  kMostCandidates);
  require_between("ef", request->ef, 1, kMostCandidates);
  require_between("threads", request->graph.threads, 0, kMostThreads);
  require_between("queries", request->queries, 1, kMostHnswRows);
  if (!(request->least_recall >= 0 && request->least_recall <= 1))
    throw UsageError("--least-recall: expected a share from 0 to 1");
  if (request->graph.threads == 0)
    request->graph.threads = std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

int command_index(const Arguments& arguments) {
  IndexRequest request;
  request.graph.threads = 0;
  CommandLine cli("index", "Builds an index of item vectors, for search without comparing all.",
                  "pinnerformer index build/vectors.h5 --out build/items.hnsw");
  declare(cli, &request);
  if (!cli.parse(arguments)) return kDone;
  check(&request);
  require_json_apart(cli.json_file(), request.out + ".json");
  const ItemIndexDescription made = write_index(request);
  std::cout << "wrote an index of " << made.shape.rows << " items of " << made.shape.width
            << " floats to " << request.out << "\n"
            << "recall@10 " << made.recall.at_10 << " against exact search, over "
            << made.recall.queries << " " << made.recall.kind << " (ef " << made.ef << ")\n";
  nlohmann::ordered_json result = to_json(made);
  result["file"] = request.out;
  write_json_file(cli.json_file(), result);
  return kDone;
}

}  // namespace pinnerformer
