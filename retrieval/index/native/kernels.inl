// The loops themselves, written against `Isa`: a struct that the including file defines in its anonymous namespace.
// Nothing here may instantiate a function that other files share (std::vector, std::sort): the linker would keep one
// copy of it, perhaps the one whose instructions this processor does not have.
//
// Isa::score4(codes, stride, ordinals, query, out)   scores [4] of four rows
// Isa::finish(high, low, scaled, stride)             inner product of one row's 16-bit coordinates
// Isa::dot(a, b, dim), Isa::dots4(query, v, dim, out) float32

constexpr uint32_t kDepth = 3;       // expansions under way at a time: the memory's latency is spent on other rows
constexpr uint32_t kWidest = 512;    // links of a node at most; what one expansion can bring
constexpr uint32_t kClockEvery = 32; // expansions between two looks at the clock

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{1000000000} * t.tv_sec + t.tv_nsec;
}

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

// The ordinal one level down of the best node that greedy steps reach in an upper level.
inline uint32_t descend(const Level& level, uint32_t at, uint32_t stride, const int8_t* query, uint64_t& visits) {
  int32_t scores[4];
  uint32_t four[4] = {at, at, at, at};
  Isa::score4(level.codes, stride, four, query, scores);
  int32_t best = scores[0];
  for (bool moved = true; moved;) {
    moved = false;
    const uint32_t* links = level.links + size_t{level.degree} * at;
    for (uint32_t j = 0; j < level.degree && links[j] != kNone; j++) prefetch(level.codes + size_t{stride} * links[j]);
    for (uint32_t j = 0; j < level.degree && links[j] != kNone; j += 4) {
      uint32_t n = 1;
      four[0] = links[j];
      for (; n < 4; n++) four[n] = j + n < level.degree && links[j + n] != kNone ? links[j + n] : four[n - 1];
      Isa::score4(level.codes, stride, four, query, scores);
      visits += 4;
      for (uint32_t x = 0; x < 4; x++) {
        if (scores[x] <= best) continue;
        best = scores[x];
        at = four[x];
        moved = true;
      }
    }
  }
  return level.below[at];
}

template <bool kFiltered>
WalkOutcome walk_from(const GraphView& graph, const QueryCode& query, const WalkTerms& terms, WalkScratch& scratch) {
  WalkOutcome out;
  if (graph.levels == 0 || terms.wanted == 0) return out;
  uint32_t entry = graph.entry;
  for (uint32_t l = graph.levels - 1; l > 0; l--) {
    entry = descend(graph.level[l], entry, graph.stride, query.code, out.visits);
  }
  const Level& base = graph.level[0];
  const uint32_t degree = base.degree, stride = graph.stride;
  const uint32_t capacity = kFiltered ? terms.capacity : terms.wanted;
  uint64_t* const pool = scratch.pool;
  uint64_t* const visited = scratch.visited;
  uint32_t size = 0, eligible = 0, at = 0, touched = 0;

  alignas(64) uint32_t pending[kDepth][kWidest + 4];
  uint32_t pending_n[kDepth];
  uint32_t head = 0, waiting = 0;
  // The entry arrives as if another row had linked to it
  pending[0][0] = entry;
  pending_n[0] = 1;
  waiting = 1;
  visited[entry >> 6] |= uint64_t{1} << (entry & 63);
  bool listed = scratch.touched_room > 0;
  if (listed) scratch.touched[touched++] = entry;

  for (;;) {
    while (waiting < kDepth) {
      while (at < size && !(pool[at] & kUnexpanded)) at++;
      if (at >= size) break;
      if (terms.visits != 0 && out.visits >= terms.visits) {
        out.truncated = true;
        break;
      }
      if (terms.deadline_ns != 0 && out.expanded % kClockEvery == 0 && now_ns() >= terms.deadline_ns) {
        out.truncated = true;
        break;
      }
      pool[at] &= ~kUnexpanded;
      const uint32_t row = pool_row(pool[at]);
      at++;
      out.expanded++;
      const uint32_t slot = (head + waiting) % kDepth;
      uint32_t* fresh = pending[slot];
      uint32_t n = 0;
      const uint32_t* links = base.links + size_t{degree} * row;
      for (uint32_t j = 0; j < degree; j++) {
        const uint32_t to = links[j];
        if (to == kNone) break;
        const uint64_t bit = uint64_t{1} << (to & 63);
        uint64_t& word = visited[to >> 6];
        fresh[n] = to;
        n += (word & bit) == 0;
        word |= bit;
        prefetch(base.codes + size_t{stride} * to);
      }
      pending_n[slot] = n;
      waiting++;
      out.visits += n;
      // where the list has no room left, the whole bit set is cleared in the end
      listed = listed && n <= scratch.touched_room - touched;
      if (listed) {
        __builtin_memcpy(scratch.touched + touched, fresh, n * sizeof(uint32_t));
        touched += n;
      }
    }
    if (waiting == 0) break;

    uint32_t* rows = pending[head];
    const uint32_t n = pending_n[head];
    head = (head + 1) % kDepth;
    waiting--;
    for (uint32_t x = n; x % 4 != 0; x++) rows[x] = rows[n - 1];
    for (uint32_t j = 0; j < n; j += 4) {
      int32_t scores[4];
      Isa::score4(base.codes, stride, rows + j, query.code, scores);
      const uint32_t four = n - j < 4 ? n - j : 4;
      const bool was_full = size == capacity || (kFiltered && eligible == terms.wanted);
      uint32_t near = (1u << four) - 1;
      if (was_full) {
        const int32_t worst = pool_score(pool[size - 1]);
        near &= static_cast<uint32_t>(scores[0] >= worst) | static_cast<uint32_t>(scores[1] >= worst) << 1 |
                static_cast<uint32_t>(scores[2] >= worst) << 2 | static_cast<uint32_t>(scores[3] >= worst) << 3;
      }
      for (; near != 0; near &= near - 1) {
        const uint32_t x = static_cast<uint32_t>(__builtin_ctz(near));
        uint64_t made = pool_entry(scores[x], rows[j + x], false);
        const bool full = size == capacity || (kFiltered && eligible == terms.wanted);
        if (full && made < pool[size - 1]) continue;
        const bool may = kFiltered ? terms.eligible(rows[j + x]) : true;
        made |= may ? kEligible : 0;
        const char* links = reinterpret_cast<const char*>(base.links + size_t{degree} * rows[j + x]);
        prefetch(links);
        prefetch(links + 64);
        const uint32_t place = place_of(pool, size, made);
        if (size == capacity) {
          if (kFiltered && (pool[size - 1] & kEligible)) eligible--;
          size--;
        }
        __builtin_memmove(pool + place + 1, pool + place, (size - place) * sizeof(uint64_t));
        pool[place] = made;
        size++;
        if (place < at) at = place;
        if (!kFiltered) continue;
        eligible += may;
        // behind the last row that counts nothing is of use
        while (eligible > terms.wanted || (eligible == terms.wanted && !(pool[size - 1] & kEligible))) {
          eligible -= (pool[size - 1] & kEligible) != 0;
          size--;
        }
        if (at > size) at = size;
      }
    }
  }
  if (!listed) {
    __builtin_memset(visited, 0, (size_t{base.count} + 63) / 64 * 8);
  } else {
    for (uint32_t j = 0; j < touched; j++) visited[scratch.touched[j] >> 6] = 0;
  }
  out.found = size;
  out.eligible = kFiltered ? eligible : size;
  return out;
}

WalkOutcome walk(const GraphView& graph, const QueryCode& query, const WalkTerms& terms, WalkScratch& scratch) {
  return terms.eligible.any() ? walk_from<true>(graph, query, terms, scratch)
                              : walk_from<false>(graph, query, terms, scratch);
}

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
  uint32_t j = 0;
  for (; j + 4 <= n; j += 4) Isa::dots4(query, vectors + size_t{dim} * j, dim, scores + j);
  for (; j < n; j++) scores[j] = Isa::dot(query, vectors + size_t{dim} * j, dim);
}
