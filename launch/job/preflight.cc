#include "launch/job/preflight.h"

#include <fstream>
#include <iterator>

#include "configs/errors.h"
#include "dataloader/base/checksum.h"

namespace pinnerformer {
namespace {

// All our code is linked into the one executable.
std::string build_fingerprint() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return hash_text(hash_bytes(bytes.data(), std::ssize(bytes)));
}

std::string list(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i ? ", " : "") + std::to_string(ranks[i]);
  return text + (ranks.size() == 1 ? " differs" : " differ");
}

std::string quoted(const std::string& line) { return line.empty() ? "nothing" : "'" + line + "'"; }

}  // namespace

void require_same_job(Communicator& control, std::vector<AgreedItem> items) {
  if (control.size() == 1) return;
  items.push_back({"build", build_fingerprint()});
  const auto found = find_disagreement(control, items);
  if (!found) return;
  throw ConfigError("the ranks of this job do not agree on the " + found->item + ": " +
                    list(found->ranks) + " from rank 0. First difference: rank " +
                    std::to_string(found->ranks.front()) + " has " + quoted(found->line_of_other) +
                    ", rank 0 has " + quoted(found->line_of_rank_0) +
                    ". Start every rank with the same program, configuration and data");
}

}  // namespace pinnerformer
