// Numbers that look random and depend on nothing but the seed and the row.
#pragma once

#include <cstdint>

namespace retrieval {

// None twice for one seed (splitmix64).
inline uint64_t drawn(uint64_t seed, uint64_t row) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + row + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace retrieval
