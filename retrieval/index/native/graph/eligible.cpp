#include "graph/eligible.h"

namespace retrieval {

uint32_t count_eligible(const Eligible& eligible, uint32_t begin, uint32_t end) {
  if (!eligible.any()) return end - begin;
  uint32_t found = 0;
  for (uint32_t word = begin / 64; word < (end + 63) / 64; word++) {
    found += static_cast<uint32_t>(__builtin_popcountll(eligible.word(word, begin, end)));
  }
  return found;
}

}  // namespace retrieval
