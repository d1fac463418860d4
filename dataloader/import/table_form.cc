// Magic bytes, endings of names, and guesses for messages.
#include "dataloader/import/table_form.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"

namespace pinnerformer {
namespace {

using namespace std::string_view_literals;

constexpr size_t kBeginning = 512;

struct CompressionMagic {
  std::string_view bytes;
  Compression compression;
};
constexpr std::array kCompressions = {
    CompressionMagic{"\x1f\x8b"sv, Compression::kGzip},
    CompressionMagic{"\x28\xb5\x2f\xfd"sv, Compression::kZstd},
    CompressionMagic{"\x04\x22\x4d\x18"sv, Compression::kLz4},
};

struct ForeignMagic {
  std::string_view bytes;
  std::string_view what;  // with what to do
};
constexpr std::array kForeign = {
    ForeignMagic{"\xfd\x37zXZ\0"sv, "compressed with xz; unpack it with xz -d"},
    ForeignMagic{"\x5d\0\0"sv, "compressed with lzma; unpack it with xz -d"},
    ForeignMagic{"\x02\x21\x4c\x18"sv, "in the old format of LZ4 (lz4 -l); unpack it with lz4 -d"},
    ForeignMagic{"PK\3\4"sv, "a ZIP archive (.zip, .xlsx, .npz); unpack it"},
    ForeignMagic{"\x37\x7a\xbc\xaf\x27\x1c"sv, "a 7z archive; unpack it"},
    ForeignMagic{"\x1f\x9d"sv, "compressed with compress (.Z); unpack it with uncompress"},
    ForeignMagic{"\xff\x06\0\0sNaPpY"sv, "compressed with Snappy; unpack it"},
    ForeignMagic{"Obj\1"sv, "an Avro file; convert it to Parquet"},
    ForeignMagic{"ORC\x0a"sv, "an ORC file; convert it to Parquet"},
    ForeignMagic{"ARROW1"sv, "an Arrow or Feather file; convert it to Parquet"},
    ForeignMagic{"\x93NUMPY"sv, "a NumPy array; --vectors reads those"},
    ForeignMagic{"\x89HDF"sv, "an HDF5 file; --vectors reads those"},
    ForeignMagic{"SQLite format 3"sv, "an SQLite database; export a table as CSV"},
    ForeignMagic{"PARE"sv, "an encrypted Parquet file; write it without encryption"},
    ForeignMagic{"version https://git-lfs"sv,
                 "a pointer of Git LFS in place of the file; git lfs pull fetches it"},
    ForeignMagic{"<!DOCTYPE html"sv, "an HTML page; was the download refused?"},
    ForeignMagic{"<html"sv, "an HTML page; was the download refused?"},
    ForeignMagic{"%PDF"sv, "a PDF file"},
    ForeignMagic{"\xff\xfe"sv, "UTF-16; convert it with iconv -f UTF-16 -t UTF-8"},
    ForeignMagic{"\xfe\xff"sv, "UTF-16; convert it with iconv -f UTF-16 -t UTF-8"},
};

bool is_bzip2(std::string_view bytes) {
  if (bytes.size() < 10 || !bytes.starts_with("BZh")) return false;
  constexpr std::string_view kNoBlock = "\x17\x72\x45\x38\x50\x90"sv;  // a file of no bytes
  return bytes.substr(4, 6) == "1AY&SY"sv || bytes.substr(4, 6) == kNoBlock;
}

// pzstd and others begin with a frame to be skipped, of sixteen possible magics.
bool is_skippable_frame(std::string_view bytes) {
  return bytes.size() >= 4 && (static_cast<unsigned char>(bytes[0]) & 0xf0U) == 0x50U &&
         bytes.substr(1, 3) == "\x2a\x4d\x18"sv;
}

bool is_parquet(std::string_view bytes) { return bytes.starts_with("PAR1"); }

std::string beginning_of(const InputFile& file) {
  const File opened = File::open(file.path);
  std::string bytes(std::min(static_cast<size_t>(opened.size()), kBeginning), '\0');
  opened.read_at(0, bytes.data(), std::ssize(bytes));
  return bytes;
}

Compression compression_of(std::string_view bytes, const std::string& name) {
  for (const CompressionMagic& magic : kCompressions) {
    if (bytes.starts_with(magic.bytes)) return magic.compression;
  }
  if (is_bzip2(bytes)) return Compression::kBzip2;
  if (is_skippable_frame(bytes)) return Compression::kZstd;
  return name.ends_with(".br") ? Compression::kBrotli : Compression::kNone;  // it has no magic
}

// The format that the ending of a name says, in capital letters or not; kByName for none.
TableFormat format_of_name(std::string file) {
  std::ranges::transform(file, file.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view name = file;
  for (const std::string_view ending : {".gz", ".gzip", ".zst", ".zstd", ".bz2", ".lz4", ".br"}) {
    if (name.ends_with(ending)) {
      name.remove_suffix(ending.size());
      break;
    }
  }
  const auto ends_with = [name](std::initializer_list<const char*> endings) {
    return std::ranges::any_of(endings, [name](const char* end) { return name.ends_with(end); });
  };
  if (ends_with({".csv"})) return TableFormat::kCsv;
  if (ends_with({".tsv", ".tab", ".inter", ".item"})) return TableFormat::kTsv;
  if (ends_with({".parquet", ".pq"})) return TableFormat::kParquet;
  if (ends_with({".jsonl", ".ndjson", ".json"})) return TableFormat::kJsonLines;
  return TableFormat::kByName;
}

bool is_separated(TableFormat format) {
  return format == TableFormat::kCsv || format == TableFormat::kTsv;
}

std::string default_delimiter(TableFormat format) {
  switch (format) {
    case TableFormat::kTsv:
      return "\t";
    case TableFormat::kUserLines:
      return " ";
    default:
      return ",";
  }
}

void require_parquet(const InputFile& file, std::string_view beginning) {
  if (is_parquet(beginning)) return;
  if (compression_of(beginning, "") != Compression::kNone) {
    throw DataError(
        "cannot read " + file.name +
        ": expected a Parquet file, found one that is compressed as a whole; unpack it");
  }
  for (const ForeignMagic& magic : kForeign) {
    if (!beginning.starts_with(magic.bytes)) continue;
    throw DataError("cannot read " + file.name + ": expected a Parquet file, found " +
                    std::string(magic.what));
  }
  const std::string guess = guess_format_option(beginning);
  throw DataError("cannot read " + file.name + ": expected a Parquet file" +
                  (guess.empty() ? "" : "; it looks like text: " + guess + " reads it"));
}

}  // namespace

void require_text(const std::string& name, std::string_view beginning) {
  for (const ForeignMagic& magic : kForeign) {
    if (beginning.starts_with(magic.bytes)) {
      throw DataError(name + ": expected text in UTF-8, found " + std::string(magic.what));
    }
  }
  if (beginning.size() > 262 && beginning.substr(257, 5) == "ustar") {
    throw DataError(name + ": expected text, found a tar archive; unpack it");
  }
  if (std::ranges::count(beginning, '\0') * 4 > std::ssize(beginning)) {
    throw DataError(name +
                    ": expected text in UTF-8, found something that looks like UTF-16; convert it "
                    "with iconv -f UTF-16 -t UTF-8");
  }
}

FileForm file_form(const InputFile& file, const TableForm& form) {
  const std::string beginning = beginning_of(file);
  if (beginning.empty()) throw DataError(file.name + " is empty");
  FileForm known;
  known.format = form.format;
  if (known.format == TableFormat::kByName) {
    known.format = is_parquet(beginning) ? TableFormat::kParquet : format_of_name(file.name);
  }
  if (known.format == TableFormat::kParquet) {
    require_parquet(file, beginning);
    return known;
  }
  if (is_parquet(beginning)) {
    throw DataError(file.name + " is a Parquet file: leave --format out");
  }
  known.compression = compression_of(beginning, file.name);
  if (known.compression == Compression::kNone) require_text(file.name, beginning);
  if (known.format == TableFormat::kByName) {
    const std::string guess =
        known.compression == Compression::kNone ? guess_format_option(beginning) : "";
    throw DataError("cannot tell the format of " + file.name +
                    " from its name: expected .csv, .tsv, .jsonl (each also compressed) or "
                    ".parquet. Name the format with --format" +
                    (guess.empty() ? "" : ", here perhaps " + guess));
  }
  known.delimiter = form.delimiter.empty() ? default_delimiter(known.format) : form.delimiter;
  known.escape = form.escape;
  return known;
}

TableForm form_beside(const InputFile& file, const TableForm& first, bool has_names) {
  require_regular_file(file.path);
  TableForm form = first;
  if (has_names && form.header == TableHeader::kNone) form.header = TableHeader::kNames;
  const std::string beginning = beginning_of(file);
  const TableFormat own = is_parquet(beginning) ? TableFormat::kParquet : format_of_name(file.name);
  if (own == TableFormat::kByName) return form;
  const bool both_separated = is_separated(own) && is_separated(form.format);
  if (form.format != TableFormat::kByName && !both_separated) form.format = own;
  if (compression_of(beginning, file.name) != Compression::kNone) return form;
  const std::string line = beginning.substr(0, beginning.find('\n'));
  const auto has = [&line](const std::string& text) { return line.find(text) != line.npos; };
  if (!has(form.delimiter)) form.delimiter.clear();
  if (both_separated && has(default_delimiter(own)) && !has(default_delimiter(form.format)))
    form.format = own;
  return form;
}

std::string delimiter_of(const std::string& word) {
  if (word == "tab" || word == "\\t") return "\t";
  if (word == "space" || word == "blank") return " ";
  if (word == "comma") return ",";
  if (word == "semicolon") return ";";
  if (word == "pipe") return "|";
  if (word == "colon") return ":";
  return word;
}

std::string guess_delimiter(std::string_view line) {
  line = line.substr(0, line.find_first_of("\r\n"));
  for (const char* delimiter : {"\t", "::", ";", "|", ",", " "}) {
    if (line.find(delimiter) != std::string_view::npos) return delimiter;
  }
  return "";
}

std::string delimiter_option(const std::string& delimiter) {
  if (delimiter == "\t") return "--delimiter tab";
  if (delimiter == " ") return "--delimiter space";
  return "--delimiter '" + delimiter + "'";
}

std::string guess_format_option(std::string_view beginning) {
  if (beginning.starts_with("\xef\xbb\xbf")) beginning.remove_prefix(3);
  const std::string_view line = beginning.substr(0, beginning.find('\n'));
  if (line.starts_with("{")) return "--format jsonl";
  const std::string delimiter = guess_delimiter(line);
  if (delimiter == "\t") return "--format tsv";
  if (delimiter == ",") return "--format csv";
  return delimiter.empty() ? "" : "--format csv " + delimiter_option(delimiter);
}

std::string form_text(const FileForm& form) {
  std::string text;
  switch (form.format) {
    case TableFormat::kParquet:
      return "Parquet";
    case TableFormat::kJsonLines:
      text = "JSON lines";
      break;
    case TableFormat::kUserLines:
      text = "one user per line";
      break;
    default:
      text = form.delimiter == "\t" ? "TSV" : "CSV";
      if (form.delimiter != "\t") text += ", " + delimiter_option(form.delimiter).substr(2);
      if (form.escape != '\0') text += std::string(", escape '") + form.escape + "'";
  }
  constexpr std::array kNames = {"", ", gzip", ", Zstandard", ", bzip2", ", LZ4", ", Brotli"};
  return text + kNames[static_cast<size_t>(form.compression)];
}

}  // namespace pinnerformer
