// Counter-based random numbers: each is a pure function of its key, not of rank or thread.
#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>
#include <span>
#include <utility>

namespace pinnerformer {

// Finaliser of splitmix64 (Steele, Lea, Flood 2014) after one increment: a bijection on 64 bits.
constexpr uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// The purpose of a stream: streams of different purposes differ even where their keys are equal.
enum class RandomStream : uint64_t {
  kInit,
  kOrder,
  kWindow,
  kPairs,
  kPool,
  kDropout,
  kEvaluation,
  kSynth,
  kProjection,
  kUnknown,
  kPoolPositives,
  kCondition,
  kClustering
};

// A stream of random numbers keyed by (purpose, seed, ...). Cheap to construct, also one per user.
class KeyedRandom {
 public:
  KeyedRandom(RandomStream purpose, std::initializer_list<int64_t> key)
      : state_(splitmix64(static_cast<uint64_t>(purpose))) {
    for (const int64_t part : key) state_ = splitmix64(state_ ^ static_cast<uint64_t>(part));
  }
  uint64_t next() { return splitmix64(state_ += 0x9E3779B97F4A7C15ULL); }
  // Uniform in [0, n), n >= 1 (multiply-shift; the bias of n / 2^64 is far below any sample size).
  int64_t below(int64_t n) {
    return static_cast<int64_t>(
        (static_cast<unsigned __int128>(next()) * static_cast<uint64_t>(n)) >> 64);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }  // [0, 1)
  double normal() {  // standard normal distribution (Box and Muller 1958)
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  uint64_t state_;
};

// Fisher-Yates: all orders are equally likely. std::shuffle may differ between standard libraries.
template <class T>
void shuffle(std::span<T> values, KeyedRandom& random) {
  for (size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
}

// Moves a random subset of `count` <= values.size() values to the front, in random order: the first
// `count` steps of a Fisher-Yates shuffle.
template <class T>
void shuffle_front(std::span<T> values, int64_t count, KeyedRandom& random) {
  const auto size = static_cast<int64_t>(values.size());
  for (int64_t i = 0; i < count; ++i)
    std::swap(values[static_cast<size_t>(i)],
              values[static_cast<size_t>(i + random.below(size - i))]);
}

}  // namespace pinnerformer
