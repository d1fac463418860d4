// JSON lines: one object per line. Values keep the text they are written with; Arrow's reader would
// fix the type of a column by its first block and turn large numbers into doubles.
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>

#include "dataloader/base/errors.h"
#include "dataloader/import/arrow.h"
#include "dataloader/import/cells.h"
#include "dataloader/import/text_stream.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::json;

constexpr int64_t kSampleLines = 1000;           // that say which fields there are
constexpr int64_t kMostSampleLines = 1'000'000;  // where a wanted field is not among them
constexpr int64_t kRecordsPerBatch = 8192;
constexpr size_t kDeepest = 64;  // nested objects and lists

struct Value {
  std::string text;
  bool null = false;
  const char* type = "null";
};

// Takes one record apart. A field's name is its path, "outer.inner"; elements of a list of values,
// or of a list of objects, are the values of the field at positions 0, 1, ... A list within a list
// has no values.
class RecordParser : public nlohmann::json_sax<Json> {
 public:
  using Visit =
      std::function<void(const std::string& path, std::optional<int64_t> element, Value value)>;
  explicit RecordParser(Visit visit) : visit_(std::move(visit)) {}

  // Throws DataError with the reason where the line is not one object.
  void parse(const std::string& line) {
    levels_.clear();
    list_lengths.clear();
    Json::sax_parse(line, this);
  }

  std::map<std::string, int64_t> list_lengths;  // by path, of the last record

  bool null() override { return add({"", true, "null"}); }
  bool boolean(bool value) override { return add({value ? "true" : "false", false, "boolean"}); }
  bool number_integer(int64_t value) override {
    return add({std::to_string(value), false, "integer"});
  }
  bool number_unsigned(uint64_t value) override {
    return add({std::to_string(value), false, "integer"});
  }
  bool number_float(double, const std::string& text) override {
    return add({text, false, "number"});
  }
  bool string(std::string& value) override { return add({value, false, "text"}); }
  bool binary(Json::binary_t&) override { return true; }
  bool key(std::string& name) override {
    levels_.back().key = name;
    return true;
  }
  bool start_object(size_t) override { return begin(false); }
  bool start_array(size_t) override { return begin(true); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool parse_error(size_t, const std::string&, const Json::exception& error) override {
    const std::string reason = error.what();
    const size_t start = reason.find("syntax error");
    throw DataError(printable(start == std::string::npos ? reason : reason.substr(start)) +
                    "; expected one JSON object per line, as jq -c . writes them");
  }

 private:
  struct Level {
    std::string path;
    bool is_array = false;
    std::string key;       // of an object: the one that is being read
    int64_t elements = 0;  // of an array, so far
    int depth = 0;         // arrays from the record to here
  };

  // The path of the value that comes next.
  [[nodiscard]] std::string next_path() const {
    if (levels_.empty()) return "";
    const Level& level = levels_.back();
    if (level.is_array) return level.path;
    return level.path.empty() ? level.key : level.path + "." + level.key;
  }

  // The innermost array around the value that comes next.
  [[nodiscard]] std::optional<int64_t> element() const {
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
      if (level->is_array) return level->elements;
    }
    return std::nullopt;
  }

  bool add(Value value) {
    if (levels_.empty()) throw DataError("expected one JSON object per line, found one value");
    if (levels_.back().depth <= 1) visit_(next_path(), element(), std::move(value));
    if (levels_.back().is_array) ++levels_.back().elements;
    return true;
  }

  bool begin(bool is_array) {
    if (levels_.empty() && is_array) {
      throw DataError(
          "expected one JSON object per line, found a list; jq -c '.[]' writes a list as lines");
    }
    if (levels_.size() >= kDeepest) throw DataError("it is nested more than 64 levels deep");
    const int depth = (levels_.empty() ? 0 : levels_.back().depth) + (is_array ? 1 : 0);
    if (is_array && depth > 1) visit_(next_path(), element(), {"", true, "list of lists"});
    levels_.push_back({next_path(), is_array, "", 0, depth});
    return true;
  }

  bool end() {
    const Level done = std::move(levels_.back());
    levels_.pop_back();
    if (done.is_array && done.depth == 1 &&
        !list_lengths.try_emplace(done.path, done.elements).second)
      throw DataError("the key '" + done.path + "' comes twice in one object");
    if (!levels_.empty() && levels_.back().is_array) ++levels_.back().elements;
    return true;
  }

  Visit visit_;
  std::vector<Level> levels_;
};

class JsonTable : public FormatReader {
 public:
  JsonTable(const InputFile& file, const FileForm& form)
      : file_(file),
        form_(form),
        parser_([this](const std::string& path, std::optional<int64_t> element, Value value) {
          take(path, element, std::move(value));
        }) {
    find_fields(kSampleLines);
    open();
  }

  [[nodiscard]] const std::vector<TableField>& fields() const override { return fields_; }

  void look_further() override {
    fields_.clear();
    find_fields(kMostSampleLines);
    open();
  }

  void select(const std::vector<size_t>& fields) override {
    for (const size_t field : fields) {
      place_of_.emplace(fields_[field].name, names_.size());
      names_.push_back(fields_[field].name);
    }
    record_.resize(names_.size());
  }

  bool next(TableBatch& batch) override {
    auto texts = std::make_shared<std::deque<std::string>>();  // never move: views point into them
    batch.columns.assign(names_.size(), {});
    batch.first_row = next_row_;
    batch.rows = batch.empty_rows = 0;
    while (batch.rows < kRecordsPerBatch && lines_->next(line_)) {
      if (line_.find_first_not_of(" \t") == std::string::npos) continue;
      for (std::vector<Value>& values : record_) values.clear();
      parse_line(parser_);
      const int64_t rows = append_record(batch, *texts);
      batch.rows += rows;
      if (rows == 0) ++batch.empty_rows;
    }
    batch.owner = texts;
    next_row_ += batch.rows;
    // Records whose lists are empty are no rows; the end is where nothing is left to read.
    return batch.rows > 0;
  }

  [[nodiscard]] double fraction() const override { return stream_->fraction(); }

 private:
  void open() {
    stream_ = std::make_unique<TextStream>(file_, form_.compression);
    lines_ = std::make_unique<LineReader>(stream_->bytes(), file_.name);
  }

  void parse_line(RecordParser& parser) {
    try {
      parser.parse(line_);
    } catch (const DataError& error) {
      throw DataError(file_.name + ", line " + std::to_string(lines_->number()) + ": " +
                      error.what());
    }
  }

  void find_fields(int64_t lines) {
    open();
    std::map<std::string, std::string> types;
    RecordParser sampler([&](const std::string& path, std::optional<int64_t> element, Value value) {
      auto [known, is_new] = types.try_emplace(path, value.type);
      if (is_new) fields_.push_back({path, ""});
      if (known->second == "null") known->second = value.type;
      if (known->second != value.type && !value.null) known->second = "mixed";
      if (element) lists_.insert(path);
    });
    for (int64_t i = 0; i < lines && lines_->next(line_); ++i) {
      if (line_.find_first_not_of(" \t") != std::string::npos) parse_line(sampler);
    }
    for (TableField& field : fields_) {
      field.type = (lists_.contains(field.name) ? "list of " : "") + types[field.name];
    }
  }

  void take(const std::string& path, std::optional<int64_t> element, Value value) {
    const auto place = place_of_.find(path);
    if (place == place_of_.end()) return;
    std::vector<Value>& values = record_[place->second];
    const auto at = static_cast<size_t>(element.value_or(0));
    if (values.size() > at) throw DataError("the key '" + path + "' comes twice in one object");
    values.resize(at + 1, {"", true, "null"});
    values[at] = std::move(value);
  }

  // The length of the list that a field lies in; nothing where it lies in none.
  [[nodiscard]] std::optional<int64_t> length_of(const std::string& name) const {
    for (const auto& [path, length] : parser_.list_lengths) {
      if (name == path || name.starts_with(path + ".")) return length;
    }
    return std::nullopt;
  }

  // Null, or nothing, where other records have a list is an empty list, as in Parquet.
  [[nodiscard]] bool is_absent_list(size_t place) const {
    const std::vector<Value>& values = record_[place];
    return lists_.contains(names_[place]) &&
           (values.empty() || (values.size() == 1 && values[0].null));
  }

  // A value where other records have a list: one event, of which some fields may be missing.
  [[nodiscard]] bool has_lone_element() const {
    for (size_t i = 0; i < names_.size(); ++i)
      if (lists_.contains(names_[i]) && !length_of(names_[i]) && !is_absent_list(i)) return true;
    return false;
  }

  int64_t append_record(TableBatch& batch, std::deque<std::string>& texts) {
    std::optional<int64_t> rows;
    std::vector<bool> is_list;
    const bool lone = has_lone_element();
    for (size_t i = 0; i < names_.size(); ++i) {
      std::optional<int64_t> length = length_of(names_[i]);
      if (!length && is_absent_list(i) && !lone) length = 0;
      is_list.push_back(length.has_value());
      if (!length) continue;
      if (rows && *rows != *length) {
        throw DataError(file_.name + ", line " + std::to_string(lines_->number()) +
                        ": expected lists of one length, found " + std::to_string(*rows) + " and " +
                        std::to_string(*length) + " elements");
      }
      rows = length;
    }
    const int64_t count = rows.value_or(1);
    for (size_t i = 0; i < names_.size(); ++i) {
      std::vector<Value>& values = record_[i];
      values.resize(static_cast<size_t>(is_list[i] ? count : 1), {"", true, "null"});
      TableColumn& column = batch.columns[i];
      std::vector<std::string_view> views;
      for (Value& value : values) views.push_back(texts.emplace_back(std::move(value.text)));
      for (int64_t row = 0; row < count; ++row) {
        const auto at = static_cast<size_t>(is_list[i] ? row : 0);
        column.texts.push_back(views[at]);
        column.null.push_back(values[at].null);
      }
    }
    return count;
  }

  InputFile file_;
  FileForm form_;
  RecordParser parser_;
  std::set<std::string> lists_;
  std::vector<TableField> fields_;
  std::unique_ptr<TextStream> stream_;
  std::unique_ptr<LineReader> lines_;
  std::string line_;
  std::vector<std::string> names_;                    // selected
  std::unordered_map<std::string, size_t> place_of_;  // of a name among them
  std::vector<std::vector<Value>> record_;            // values of the last record, by place
  int64_t next_row_ = 1;
};

}  // namespace

std::unique_ptr<FormatReader> open_json_table(const InputFile& file, const FileForm& form) {
  return std::make_unique<JsonTable>(file, form);
}

}  // namespace pinnerformer
