// What our input streams for Arrow share. For dataloader/import only.
#pragma once
#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace pinnerformer {

// A stream gives bytes in one way: Arrow asks for two.
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

}  // namespace pinnerformer
