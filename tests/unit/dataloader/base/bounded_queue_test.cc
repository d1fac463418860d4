// The queue between the loader's thread and the training step.
#include "dataloader/base/bounded_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>

namespace pinnerformer {
namespace {

constexpr auto kMoment = std::chrono::milliseconds(30);

TEST(BoundedQueue, KeepsTheOrder) {
  BoundedQueue<int> queue(3);
  std::thread producer([&] {
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(queue.push(i));
  });
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(queue.pop(), i);
  producer.join();
}

TEST(BoundedQueue, MovesValues) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.push(std::make_unique<int>(7)));
  EXPECT_EQ(*queue.pop(), 7);
}

TEST(BoundedQueue, ProducerWaitsWhileFull) {
  BoundedQueue<int> queue(2);
  std::atomic<int> pushed = 0;
  std::thread producer([&] {
    for (int i = 0; i < 4; ++i) {
      queue.push(i);
      ++pushed;
    }
  });
  while (pushed < 2) std::this_thread::yield();
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(pushed, 2);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(queue.pop(), i);
  producer.join();
  EXPECT_EQ(pushed, 4);
}

TEST(BoundedQueue, ConsumerWaitsWhileEmpty) {
  BoundedQueue<int> queue(2);
  std::atomic<bool> got = false;
  std::thread consumer([&] {
    EXPECT_EQ(queue.pop(), 5);
    got = true;
  });
  std::this_thread::sleep_for(kMoment);
  EXPECT_FALSE(got);
  queue.push(5);
  consumer.join();
}

TEST(BoundedQueue, CloseReleasesTheProducer) {
  BoundedQueue<int> queue(1);
  ASSERT_TRUE(queue.push(1));
  std::atomic<int> refused = 0;
  std::thread producer([&] { refused = queue.push(2) ? 1 : 2; });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(refused, 0);
  queue.close();
  producer.join();
  EXPECT_EQ(refused, 2);
}

TEST(BoundedQueue, FailureComesAfterTheValuesBeforeItAndStays) {
  BoundedQueue<int> queue(4);
  queue.push(1);
  queue.push(2);
  queue.fail(std::make_exception_ptr(std::runtime_error("bad row")));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_THROW(queue.pop(), std::runtime_error);
  EXPECT_THROW(queue.pop(), std::runtime_error);
}

TEST(BoundedQueue, FailureWakesAWaitingConsumer) {
  BoundedQueue<int> queue(1);
  std::thread producer([&] {
    std::this_thread::sleep_for(kMoment);
    queue.fail(std::make_exception_ptr(std::runtime_error("bad row")));
  });
  EXPECT_THROW(queue.pop(), std::runtime_error);
  producer.join();
}

}  // namespace
}  // namespace pinnerformer
