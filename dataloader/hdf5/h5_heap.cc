// Every number of the file is compared with the bytes there are before it is used.
#include "dataloader/hdf5/h5_heap.h"

#include <cstring>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

constexpr size_t kHeapHeader = 16;    // "GCOL", version, three unused, size of the collection
constexpr size_t kObjectHeader = 16;  // number, count of references, four unused, size
constexpr size_t kMostCollections = 64;

template <class Number>
Number number_at(const char* bytes) {
  Number number{};
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

}  // namespace

bool has_plain_references(hid_t file, hid_t dataset) {
  const H5Handle made(H5Fget_create_plist(file), H5Pclose);
  const H5Handle layout(H5Dget_create_plist(dataset), H5Pclose);
  size_t address_bytes = 0, size_bytes = 0;
  hsize_t user_block = 0;
  return H5Pget_sizes(made.get(), &address_bytes, &size_bytes) >= 0 && address_bytes == 8 &&
         size_bytes == 8 && H5Pget_userblock(made.get(), &user_block) >= 0 && user_block == 0 &&
         H5Pget_layout(layout.get()) == H5D_CONTIGUOUS;
}

// A string and the collection it is in are read once each, a collection perhaps again.
H5Heap::H5Heap(const std::string& path)
    : file_(File::open(path)),
      bytes_(static_cast<uint64_t>(file_.size())),
      left_(8 * bytes_ + 65536) {}

void H5Heap::refuse(const std::string& fault) const {
  throw DataError(file_.path() + ": a string of variable length: " + fault +
                  ". Is the file damaged or cut short?");
}

void H5Heap::spend(uint64_t bytes, const char* on) {
  if (bytes > left_)
    refuse(std::string("expected ") + on +
           " that take no more than the file, found the same content many times");
  left_ -= bytes;
}

std::string H5Heap::references(int64_t offset, int64_t first, int64_t count) const {
  std::string content(static_cast<size_t>(count * kReferenceBytes), '\0');
  file_.read_at(offset + first * kReferenceBytes, content.data(), std::ssize(content));
  return content;
}

std::string_view H5Heap::string_of(const char* reference) {
  const auto length = number_at<uint32_t>(reference);
  if (length == 0) return {};
  const auto address = number_at<uint64_t>(reference + 4);
  const auto number = number_at<uint32_t>(reference + 12);
  spend(length, "strings");
  const Collection& found = collection(address);
  const auto object = found.objects.find(static_cast<uint16_t>(number));
  if (number > UINT16_MAX || object == found.objects.end())
    refuse("the heap at byte " + std::to_string(address) + " has no object " +
           std::to_string(number));
  if (object->second.size() < length)
    refuse("expected " + std::to_string(length) + " bytes, found " +
           std::to_string(object->second.size()));
  const std::string_view text = object->second.substr(0, length);
  return text.substr(0, text.find('\0'));
}

const H5Heap::Collection& H5Heap::collection(uint64_t address) {
  const auto known = collections_.find(address);
  if (known != collections_.end()) return known->second;
  if (collections_.size() >= kMostCollections) collections_.clear();
  Collection& made = collections_[address] = read_collection(address);
  spend(made.content.size(), "heaps");
  return made;
}

H5Heap::Collection H5Heap::read_collection(uint64_t address) const {
  std::array<char, kHeapHeader> header{};
  if (address > bytes_ || bytes_ - address < header.size())
    refuse("expected a heap at byte " + std::to_string(address));
  file_.read_at(static_cast<int64_t>(address), header.data(), std::ssize(header));
  const auto size = number_at<uint64_t>(header.data() + 8);
  if (std::memcmp(header.data(), "GCOL\1", 5) != 0 || size < kHeapHeader || size > bytes_ - address)
    refuse("expected a heap at byte " + std::to_string(address));
  Collection made;
  made.content.resize(size);
  file_.read_at(static_cast<int64_t>(address), made.content.data(), std::ssize(made.content));
  for (size_t at = kHeapHeader; at + kObjectHeader <= size;) {
    const auto number = number_at<uint16_t>(made.content.data() + at);
    const auto length = number_at<uint64_t>(made.content.data() + at + 8);
    if (number == 0) break;  // the rest is free
    if (length > size - at - kObjectHeader)
      refuse("object " + std::to_string(number) + " of the heap at byte " +
             std::to_string(address) + " ends behind it");
    made.objects[number] = std::string_view(made.content).substr(at + kObjectHeader, length);
    at += kObjectHeader + (length + 7) / 8 * 8;
  }
  return made;
}

}  // namespace pinnerformer
