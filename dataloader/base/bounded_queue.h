// A blocking queue between one producer and one consumer that carries exceptions and can be closed.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

namespace pinnerformer {

template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // False once the queue is closed: the producer should stop.
  bool push(T value) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || values_.size() < capacity_; });
    if (closed_) return false;
    values_.push_back(std::move(value));
    changed_.notify_all();
    return true;
  }

  // The producer failed: pop() rethrows this once the values before it are consumed.
  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
    changed_.notify_all();
  }

  T pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !values_.empty() || error_; });
    if (values_.empty()) std::rethrow_exception(error_);
    T value = std::move(values_.front());
    values_.pop_front();
    changed_.notify_all();
    return value;
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
  std::exception_ptr error_;
  bool closed_ = false;
};

}  // namespace pinnerformer
