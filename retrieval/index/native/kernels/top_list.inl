// The list of a scan's best rows (top_list.h), part of kernels.inl. It is trimmed from time to time to the rows that
// reach a threshold. That is found by counting, since sorting so many rows would take longer than the scan.

inline int32_t greater(int32_t a, int32_t b) { return a > b ? a : b; }
inline int32_t lesser(int32_t a, int32_t b) { return a < b ? a : b; }

inline uint32_t count_at_least(const int32_t* scores, uint32_t n, int32_t least) {
  uint32_t found = 0, j = 0;
  for (; j + kBlockRows <= n; j += kBlockRows) {
    found += static_cast<uint32_t>(__builtin_popcount(Isa::at_least(scores + j, least)));
  }
  for (; j < n; j++) found += scores[j] >= least;
  return found;
}

// Moves the entries with scores of `least` and better to the front, in their order.
inline void drop_below(TopList& top, int32_t least) {
  uint32_t size = 0, j = 0;
  for (; j + kBlockRows <= top.size; j += kBlockRows) {
    const uint32_t near = Isa::at_least(top.scores + j, least);
    Isa::pack(top.scores + j, top.rows + j, near, top.scores + size, top.rows + size);
    size += static_cast<uint32_t>(__builtin_popcount(near));
  }
  for (; j < top.size; j++) {
    if (top.scores[j] < least) continue;
    top.scores[size] = top.scores[j];
    top.rows[size++] = top.rows[j];
  }
  top.size = size;
  top.threshold = greater(top.threshold, least);
}

// Cuts the list to `n` entries where all have a score of `least` or better: of those with exactly that score the first
// ones stay, and no other will be let in.
inline void drop_ties(TopList& top, int32_t least, uint32_t n) {
  uint32_t ties = top.size - count_at_least(top.scores, top.size, least + 1);
  ties -= top.size - n;
  uint32_t size = 0;
  for (uint32_t j = 0; j < top.size; j++) {
    if (top.scores[j] == least) {
      if (ties == 0) continue;
      ties--;
    }
    top.scores[size] = top.scores[j];
    top.rows[size++] = top.rows[j];
  }
  top.size = size;
  top.threshold = greater(top.threshold, least + 1);
}

struct Range {
  int32_t low, high;
};

// The least and the greatest of scores [n], n > 0.
inline Range range_of(const int32_t* scores, uint32_t n) {
  Range range{scores[0], scores[0]};
  const uint32_t whole = n / kBlockRows;
  if (whole > 0) {
    int32_t low[kBlockRows], high[kBlockRows];
    Isa::bounds(scores, whole, kBlockRows, low, high);
    for (uint32_t x = 0; x < kBlockRows; x++) range = {lesser(range.low, low[x]), greater(range.high, high[x])};
  }
  for (uint32_t j = whole * kBlockRows; j < n; j++) {
    range = {lesser(range.low, scores[j]), greater(range.high, scores[j])};
  }
  return range;
}

// A score in the range that at least `k` of scores [n] reach, and no more than `spare` others unless these are equal.
// At least `k` reach the low end of the range.
inline int32_t bisect(const int32_t* scores, uint32_t n, uint32_t k, uint32_t spare, Range range) {
  int64_t low = range.low, high = int64_t{range.high} + 1;
  for (uint32_t left = n; left > k + spare && high - low > 1;) {
    const int64_t middle = low + (high - low) / 2;
    const uint32_t found = count_at_least(scores, n, static_cast<int32_t>(middle));
    (found >= k ? low : high) = middle;
    left = found >= k ? found : left;
  }
  return static_cast<int32_t>(low);
}

// Such a score for any scores [n]. Of many scores, the maxima of small groups are searched first: what k of these reach
// is a low end for all of them, and close to the threshold.
inline int32_t find_threshold(const int32_t* scores, uint32_t n, uint32_t k, uint32_t spare) {
  constexpr uint32_t kLargest = 1024;
  const uint32_t columns = (4 * k / kBlockRows + 4) * kBlockRows;
  if (columns > kLargest || n < 4 * columns) return bisect(scores, n, k, spare, range_of(scores, n));
  int32_t highest[kLargest], lowest[kBlockRows];
  uint32_t x = 0;
  do {
    Isa::bounds(scores + x, (n - x - kBlockRows) / columns + 1, columns, lowest, highest + x);
    x += kBlockRows;
  } while (x < columns);
  const Range best = range_of(highest, columns);
  const uint32_t rest = n / kBlockRows * kBlockRows;
  const int32_t high = rest < n ? greater(best.high, range_of(scores + rest, n - rest).high) : best.high;
  const int32_t low = bisect(highest, columns, k, k / 4 + 2, best);
  return bisect(scores, n, k, spare, {low, high});
}

void trim(TopList& top) {
  const uint32_t spare = top.k / 8 + 4;  // dropping these, too, would cost more than it saves
  if (top.size <= top.k + spare) return;
  const int64_t reached = find_threshold(top.scores, top.size, top.k, spare);
  drop_below(top, static_cast<int32_t>(reached - top.margin > INT32_MIN ? reached - top.margin : INT32_MIN));
  if (top.size <= top.max_size + spare) return;
  const int32_t least = find_threshold(top.scores, top.size, top.max_size, spare);
  drop_below(top, least);
  if (top.size > top.max_size + spare) drop_ties(top, least, top.max_size);
}
