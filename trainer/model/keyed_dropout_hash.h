// The random bits of keyed dropout, for host and device.
#pragma once
#include <cstdint>

#include "trainer/host_device.h"

namespace pinnerformer {

struct DropoutSite {
  uint64_t salt = 0;
  uint32_t drop_below = 0;  // an element is dropped where its 32 bits are below this
  float scale = 1;          // of the kept elements
};

// 32 well-mixed bits of (key, element): two rounds of a multiply-xorshift finaliser.
PF_HOST_DEVICE inline uint32_t keyed_bits(uint64_t key, uint32_t element) {
  uint32_t x = element * 0x9E3779B9U + static_cast<uint32_t>(key);
  x = (x ^ (x >> 16)) * 0x85EBCA6BU;
  x = (x ^ (x >> 13)) * 0xC2B2AE35U;
  x ^= static_cast<uint32_t>(key >> 32);
  x = (x ^ (x >> 16)) * 0x7FEB352DU;
  x = (x ^ (x >> 15)) * 0x846CA68BU;
  return x ^ (x >> 16);
}

// What dropout multiplies an element by.
PF_HOST_DEVICE inline float keyed_factor(uint64_t key, uint32_t element, const DropoutSite& site) {
  return keyed_bits(key, element) >= site.drop_below ? site.scale : 0.0F;
}

}  // namespace pinnerformer
