// Scores of quantised rows without the graph, part of kernels.inl: sixteen at a time where they stand in blocks.

#include "kernels/top_list.inl"

// Rows that are fetched one by one: each is prefetched while those before it are compared.
class GatheredRows {
 public:
  GatheredRows(const uint8_t* codes, uint32_t stride, const int8_t* query, TopList& top)
      : codes_(codes), stride_(stride), query_(query), top_(top) {}

  void add(uint32_t row) {
    for (uint32_t b = 0; b < stride_; b += 64) prefetch(codes_ + size_t{stride_} * row + b);
    rows_[n_++] = row;
    if (n_ == kMaxRowsHeld) compare(kMaxRowsHeld - kAhead);
  }

  void compare_all() {
    if (n_ == 0) return;
    for (uint32_t x = n_; x % 4 != 0; x++) rows_[x] = rows_[0];
    compare(n_);
  }

 private:
  static constexpr uint32_t kAhead = 48;
  static constexpr uint32_t kMaxRowsHeld = 64;

  // Compares the first `n` of them.
  void compare(uint32_t n) {
    if (top_.capacity - top_.size < kMaxRowsHeld) trim(top_);
    for (uint32_t j = 0; j < n; j += 4) offer4(rows_ + j, n - j < 4 ? n - j : 4);
    for (uint32_t x = n; x < n_; x++) rows_[x - n] = rows_[x];
    n_ -= n;
  }

  void offer4(const uint32_t* rows, uint32_t n) {
    int32_t scores[4];
    Isa::score4(codes_, stride_, rows, query_, scores);
    for (uint32_t x = 0; x < n; x++) {
      top_.scores[top_.size] = scores[x];
      top_.rows[top_.size] = rows[x];
      top_.size += scores[x] >= top_.threshold;
    }
  }

  const uint8_t* const codes_;
  const uint32_t stride_;
  const int8_t* const query_;
  TopList& top_;
  uint32_t n_ = 0;
  uint32_t rows_[kMaxRowsHeld];
};

// A block with fewer eligible rows is not scored as a whole, if its rows can be fetched one by one.
constexpr int kMinInBlock = 3;

inline void scan_block(const uint8_t* block, uint32_t stride, const int8_t* query, uint32_t first, uint32_t eligible,
                       TopList& top) {
  alignas(64) int32_t scores[kBlockRows];
  alignas(64) uint32_t rows[kBlockRows];
  // First, since it raises the threshold that is used below
  if (top.capacity - top.size < kBlockRows) trim(top);
  Isa::score_block(block, stride, query, scores);
  const uint32_t near = Isa::at_least(scores, top.threshold) & eligible;
  if (near == 0) return;
  for (uint32_t x = 0; x < kBlockRows; x++) rows[x] = first + x;
  Isa::pack(scores, rows, near, top.scores + top.size, top.rows + top.size);
  top.size += static_cast<uint32_t>(__builtin_popcount(near));
}

void scan(const CodedRows& rows, uint32_t stride, const QueryCode& query, const Eligible& eligible, uint32_t begin,
          uint32_t end, TopList& top) {
  GatheredRows gathered(rows.codes, stride, query.code, top);
  const uint32_t last = (end + 63) / 64;
  for (uint32_t word = eligible.next(begin / 64, last); word < last; word = eligible.next(word + 1, last)) {
    uint64_t bits = eligible.word(word, begin, end);
    while (bits != 0) {
      const uint32_t at = static_cast<uint32_t>(__builtin_ctzll(bits)) / kBlockRows * kBlockRows;
      uint32_t may = static_cast<uint32_t>(bits >> at) & ((1u << kBlockRows) - 1);
      bits ^= uint64_t{may} << at;
      const uint32_t first = 64 * word + at;
      if (rows.blocks != nullptr && (rows.codes == nullptr || __builtin_popcount(may) >= kMinInBlock)) {
        scan_block(rows.blocks + size_t{stride} * first, stride, query.code, first, may, top);
        continue;
      }
      for (; may != 0; may &= may - 1) gathered.add(first + static_cast<uint32_t>(__builtin_ctz(may)));
    }
  }
  gathered.compare_all();
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
