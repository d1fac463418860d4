// CSV and TSV, plain or gzipped, by Arrow's streaming reader. Every cell stays text: Arrow would
// guess types from the first block and be wrong about the second.
#include <arrow/csv/api.h>
#include <arrow/io/api.h>
#include <arrow/util/compression.h>

#include <atomic>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/import/arrow.h"

namespace pinnerformer {
namespace {

constexpr int32_t kBlockBytes = 4 << 20;

// A file as Arrow's input, which counts what was read: for progress, also through gzip.
class CountedInput : public arrow::io::InputStream {
 public:
  explicit CountedInput(const std::string& path) : file_(File::open(path)), size_(file_.size()) {}
  [[nodiscard]] double fraction() const {
    return static_cast<double>(position_.load()) / static_cast<double>(size_);
  }
  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  bool closed() const override { return closed_; }
  arrow::Result<int64_t> Tell() const override { return position_.load(); }
  arrow::Result<int64_t> Read(int64_t bytes, void* out) override {
    const int64_t position = position_.load();
    const int64_t count = std::min(bytes, size_ - position);
    try {
      file_.read_at(position, out, count);
    } catch (const IoError& error) {
      return arrow::Status::IOError(error.what());
    }
    position_ = position + count;
    return count;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t bytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(bytes));
    ARROW_ASSIGN_OR_RAISE(const int64_t count, Read(bytes, buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(count));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }

 private:
  File file_;
  int64_t size_;
  std::atomic<int64_t> position_{0};  // read by the caller, moved by Arrow's thread
  bool closed_ = false;
};

class TextTable : public TableReader {
 public:
  TextTable(std::string path, TableFormat format, std::vector<std::string> columns)
      : path_(std::move(path)), columns_(std::move(columns)) {
    const bool tabs = format == TableFormat::kTsv;
    // Columns and types are set once the header is known, so the first reader is only for it.
    require_columns(path_, open_reader(tabs, {})->schema()->field_names(), columns_);
    reader_ = open_reader(tabs, columns_);
  }

  bool next(TableBatch& batch) override {
    std::shared_ptr<arrow::RecordBatch> read;
    check_arrow(reader_->ReadNext(&read), path_);
    if (!read) return false;
    batch.first_row = next_row_;
    batch.rows = read->num_rows();
    batch.columns.clear();
    for (const std::string& name : columns_) {
      batch.columns.push_back(convert_column(*read->GetColumnByName(name), name, path_));
    }
    batch.owner = read;
    next_row_ += batch.rows;
    return true;
  }

  [[nodiscard]] double fraction() const override { return input_->fraction(); }

 private:
  std::shared_ptr<arrow::csv::StreamingReader> open_reader(
      bool tabs, const std::vector<std::string>& columns) {
    input_ = std::make_shared<CountedInput>(path_);
    std::shared_ptr<arrow::io::InputStream> stream = input_;
    if (path_.ends_with(".gz")) {
      codec_ = arrow_value(arrow::util::Codec::Create(arrow::Compression::GZIP), path_);
      stream = arrow_value(arrow::io::CompressedInputStream::Make(codec_.get(), stream), path_);
    }
    auto read = arrow::csv::ReadOptions::Defaults();
    read.block_size = kBlockBytes;
    read.use_threads = false;  // with threads Arrow cannot say in which row an error is
    auto parse = arrow::csv::ParseOptions::Defaults();
    parse.delimiter = tabs ? '\t' : ',';
    parse.quoting = !tabs;  // a quote in a TSV is a letter like any other
    parse.newlines_in_values = !tabs;
    auto convert = arrow::csv::ConvertOptions::Defaults();
    convert.include_columns = columns;
    convert.default_column_type = arrow::utf8();
    for (const std::string& name : columns) convert.column_types[name] = arrow::utf8();
    return arrow_value(arrow::csv::StreamingReader::Make(arrow::io::default_io_context(), stream,
                                                         read, parse, convert),
                       path_);
  }

  std::string path_;
  std::vector<std::string> columns_;
  std::unique_ptr<arrow::util::Codec> codec_;
  std::shared_ptr<CountedInput> input_;
  std::shared_ptr<arrow::csv::StreamingReader> reader_;
  int64_t next_row_ = 1;
};

}  // namespace

std::unique_ptr<TableReader> open_text_table(const std::string& path, TableFormat format,
                                             const std::vector<std::string>& columns) {
  return std::make_unique<TextTable>(path, format, columns);
}

}  // namespace pinnerformer
