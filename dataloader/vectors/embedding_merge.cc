#include "dataloader/vectors/embedding_merge.h"

#include <algorithm>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerRead = 65536;

}  // namespace

EmbeddingMerge::EmbeddingMerge(const Dataset& today, const RowSet& fresh,
                               const EmbeddingFileReader* yesterday)
    : today_(today), fresh_(fresh), yesterday_(yesterday) {
  const bool integers = today.user_ids_are_integers();
  if (yesterday != nullptr && yesterday->integer_ids() != integers)
    throw DataError("user ids are " + std::string(integers ? "integers" : "strings") + " in " +
                    today.directory() + " and " + (integers ? "strings" : "integers") + " in " +
                    yesterday->path() + ": embed all users, without --merge");
  step_today();
  step_yesterday();
}

EmbeddingMerge::Key EmbeddingMerge::todays_key(int64_t user) const {
  return {today_.user_hash(user), today_.user_ids_are_integers() ? "" : today_.user_id(user)};
}

void EmbeddingMerge::step_today() {
  todays_row_ = fresh_.next(todays_row_ + 1);
  todays_key_.reset();
  if (todays_row_ < fresh_.rows()) todays_key_ = todays_key(todays_row_);
}

void EmbeddingMerge::step_yesterday() {
  const std::optional<Key> before = yesterdays_key_;
  yesterdays_key_.reset();
  if (yesterday_ == nullptr || ++yesterdays_row_ >= yesterday_->rows()) return;
  if (yesterdays_row_ == block_first_ + block_.size()) {
    block_first_ = yesterdays_row_;
    block_ =
        yesterday_->ids(block_first_, std::min(kRowsPerRead, yesterday_->rows() - block_first_));
  }
  const int64_t at = yesterdays_row_ - block_first_;
  yesterdays_key_ = block_.integers() ? Key{user_hash(block_.number(at)), ""}
                                      : Key{user_hash(block_.view(at)), block_.text(at)};
  if (before && *yesterdays_key_ <= *before)
    throw DataError(yesterday_->path() + ": /user/id, row " + std::to_string(yesterdays_row_) +
                    ": expected users in the order of a dataset, each once, found '" +
                    block_.text(at) + "'; was the file changed?");
}

bool EmbeddingMerge::next() {
  if (uses_today_) step_today();
  if (uses_yesterday_) step_yesterday();
  uses_today_ = todays_key_ && (!yesterdays_key_ || *todays_key_ <= *yesterdays_key_);
  uses_yesterday_ = yesterdays_key_ && (!todays_key_ || *yesterdays_key_ <= *todays_key_);
  return uses_today_ || uses_yesterday_;
}

void EmbeddingMerge::append_id(IdColumn* ids) const {
  if (uses_today_) {
    today_.append_user_id(todays_row_, ids);
  } else if (block_.integers()) {
    ids->push_back(block_.number(yesterdays_row_ - block_first_));
  } else {
    ids->push_back(block_.view(yesterdays_row_ - block_first_));
  }
}

}  // namespace pinnerformer
