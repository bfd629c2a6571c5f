// Deterministic random numbers: they depend on the seed and an index alone, so that threads can draw in any order.
#pragma once

#include <cstdint>

namespace retrieval {

// 64 random bits for a seed and an index, different for each index (splitmix64; Steele, Lea & Flood 2014).
inline uint64_t random_bits(uint64_t seed, uint64_t index) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + index + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace retrieval
