#include "runtime/checksum.h"

#include <cstring>

namespace retrieval {
namespace {

inline uint64_t mixed(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t word_at(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

}  // namespace

// Two lanes of multiply-and-fold, the way wyhash mixes (Wang Yi, public domain idea; own code)
uint64_t checksum(const uint8_t* data, size_t bytes, uint64_t seed) {
  constexpr uint64_t k0 = 0xa0761d6478bd642fu, k1 = 0xe7037ed1a0b428dbu, k2 = 0x8ebc6af09c88c6e3u;
  uint64_t first = seed ^ k0, second = seed ^ k1;
  size_t left = bytes;
  for (; left >= 32; left -= 32, data += 32) {
    first = mixed(word_at(data) ^ k1, word_at(data + 8) ^ first);
    second = mixed(word_at(data + 16) ^ k2, word_at(data + 24) ^ second);
  }
  uint8_t tail[32] = {};
  if (left > 0) std::memcpy(tail, data, left);
  first = mixed(word_at(tail) ^ k1, word_at(tail + 8) ^ first);
  second = mixed(word_at(tail + 16) ^ k2, word_at(tail + 24) ^ second);
  return mixed(first ^ second ^ k2, mixed(bytes ^ k0, seed ^ k1) ^ first);
}

}  // namespace retrieval
