// Version 1.0 of the format: magic, length of the header, a Python dictionary as text.
#include "dataloader/formats/npy_writer.h"

#include <stdexcept>

namespace pinnerformer {
namespace {

constexpr size_t kHeaderMultiple = 64;  // numbers start at a multiple of it

const char* description_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat16:
      return "<f2";
    case ElementType::kFloat32:
      return "<f4";
    case ElementType::kInt64:
      return "<i8";
    default:
      throw std::invalid_argument(std::string("no .npy file of ") + name_of(type) + " is written");
  }
}

std::string header_of(ElementType type, const std::vector<int64_t>& shape) {
  std::string text =
      std::string("{'descr': '") + description_of(type) + "', 'fortran_order': False, 'shape': (";
  for (const int64_t extent : shape) text += std::to_string(extent) + ", ";
  text += "), }";
  const std::string magic("\x93NUMPY\x01\x00", 8);
  const size_t unpadded = magic.size() + 2 + text.size() + 1;
  text.append((kHeaderMultiple - unpadded % kHeaderMultiple) % kHeaderMultiple, ' ');
  text += '\n';
  const std::string length{static_cast<char>(text.size() & 0xFF),
                           static_cast<char>(text.size() >> 8)};
  return magic + length + text;
}

}  // namespace

NpyWriter::NpyWriter(const std::string& path, ElementType type, const std::vector<int64_t>& shape)
    : file_(path) {
  const std::string header = header_of(type, shape);
  append(header.data(), std::ssize(header));
  expected_bytes_ = bytes_ + array_bytes(type, shape).value();
}

void NpyWriter::append(const void* numbers, int64_t bytes) {
  file_.file().append(numbers, bytes);
  hash_.add(numbers, static_cast<size_t>(bytes));
  bytes_ += bytes;
}

FileDigest NpyWriter::digest() const {
  if (bytes_ != expected_bytes_)
    throw std::logic_error(file_.path() + ": expected " + std::to_string(expected_bytes_) +
                           " bytes, found " + std::to_string(bytes_));
  return {bytes_, hash_text(hash_.value())};
}

void NpyWriter::publish() { file_.publish(); }

}  // namespace pinnerformer
