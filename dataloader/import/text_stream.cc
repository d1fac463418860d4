// Arrow's input streams over our files.
#include "dataloader/import/text_stream.h"

#include <arrow/buffer.h>
#include <arrow/io/compressed.h>
#include <arrow/util/io_util.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/import/arrow.h"

namespace pinnerformer {
namespace {

constexpr size_t kLongestLine = size_t{16} << 20;
constexpr int64_t kReadBytes = 1 << 20;
constexpr int64_t kMagicBytes = 512;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// What the streams below share: Arrow asks for both ways of reading.
class SimpleInput : public arrow::io::InputStream {
 public:
  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  bool closed() const override { return closed_; }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(bytes));
    ARROW_ASSIGN_OR_RAISE(const int64_t count, Read(bytes, buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(count));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }
  using arrow::io::InputStream::Read;
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override = 0;

 private:
  bool closed_ = false;
};

}  // namespace

// A file as Arrow's input, which counts what was read: for progress, also through compression.
class CountedInput : public SimpleInput {
 public:
  explicit CountedInput(const std::string& path) : file_(File::open(path)), size_(file_.size()) {}
  [[nodiscard]] double fraction() const {
    return static_cast<double>(position_.load()) / static_cast<double>(size_);
  }
  arrow::Result<int64_t> Tell() const override { return position_.load(); }
  using SimpleInput::Read;
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    const int64_t position = position_.load();
    const int64_t count = std::min(bytes, size_ - position);
    try {
      file_.read_at(position, out, count);
    } catch (const IoError& error) {
      return arrow::internal::IOErrorFromErrno(EIO, error.what());
    }
    position_ = position + count;
    return count;
  }

 private:
  File file_;
  int64_t size_;
  std::atomic<int64_t> position_{0};  // read by the caller, moved by Arrow's thread
};

namespace {

// Bytes that were read already, then the rest of a stream, and a line end where the last line has
// none. A read gives fewer bytes than asked for at the end only: Arrow takes what one read gives
// for a block, and wants the whole first line in the first one.
class PrefixedInput : public SimpleInput {
 public:
  PrefixedInput(std::string prefix, std::shared_ptr<arrow::io::InputStream> rest)
      : prefix_(std::move(prefix)), rest_(std::move(rest)) {}
  arrow::Result<int64_t> Tell() const override { return told_; }
  using SimpleInput::Read;
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    char* const to = static_cast<char*>(out);
    int64_t count = std::min(bytes, std::ssize(prefix_) - taken_);
    std::copy_n(prefix_.data() + taken_, count, to);
    taken_ += count;
    for (int64_t more = 1; more > 0 && count < bytes; count += more) {
      ARROW_ASSIGN_OR_RAISE(more, rest_->Read(bytes - count, to + count));
    }
    if (count > 0) last_ = to[count - 1];
    if (count < bytes && last_ != '\n') last_ = to[count++] = '\n';
    told_ += count;
    return count;
  }

 private:
  std::string prefix_;
  int64_t taken_ = 0;
  std::shared_ptr<arrow::io::InputStream> rest_;
  int64_t told_ = 0;
  char last_ = '\n';  // byte that was read last
};

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
    raw_.resize(kept + kReadBytes);
    ARROW_ASSIGN_OR_RAISE(const int64_t count, bytes_->Read(kReadBytes, raw_.data() + kept));
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

std::vector<std::string_view> split_fields(std::string_view line, const std::string& delimiter) {
  std::vector<std::string_view> fields;
  if (delimiter == " ") {
    constexpr const char* kBlanks = " \t";
    for (size_t at = line.find_first_not_of(kBlanks); at != std::string_view::npos;) {
      const size_t end = std::min(line.find_first_of(kBlanks, at), line.size());
      fields.push_back(line.substr(at, end - at));
      at = line.find_first_not_of(kBlanks, end);
    }
    return fields;
  }
  while (true) {
    const size_t end = line.find(delimiter);
    fields.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return fields;
    line.remove_prefix(end + delimiter.size());
  }
}

class RewrittenInput : public SimpleInput {
 public:
  RewrittenInput(std::shared_ptr<arrow::io::InputStream> bytes, const InputFile& file,
                 std::string delimiter, bool user_lines)
      : lines_(std::move(bytes), file.name),
        name_(file.name),
        delimiter_(std::move(delimiter)),
        user_lines_(user_lines) {}
  arrow::Result<int64_t> Tell() const override { return told_; }
  using SimpleInput::Read;
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    if (taken_ == ready_.size()) {
      ready_.clear();
      taken_ = 0;
      try {
        while (std::ssize(ready_) < kReadBytes && lines_.next(line_)) rewrite();
      } catch (const IoError& error) {
        return arrow::internal::IOErrorFromErrno(EIO, error.what());
      } catch (const DataError& error) {
        return arrow::Status::Invalid(error.what());
      }
    }
    const size_t count = std::min(static_cast<size_t>(bytes), ready_.size() - taken_);
    std::copy_n(ready_.data() + taken_, count, static_cast<char*>(out));
    taken_ += count;
    told_ += static_cast<int64_t>(count);
    return static_cast<int64_t>(count);
  }

 private:
  void rewrite() {
    const auto fields = split_fields(line_, delimiter_);
    if (line_.find(kFieldSeparator) != std::string::npos) {
      throw DataError("line " + std::to_string(lines_.number()) +
                      " holds the control character 0x1F");
    }
    if (fields.empty() || line_.empty()) return;
    if (user_lines_ && fields.size() < 2) {
      throw DataError("line " + std::to_string(lines_.number()) +
                      ": expected a user and its items, found one word");
    }
    if (user_lines_) {
      for (size_t i = 1; i < fields.size(); ++i) append({fields[0], fields[i]});
    } else {
      append(fields);
    }
  }

  void append(const std::vector<std::string_view>& fields) {
    for (size_t i = 0; i < fields.size(); ++i) {
      if (i > 0) ready_ += kFieldSeparator;
      ready_ += fields[i];
    }
    ready_ += '\n';
  }

  LineReader lines_;
  std::string name_;
  std::string delimiter_;
  bool user_lines_;
  std::string line_;
  std::string ready_;
  size_t taken_ = 0;
  int64_t told_ = 0;
};

arrow::Compression::type arrow_compression(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return arrow::Compression::UNCOMPRESSED;
    case Compression::kGzip:
      return arrow::Compression::GZIP;
    case Compression::kZstd:
      return arrow::Compression::ZSTD;
    case Compression::kBzip2:
      return arrow::Compression::BZ2;
    case Compression::kLz4:
      return arrow::Compression::LZ4_FRAME;
    case Compression::kBrotli:
      return arrow::Compression::BROTLI;
  }
  throw std::logic_error("unknown compression");
}

}  // namespace

TextStream::TextStream(const InputFile& file, Compression compression)
    : counted_(std::make_shared<CountedInput>(file.path)), bytes_(counted_) {
  if (compression != Compression::kNone) {
    codec_ = arrow_value(arrow::util::Codec::Create(arrow_compression(compression)), file.name);
    bytes_ = arrow_value(arrow::io::CompressedInputStream::Make(codec_.get(), bytes_), file.name);
  }
  std::string beginning(kMagicBytes, '\0');
  int64_t filled = 0;
  while (filled < kMagicBytes) {
    const int64_t count =
        arrow_value(bytes_->Read(kMagicBytes - filled, beginning.data() + filled), file.name);
    if (count == 0) break;
    filled += count;
  }
  beginning.resize(static_cast<size_t>(filled));
  require_text(file.name, beginning);
  if (compression != Compression::kNone && beginning.starts_with("PAR1")) {
    throw DataError(file.name + " is a compressed Parquet file; unpack it");
  }
  if (compression != Compression::kNone && beginning.starts_with("\x1f\x8b")) {
    throw DataError(file.name + " is compressed twice; unpack it once");
  }
  if (beginning.starts_with(kByteOrderMark)) beginning.erase(0, kByteOrderMark.size());
  bytes_ = std::make_shared<PrefixedInput>(std::move(beginning), bytes_);
}

std::shared_ptr<arrow::io::InputStream> with_checked_quotes(
    std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape) {
  return std::make_shared<QuoteCheckedInput>(std::move(bytes), delimiter, escape);
}

std::shared_ptr<arrow::io::InputStream> with_kept_nulls(
    std::shared_ptr<arrow::io::InputStream> bytes, char delimiter, char escape) {
  return std::make_shared<NullKeptInput>(std::move(bytes), delimiter, escape);
}

double TextStream::fraction() const { return counted_->fraction(); }

bool LineReader::fill() {
  buffer_.erase(0, position_);
  position_ = 0;
  if (buffer_.size() > kLongestLine) {
    throw DataError(name_ + ", line " + std::to_string(number_ + 1) +
                    ": it is longer than 16 MiB; is this a text of lines?");
  }
  const size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  const int64_t count = arrow_value(bytes_->Read(kReadBytes, buffer_.data() + before), name_);
  buffer_.resize(before + static_cast<size_t>(count));
  return count > 0;
}

bool LineReader::next(std::string& line) {
  size_t searched = position_;
  size_t end = buffer_.find('\n', searched);
  while (end == std::string::npos) {
    const size_t unfinished = buffer_.size() - position_;
    const bool more = fill();
    if (!more && unfinished == 0) return false;
    if (!more) {
      end = buffer_.size();
      break;
    }
    searched = unfinished;
    end = buffer_.find('\n', searched);
  }
  line.assign(buffer_, position_, end - position_);
  position_ = std::min(end + 1, buffer_.size());
  if (line.ends_with('\r')) line.pop_back();
  ++number_;
  return true;
}

std::shared_ptr<arrow::io::InputStream> rewritten_lines(
    const std::shared_ptr<arrow::io::InputStream>& bytes, const InputFile& file,
    const std::string& delimiter, bool user_lines) {
  return std::make_shared<RewrittenInput>(bytes, file, delimiter, user_lines);
}

}  // namespace pinnerformer
