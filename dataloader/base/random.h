// Counter-based random numbers: every draw is a pure function of its key, never of rank or thread.
#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>

namespace pinnerformer {

// Finaliser of splitmix64 (Steele, Lea, Flood 2014) after one increment: a bijection on 64 bits.
constexpr uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// What a stream of draws is for, so that two purposes with the same numbers never share a stream.
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
  kUnknown
};

// A stream of draws keyed by (purpose, seed, ...). Cheap to make: one per user, say.
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
  double normal() {  // standard; Box-Muller
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  uint64_t state_;
};

}  // namespace pinnerformer
