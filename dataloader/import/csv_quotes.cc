#include "dataloader/import/csv_quotes.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "dataloader/import/simple_input.h"

namespace pinnerformer {
namespace {

constexpr int64_t kNullReadBytes = 1 << 20;

// Follows the quotes of a CSV and passes its bytes on.
class QuoteCheckedInput : public SimpleInput {
 public:
  QuoteCheckedInput(std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape)
      : bytes_(std::move(bytes)), delimiter_(delimiter), escape_(escape) {}
  arrow::Result<int64_t> Tell() const override { return bytes_->Tell(); }
  using SimpleInput::Read;
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t count, bytes_->Read(bytes, out));
    const std::string_view read(static_cast<const char*>(out), static_cast<size_t>(count));
    if (lines_ == 0 && read.starts_with('{')) is_json_ = true;
    if (is_json_) return count;  // what looks for columns will say so
    opened_.reset();
    const std::optional<Fault> fault = fault_in(read);
    if (opened_) open_line_ = line_at(read, *opened_);
    if (fault && fault->what == kStrayQuote)
      return arrow::Status::Invalid(fault->what, line_at(read, fault->at),
                                    "; the value opens in line ", open_line_);
    if (fault) return arrow::Status::Invalid(fault->what, line_at(read, fault->at));
    if (open_ && count < bytes) return arrow::Status::Invalid(kOpenQuote, open_line_);
    lines_ += std::ranges::count(read, '\n');
    remember_end_of(read);
    return count;
  }

 private:
  struct Fault {
    size_t at = 0;
    const char* what = nullptr;
  };

  std::optional<Fault> fault_in(std::string_view read) {
    for (size_t at = 0; at < read.size();) {
      if (std::exchange(escaped_, false)) {
        ++at;
        continue;
      }
      const bool behind_closing = std::exchange(closing_, false);
      if (behind_closing && read[at] == '"') {  // written twice: the value goes on
        open_ = true;
        ++at;
        continue;
      }
      if (behind_closing && !ends_value(read[at]))
        return Fault{at, backslash_ ? kEscapedQuote : kStrayQuote};
      at = next_mark(read, at);
      if (at == read.size()) break;
      if (read[at] == '"' && open_) {
        open_ = false;
        closing_ = true;
        backslash_ = escape_ == '\0' && (at > 0 ? read[at - 1] : last_) == '\\';
      } else if (read[at] == '"') {
        const Before before = before_quote(read, at);
        if (before.starts_value && before.blanks) return Fault{at, kBlankBeforeQuote};
        open_ = before.starts_value;
        if (open_) opened_ = at;
      } else {
        escaped_ = true;
      }
      ++at;
    }
    return std::nullopt;
  }

  // Position of the next quote or escape character, or the end.
  [[nodiscard]] size_t next_mark(std::string_view read, size_t at) const {
    const char marks[] = {'"', escape_};
    const size_t found =
        escape_ == '\0' ? read.find('"', at) : read.find_first_of(marks, at, sizeof marks);
    return std::min(found, read.size());
  }

  struct Before {
    bool starts_value = false;  // but for blanks
    bool blanks = false;
  };
  [[nodiscard]] Before before_quote(std::string_view read, size_t quote) const {
    size_t at = quote;
    while (at > 0 && is_blank(read[at - 1])) --at;
    const char before = at > 0 ? read[at - 1] : last_letter_;
    return {before == delimiter_ || before == '\n', at < quote || (at == 0 && is_blank(last_))};
  }

  void remember_end_of(std::string_view read) {
    if (read.empty()) return;
    last_ = read.back();
    for (size_t at = read.size(); at > 0; --at)
      if (!is_blank(read[at - 1])) {
        last_letter_ = read[at - 1];
        return;
      }
  }

  [[nodiscard]] int64_t line_at(std::string_view read, size_t at) const {
    return lines_ + 1 + std::ranges::count(read.substr(0, at), '\n');
  }
  [[nodiscard]] bool is_blank(char letter) const {
    return (letter == ' ' || letter == '\t') && letter != delimiter_;
  }
  [[nodiscard]] bool ends_value(char letter) const {
    return letter == delimiter_ || letter == '\r' || letter == '\n' || is_blank(letter);
  }

  std::shared_ptr<arrow::io::InputStream> bytes_;
  char delimiter_;
  char escape_;  // '\0': none
  int64_t lines_ = 0;
  char last_ = '\n';         // byte of the last read
  char last_letter_ = '\n';  // the last one that is no blank
  bool is_json_ = false;
  bool escaped_ = false;          // the last byte was the escape character
  bool open_ = false;             // inside a value in quotes
  std::optional<size_t> opened_;  // where in this read the newest such value begins
  int64_t open_line_ = 0;         // the same as a line, where an earlier read has it
  bool closing_ = false;          // the last byte was a quote inside a value
  bool backslash_ = false;        // and the one before it a backslash
};

// MySQL writes \N, without quotes, for NULL. A reader that takes the escape character away would
// leave the value N: here it is doubled.
class NullKeptInput : public SimpleInput {
 public:
  NullKeptInput(std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape)
      : bytes_(std::move(bytes)), delimiter_(delimiter), escape_(escape) {}
  arrow::Result<int64_t> Tell() const override { return told_; }
  using SimpleInput::Read;
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    while (std::ssize(ready_) - taken_ < bytes && !ended_) ARROW_RETURN_NOT_OK(read_more());
    const int64_t count = std::min(bytes, std::ssize(ready_) - taken_);
    std::copy_n(ready_.data() + taken_, count, static_cast<char*>(out));
    taken_ += count;
    told_ += count;
    return count;
  }

 private:
  arrow::Status read_more() {
    ready_.erase(0, static_cast<size_t>(std::exchange(taken_, 0)));
    const size_t kept = raw_.size();
    raw_.resize(kept + kNullReadBytes);
    ARROW_ASSIGN_OR_RAISE(const int64_t count, bytes_->Read(kNullReadBytes, raw_.data() + kept));
    raw_.resize(kept + static_cast<size_t>(count));
    ended_ = count == 0;
    // A field of two bytes and the one behind it must be there as a whole.
    const size_t end = ended_ ? raw_.size() : raw_.size() - std::min<size_t>(2, raw_.size());
    for (size_t at = 0; at < end; ++at) {
      if (raw_[at] == escape_ && is_null(at)) ready_ += escape_;
      ready_ += last_ = raw_[at];
    }
    raw_.erase(0, end);
    return arrow::Status::OK();
  }

  [[nodiscard]] bool is_null(size_t at) const {
    return (last_ == delimiter_ || last_ == '\n') && at + 1 < raw_.size() && raw_[at + 1] == 'N' &&
           (at + 2 == raw_.size() || raw_[at + 2] == delimiter_ || raw_[at + 2] == '\r' ||
            raw_[at + 2] == '\n');
  }

  std::shared_ptr<arrow::io::InputStream> bytes_;
  char delimiter_;
  char escape_;
  std::string raw_, ready_;
  int64_t taken_ = 0;  // of ready_
  int64_t told_ = 0;
  bool ended_ = false;
  char last_ = '\n';  // byte that ready_ was given last
};

}  // namespace

std::shared_ptr<arrow::io::InputStream> with_checked_quotes(
    std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape) {
  return std::make_shared<QuoteCheckedInput>(std::move(bytes), delimiter, escape);
}

std::shared_ptr<arrow::io::InputStream> with_kept_nulls(
    std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape) {
  return std::make_shared<NullKeptInput>(std::move(bytes), delimiter, escape);
}

}  // namespace pinnerformer
