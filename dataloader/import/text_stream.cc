// Arrow's input streams over our files.
#include "dataloader/import/text_stream.h"

#include <arrow/buffer.h>
#include <arrow/io/compressed.h>
#include <arrow/util/io_util.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/simple_input.h"

namespace pinnerformer {
namespace {

constexpr size_t kLongestLine = size_t{16} << 20;
constexpr int64_t kReadBytes = 1 << 20;
constexpr int64_t kMagicBytes = 512;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

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
