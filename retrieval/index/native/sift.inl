// Comparing rows outside the graph, part of kernels.inl: what may be among the best is added to a list, and a threshold
// that is found by counting, never by sorting, says from time to time what stays.

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

// Of the entries with the score `least`, which none is below, only the first stay, so that `n` do, and no other may come.
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
  for (uint32_t j = whole * kBlockRows; j < n; j++) range = {lower(range.low, scores[j]), higher(range.high, scores[j])};
  return range;
}

// A score in the range, whose low end `wanted` reach, that `wanted` reach, and `spare` more at most unless these are equal.
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

// Single rows, on their way from memory while others are compared.
class Singles {
 public:
  Singles(const uint8_t* codes, uint32_t stride, const int8_t* query, Kept& kept)
      : codes_(codes), stride_(stride), query_(query), kept_(kept) {}

  void add(uint32_t row) {
    for (uint32_t b = 0; b < stride_; b += 64) prefetch(codes_ + size_t{stride_} * row + b);
    rows_[n_++] = row;
    if (n_ == kMost) compare(kMost - kAhead);
  }

  void compare_all() {
    if (n_ == 0) return;
    for (uint32_t x = n_; x % 4 != 0; x++) rows_[x] = rows_[0];
    compare(n_);
  }

 private:
  static constexpr uint32_t kAhead = 48;
  static constexpr uint32_t kMost = 64;

  // The first `n` of them.
  void compare(uint32_t n) {
    if (kept_.room - kept_.size < kMost) settle(kept_);
    for (uint32_t j = 0; j < n; j += 4) offer4(rows_ + j, n - j < 4 ? n - j : 4);
    for (uint32_t x = n; x < n_; x++) rows_[x - n] = rows_[x];
    n_ -= n;
  }

  void offer4(const uint32_t* rows, uint32_t n) {
    int32_t scores[4];
    Isa::score4(codes_, stride_, rows, query_, scores);
    for (uint32_t x = 0; x < n; x++) {
      kept_.scores[kept_.size] = scores[x];
      kept_.rows[kept_.size] = rows[x];
      kept_.size += scores[x] >= kept_.least;
    }
  }

  const uint8_t* const codes_;
  const uint32_t stride_;
  const int8_t* const query_;
  Kept& kept_;
  uint32_t n_ = 0;
  uint32_t rows_[kMost];
};

// Fewer eligible rows of a block are fetched one by one, where they stand so, too.
constexpr int kDense = 3;

inline void sift_block(const uint8_t* block, uint32_t stride, const int8_t* query, uint32_t first, uint32_t eligible,
                       Kept& kept) {
  alignas(64) int32_t scores[kBlockRows];
  alignas(64) uint32_t rows[kBlockRows];
  Isa::score_block(block, stride, query, scores);
  const uint32_t near = Isa::at_least(scores, kept.least) & eligible;
  if (near == 0) return;
  for (uint32_t x = 0; x < kBlockRows; x++) rows[x] = first + x;
  if (kept.room - kept.size < kBlockRows) settle(kept);
  Isa::pack(scores, rows, near, kept.scores + kept.size, kept.rows + kept.size);
  kept.size += static_cast<uint32_t>(__builtin_popcount(near));
}

void sift(const CodedRows& rows, uint32_t stride, const QueryCode& query, const Eligible& eligible, uint32_t begin,
          uint32_t end, Kept& kept) {
  Singles singles(rows.codes, stride, query.code, kept);
  const uint32_t last = (end + 63) / 64;
  for (uint32_t word = eligible.next(begin / 64, last); word < last; word = eligible.next(word + 1, last)) {
    uint64_t bits = eligible.word(word, begin, end);
    while (bits != 0) {
      const uint32_t at = static_cast<uint32_t>(__builtin_ctzll(bits)) / kBlockRows * kBlockRows;
      uint32_t may = static_cast<uint32_t>(bits >> at) & ((1u << kBlockRows) - 1);
      bits ^= uint64_t{may} << at;
      const uint32_t first = 64 * word + at;
      if (rows.blocks != nullptr && (rows.codes == nullptr || __builtin_popcount(may) >= kDense)) {
        sift_block(rows.blocks + size_t{stride} * first, stride, query.code, first, may, kept);
        continue;
      }
      for (; may != 0; may &= may - 1) singles.add(first + static_cast<uint32_t>(__builtin_ctz(may)));
    }
  }
  singles.compare_all();
}

uint32_t nearest(const uint8_t* blocks, uint32_t count, uint32_t stride, const QueryCode& query) {
  alignas(64) int32_t scores[kBlockRows], best[kBlockRows];
  alignas(64) uint32_t at[kBlockRows];
  for (uint32_t x = 0; x < kBlockRows; x++) {
    best[x] = INT32_MIN;
    at[x] = x;
  }
  for (uint32_t first = 0; first < count; first += kBlockRows) {
    Isa::score_block(blocks + size_t{stride} * first, stride, query.code, scores);
    for (uint32_t x = count - first; x < kBlockRows; x++) scores[x] = INT32_MIN;
    for (uint32_t x = 0; x < kBlockRows; x++) {
      at[x] = scores[x] > best[x] ? first + x : at[x];
      best[x] = scores[x] > best[x] ? scores[x] : best[x];
    }
  }
  uint32_t lane = 0;
  for (uint32_t x = 1; x < kBlockRows; x++) {
    if (best[x] > best[lane] || (best[x] == best[lane] && at[x] < at[lane])) lane = x;
  }
  return at[lane];
}
