// CSV, TSV and other separated text by Arrow's streaming reader. Every cell stays text: Arrow would
// guess types from the first block and be wrong about the second.
#include <arrow/csv/api.h>
#include <arrow/io/api.h>
#include <arrow/util/io_util.h>

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/cells.h"
#include "dataloader/import/column_guess.h"
#include "dataloader/import/csv_quotes.h"
#include "dataloader/import/text_stream.h"

namespace pinnerformer {
namespace {

constexpr int32_t kBlockBytes = 4 << 20;

// What is wrong with the quotes of a file that Arrow cannot cut into rows; OK where nothing is.
arrow::Status quote_fault(const InputFile& file, const FileForm& form) {
  const TextStream stream(file, form.compression);
  const auto bytes = with_checked_quotes(stream.bytes(), form.delimiter[0], form.escape);
  std::string block(kBlockBytes, '\0');
  for (int64_t count = 1; count > 0;) {
    ARROW_ASSIGN_OR_RAISE(count, bytes->Read(kBlockBytes, block.data()));
  }
  return arrow::Status::OK();
}

class TextTable : public FormatReader {
 public:
  TextTable(const InputFile& file, const FileForm& form, TableHeader header)
      : file_(file), form_(form), header_(header) {
    // Columns and types are set once the header is known, so the first reader is only for it.
    const bool user_lines = form_.format == TableFormat::kUserLines;
    for (const std::string& stored : open_reader(nullptr)->schema()->field_names()) {
      stored_names_.push_back(stored);
      std::string name(trimmed(stored));
      if (user_lines) name = fields_.empty() ? "user" : "item";
      if (!user_lines && header_ == TableHeader::kNone) name = std::to_string(fields_.size());
      fields_.push_back({name, "text"});
    }
  }

  [[nodiscard]] const std::vector<TableField>& fields() const override { return fields_; }

  void select(const std::vector<size_t>& fields) override {
    for (const size_t field : fields) selected_.push_back(field);
    reader_ = open_reader(&selected_);
  }

  bool next(TableBatch& batch) override {
    std::shared_ptr<arrow::RecordBatch> read;
    check(reader_->ReadNext(&read));
    if (!read) return false;
    batch.first_row = next_row_;
    batch.rows = read->num_rows();
    batch.columns.clear();
    for (size_t i = 0; i < selected_.size(); ++i) {
      batch.columns.push_back(convert_column(*read->column(static_cast<int>(i)),
                                             fields_[selected_[i]].name, file_.name));
    }
    batch.owner = read;
    next_row_ += batch.rows;
    return true;
  }

  [[nodiscard]] double fraction() const override { return stream_->fraction(); }

 private:
  // As check_arrow(), with what a user can do about it.
  void check(const arrow::Status& status) {
    if (status.ok()) return;
    const std::string reason = printable(status.message());
    const bool no_cut = reason.find("straddling") != std::string::npos;
    if (no_cut && is_quoted()) check(quote_fault(file_, form_));
    for (const char* fault : {kEscapedQuote, kOpenQuote, kStrayQuote, kBlankBeforeQuote})
      if (const size_t at = reason.find(fault); at != std::string::npos)
        throw DataError(file_.name + ": " + reason.substr(at) + advice_on(fault));
    if (no_cut) {
      throw DataError("cannot read " + file_.name + ": a row is longer than " +
                      std::to_string(kBlockBytes >> 20) + " MiB; is this a text of rows?");
    }
    if (status.IsInvalid() && reason.find("Empty CSV") != std::string::npos) {
      throw DataError(file_.name + " is empty: it holds no line of text");
    }
    if (status.IsIOError() && arrow::internal::ErrnoFromStatus(status) == 0) {
      throw DataError("cannot read " + file_.name + ": " + reason +
                      (form_.compression == Compression::kNone
                           ? ""
                           : "; the compressed file is damaged or cut short"));
    }
    const bool escapes = form_.escape == '\0' && reason.find("\\\"") != std::string::npos;
    if (status.IsInvalid())
      throw DataError("cannot read " + file_.name + ": " + reason +
                      (escapes ? "; where a backslash stands before quotes, give --escape '\\'"
                               : delimiter_advice(file_, form_)));
    check_arrow(status, file_.name);
  }

  [[nodiscard]] std::string advice_on(const char* fault) const {
    if (fault == kEscapedQuote)
      return ". Where it belongs to the quote, as Spark and MySQL write it, give --escape '\\'; "
             "else write the quote twice";
    if (fault == kBlankBeforeQuote)
      return ". The quote would be part of the value: take the blank out";
    return form_.escape == '\0'
               ? ". A quote inside a value is written twice, or, with --escape '\\', behind a "
                 "backslash"
               : ". A quote inside a value is written twice or behind the escape character";
  }

  [[nodiscard]] bool is_simple() const {
    return form_.delimiter.size() == 1 && form_.delimiter != " ";
  }
  [[nodiscard]] bool is_quoted() const {
    return is_simple() && form_.format == TableFormat::kCsv && form_.delimiter != "\t";
  }

  std::shared_ptr<arrow::csv::StreamingReader> open_reader(const std::vector<size_t>* selected) {
    stream_ = std::make_unique<TextStream>(file_, form_.compression);
    const bool user_lines = form_.format == TableFormat::kUserLines;
    auto bytes = stream_->bytes();
    if (!is_simple() || user_lines) {
      bytes = rewritten_lines(bytes, file_, form_.delimiter, user_lines);
    }
    if (is_quoted()) bytes = with_checked_quotes(bytes, form_.delimiter[0], form_.escape);
    if (form_.escape != '\0') bytes = with_kept_nulls(bytes, form_.delimiter[0], form_.escape);
    auto read = arrow::csv::ReadOptions::Defaults();
    read.block_size = kBlockBytes;
    read.use_threads = false;  // with threads Arrow cannot say in which row an error is
    read.autogenerate_column_names = user_lines || header_ == TableHeader::kNone;
    auto parse = arrow::csv::ParseOptions::Defaults();
    parse.delimiter = is_simple() && !user_lines ? form_.delimiter[0] : kFieldSeparator;
    parse.quoting = is_quoted();  // a quote in a TSV is a letter like any other
    parse.newlines_in_values = is_quoted();
    parse.escaping = form_.escape != '\0';
    if (parse.escaping) parse.escape_char = form_.escape;
    auto convert = arrow::csv::ConvertOptions::Defaults();
    convert.check_utf8 = false;  // the cells are checked one by one, to name the row
    convert.default_column_type = arrow::utf8();
    for (const std::string& name : stored_names_) convert.column_types[name] = arrow::utf8();
    if (selected != nullptr) {
      for (const size_t field : *selected) {
        convert.include_columns.push_back(stored_names_[field]);
      }
    }
    auto made = arrow::csv::StreamingReader::Make(arrow::io::IOContext(limited_pool()), bytes, read,
                                                  parse, convert);
    check(made.status());
    return std::move(made).ValueUnsafe();
  }

  InputFile file_;
  FileForm form_;
  TableHeader header_;
  std::vector<std::string> stored_names_;  // as the file has them
  std::vector<TableField> fields_;
  std::vector<size_t> selected_;
  std::unique_ptr<TextStream> stream_;
  std::shared_ptr<arrow::csv::StreamingReader> reader_;
  int64_t next_row_ = 1;
};

}  // namespace

std::unique_ptr<FormatReader> open_text_table(const InputFile& file, const FileForm& form,
                                              TableHeader header) {
  return std::make_unique<TextTable>(file, form, header);
}

}  // namespace pinnerformer
