// Which rows may be in an answer.
#pragma once

#include <cstdint>

namespace retrieval {

// Which rows may be answered. Bit r of `allowed` is row r (nullptr: all), those of `excluded` are taken away. Its
// functions are always inlined: a copy that files share might be compiled for instructions that this processor lacks.
struct Eligible {
  const uint64_t* allowed = nullptr;
  const uint64_t* excluded = nullptr;

  // Bits of word `at` that lie among the rows [begin, end).
  [[gnu::always_inline]] uint64_t word(uint32_t at, uint32_t begin, uint32_t end) const {
    uint64_t found = allowed != nullptr ? allowed[at] : ~uint64_t{0};
    if (excluded != nullptr) found &= ~excluded[at];
    if (at == begin / 64) found &= ~uint64_t{0} << (begin % 64);
    if (at == end / 64) found &= (uint64_t{1} << (end % 64)) - 1;
    return found;
  }
  // The first word from `at` on that has allowed rows, `last` if none before that has.
  [[gnu::always_inline]] uint32_t next(uint32_t at, uint32_t last) const {
    if (allowed == nullptr) return at;
    while (at < last && allowed[at] == 0) {
      constexpr uint32_t kAtOnce = 8;
      uint64_t some = 0;
      if (at % kAtOnce == 0 && at + kAtOnce <= last) {
        for (uint32_t w = 0; w < kAtOnce; w++) some |= allowed[at + w];
        at += some == 0 ? kAtOnce : 1;
      } else {
        at++;
      }
    }
    return at;
  }
  [[gnu::always_inline]] bool any() const { return allowed != nullptr || excluded != nullptr; }
  [[gnu::always_inline]] bool operator()(uint32_t row) const {
    const uint64_t bit = uint64_t{1} << (row & 63);
    if (allowed != nullptr && !(allowed[row >> 6] & bit)) return false;
    return excluded == nullptr || !(excluded[row >> 6] & bit);
  }
};

// How many of the rows [begin, end) may be answered.
uint32_t count_eligible(const Eligible& eligible, uint32_t begin, uint32_t end);

}  // namespace retrieval
