// A pipe without room, whose reader does not read: what a frozen launcher makes of a rank's output.
#pragma once

namespace pinnerformer {

class FullPipe {
 public:
  FullPipe();
  ~FullPipe();
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;

  [[nodiscard]] int writer() const { return writer_; }
  [[nodiscard]] int reader() const { return reader_; }
  // Reads all that filled it.
  void drain() const;

 private:
  int reader_ = -1, writer_ = -1;
  int filled_ = 0;  // bytes
};

}  // namespace pinnerformer
