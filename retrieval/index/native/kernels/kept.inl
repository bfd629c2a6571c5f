// What sifting keeps, part of kernels.inl: what may be among the best is added to a list, and a threshold that is found
// by counting, never by sorting, says from time to time what stays.

inline int32_t higher(int32_t a, int32_t b) { return a > b ? a : b; }
inline int32_t lower(int32_t a, int32_t b) { return a < b ? a : b; }

inline uint32_t count_from(const int32_t* scores, uint32_t n, int32_t least) {
  uint32_t found = 0, j = 0;
  for (; j + kBlockRows <= n; j += kBlockRows) {
    found += static_cast<uint32_t>(__builtin_popcount(Isa::at_least(scores + j, least)));
  }
  for (; j < n; j++) found += scores[j] >= least;
  return found;
}

// Moves the entries with scores of `least` and better to the front, in their order.
inline void keep_from(Kept& kept, int32_t least) {
  uint32_t size = 0, j = 0;
  for (; j + kBlockRows <= kept.size; j += kBlockRows) {
    const uint32_t near = Isa::at_least(kept.scores + j, least);
    Isa::pack(kept.scores + j, kept.rows + j, near, kept.scores + size, kept.rows + size);
    size += static_cast<uint32_t>(__builtin_popcount(near));
  }
  for (; j < kept.size; j++) {
    if (kept.scores[j] < least) continue;
    kept.scores[size] = kept.scores[j];
    kept.rows[size++] = kept.rows[j];
  }
  kept.size = size;
  kept.least = higher(kept.least, least);
}

// Of the entries with the score `least`, which none is below, only the first stay, so that `n` do, and no other
// may come.
inline void cut_ties(Kept& kept, int32_t least, uint32_t n) {
  uint32_t ties = kept.size - count_from(kept.scores, kept.size, least + 1);
  ties -= kept.size - n;
  uint32_t size = 0;
  for (uint32_t j = 0; j < kept.size; j++) {
    if (kept.scores[j] == least) {
      if (ties == 0) continue;
      ties--;
    }
    kept.scores[size] = kept.scores[j];
    kept.rows[size++] = kept.rows[j];
  }
  kept.size = size;
  kept.least = higher(kept.least, least + 1);
}

struct Range {
  int32_t low, high;
};

// Of scores [n], n > 0.
inline Range range_of(const int32_t* scores, uint32_t n) {
  Range range{scores[0], scores[0]};
  const uint32_t whole = n / kBlockRows;
  if (whole > 0) {
    int32_t low[kBlockRows], high[kBlockRows];
    Isa::bounds(scores, whole, kBlockRows, low, high);
    for (uint32_t x = 0; x < kBlockRows; x++) range = {lower(range.low, low[x]), higher(range.high, high[x])};
  }
  for (uint32_t j = whole * kBlockRows; j < n; j++) {
    range = {lower(range.low, scores[j]), higher(range.high, scores[j])};
  }
  return range;
}

// A score in the range, whose low end `wanted` reach, that `wanted` reach, and `spare` more at most unless these
// are equal.
inline int32_t halved(const int32_t* scores, uint32_t n, uint32_t wanted, uint32_t spare, Range range) {
  int64_t low = range.low, high = int64_t{range.high} + 1;
  for (uint32_t left = n; left > wanted + spare && high - low > 1;) {
    const int64_t middle = low + (high - low) / 2;
    const uint32_t found = count_from(scores, n, static_cast<int32_t>(middle));
    (found >= wanted ? low : high) = middle;
    left = found >= wanted ? found : left;
  }
  return static_cast<int32_t>(low);
}

// Such a score of all. Where many are to go, those of the highest of every few bring it near: as many as are wanted
// reach it among these alone.
inline int32_t threshold(const int32_t* scores, uint32_t n, uint32_t wanted, uint32_t spare) {
  constexpr uint32_t kLargest = 1024;
  const uint32_t columns = (4 * wanted / kBlockRows + 4) * kBlockRows;
  if (columns > kLargest || n < 4 * columns) return halved(scores, n, wanted, spare, range_of(scores, n));
  int32_t highest[kLargest], lowest[kBlockRows];
  uint32_t x = 0;
  do {
    Isa::bounds(scores + x, (n - x - kBlockRows) / columns + 1, columns, lowest, highest + x);
    x += kBlockRows;
  } while (x < columns);
  const Range best = range_of(highest, columns);
  const uint32_t rest = n / kBlockRows * kBlockRows;
  const int32_t high = rest < n ? higher(best.high, range_of(scores + rest, n - rest).high) : best.high;
  const int32_t low = halved(highest, columns, wanted, wanted / 4 + 2, best);
  return halved(scores, n, wanted, spare, {low, high});
}

void settle(Kept& kept) {
  const uint32_t spare = kept.wanted / 8 + 4;  // more are worth less than another count
  if (kept.size <= kept.wanted + spare) return;
  const int64_t reached = threshold(kept.scores, kept.size, kept.wanted, spare);
  keep_from(kept, static_cast<int32_t>(reached - kept.margin > INT32_MIN ? reached - kept.margin : INT32_MIN));
  if (kept.size <= kept.most + spare) return;
  const int32_t least = threshold(kept.scores, kept.size, kept.most, spare);
  keep_from(kept, least);
  if (kept.size > kept.most + spare) cut_ties(kept, least, kept.most);
}
