#include "dataloader/base/library_call.h"

#include <utility>

namespace pinnerformer {
namespace {

constinit thread_local const char* file_in_use = nullptr;

}  // namespace

LibraryCall::LibraryCall(const std::string& path)
    : before_(std::exchange(file_in_use, path.c_str())) {}

LibraryCall::~LibraryCall() { file_in_use = before_; }

const char* file_in_library_call() { return file_in_use; }

}  // namespace pinnerformer
