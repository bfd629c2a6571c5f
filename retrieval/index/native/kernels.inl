// The loops themselves, written against `Isa`: a struct that the including file defines in its anonymous namespace.
// Nothing here may instantiate a function that other files share (std::vector, std::sort): the linker would keep one
// copy of it, perhaps the one whose instructions this processor does not have.
//
// Isa::score4(codes, stride, ordinals, query, out)   scores [4] of four rows
// Isa::score16(codes, stride, query, least, out)     of consecutive rows [16]; bits of those no lower than `least`
// Isa::finish(high, low, scaled, stride)             inner product of one row's 16-bit coordinates
// Isa::dot(a, b, dim), Isa::dots4(query, v, dim, out) float32

inline void prefetch(const void* where) { __builtin_prefetch(where, 0, 3); }

// First place in the descending pool[0, size) whose entry is smaller; no branch that the processor could guess wrong.
inline uint32_t place_of(const uint64_t* pool, uint32_t size, uint64_t entry) {
  if (size == 0) return 0;
  const uint64_t* at = pool;
  size_t left = size;
  while (left > 1) {
    const size_t half = left >> 1;
    at += half & (size_t{0} - static_cast<size_t>(at[half - 1] > entry));
    left -= half;
  }
  return static_cast<uint32_t>(at - pool) + (*at > entry ? 1 : 0);
}

#include "sift.inl"
#include "walk.inl"

struct ScanPool {
  uint64_t* pool;
  uint32_t size, wanted;

  void offer(int32_t score, uint32_t row) {
    const uint64_t made = pool_entry(score, row, true);
    if (size == wanted) {
      if (made < pool[size - 1]) return;
      size--;
    }
    const uint32_t place = place_of(pool, size, made);
    __builtin_memmove(pool + place + 1, pool + place, (size - place) * sizeof(uint64_t));
    pool[place] = made;
    size++;
  }

  void offer4(const Level& base, uint32_t stride, const uint32_t* rows, uint32_t n, const int8_t* query) {
    int32_t scores[4];
    Isa::score4(base.codes, stride, rows, query, scores);
    // one look at all four: most rows of a scan are far away
    const int32_t worst = size == wanted ? pool_score(pool[size - 1]) : INT32_MIN;
    if (size == wanted && scores[0] < worst && scores[1] < worst && scores[2] < worst && scores[3] < worst) return;
    for (uint32_t x = 0; x < n; x++) offer(scores[x], rows[x]);
  }
};

uint32_t scan(const GraphView& graph, const QueryCode& query, const Eligible& eligible, uint32_t begin, uint32_t end,
              uint32_t wanted, uint64_t* pool, uint32_t held) {
  const Level& base = graph.level[0];
  ScanPool kept{pool, held, wanted};
  if (wanted == 0) return 0;
  if (!eligible.any()) {
    for (uint32_t row = begin; row < end; row += 4) {
      uint32_t rows[4] = {row, row + 1, row + 2, row + 3};
      const uint32_t n = end - row < 4 ? end - row : 4;
      for (uint32_t x = n; x < 4; x++) rows[x] = row;
      kept.offer4(base, graph.stride, rows, n, query.code);
    }
    return kept.size;
  }
  constexpr uint32_t kAhead = 64;  // rows whose codes are on their way while others are compared
  uint32_t ring[3 * kAhead];
  uint32_t n = 0;
  for (uint32_t word = begin / 64; word < (end + 63) / 64; word++) {
    uint64_t bits = eligible.allowed != nullptr ? eligible.allowed[word] : ~uint64_t{0};
    if (eligible.excluded != nullptr) bits &= ~eligible.excluded[word];
    if (word == begin / 64) bits &= ~uint64_t{0} << (begin % 64);
    if (word == end / 64) bits &= (uint64_t{1} << (end % 64)) - 1;
    while (bits != 0) {
      const uint32_t row = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      bits &= bits - 1;
      for (uint32_t b = 0; b < graph.stride; b += 64) prefetch(base.codes + size_t{graph.stride} * row + b);
      ring[n++] = row;
    }
    // a word brings 64 rows at most: what came before it has arrived by now
    uint32_t j = 0;
    for (; n - j >= kAhead + 4; j += 4) kept.offer4(base, graph.stride, ring + j, 4, query.code);
    for (uint32_t x = 0; j != 0 && x < n - j; x++) ring[x] = ring[x + j];
    n -= j;
  }
  for (uint32_t j = 0; j < n; j += 4) {
    uint32_t rows[4];
    const uint32_t four = n - j < 4 ? n - j : 4;
    for (uint32_t x = 0; x < 4; x++) rows[x] = ring[x < four ? j + x : j];
    kept.offer4(base, graph.stride, rows, four, query.code);
  }
  return kept.size;
}

void finish(const GraphView& graph, const QueryCode& query, const uint32_t* rows, uint32_t n, float* scores) {
  const uint8_t* high = graph.level[0].codes;
  for (uint32_t j = 0; j < n; j++) {
    for (uint32_t b = 0; b < graph.stride; b += 64) {
      prefetch(high + size_t{graph.stride} * rows[j] + b);
      prefetch(graph.rest + size_t{graph.stride} * rows[j] + b);
    }
  }
  for (uint32_t j = 0; j < n; j++) {
    const size_t at = size_t{graph.stride} * rows[j];
    scores[j] = Isa::finish(high + at, graph.rest + at, query.scaled, graph.stride);
  }
}

void dots(const float* query, const float* vectors, uint32_t n, uint32_t dim, float* scores) {
  constexpr size_t kAhead = 4096;  // bytes: the processor's own reading ahead stops at each page
  const size_t bytes = 4 * size_t{dim} * sizeof(float);
  uint32_t j = 0;
  for (; j + 4 <= n; j += 4) {
    const char* const ahead = reinterpret_cast<const char*>(vectors + size_t{dim} * j) + kAhead;
    for (size_t b = 0; b < bytes; b += 64) prefetch(ahead + b);
    Isa::dots4(query, vectors + size_t{dim} * j, dim, scores + j);
  }
  for (; j < n; j++) scores[j] = Isa::dot(query, vectors + size_t{dim} * j, dim);
}
