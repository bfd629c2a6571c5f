// Comparing rows outside the graph, part of kernels.inl: no list is kept in order, a count of rows by score says which are
// still among the best.

inline uint32_t bucket_of(const QueryCode& query, int32_t score) {
  float place = static_cast<float>(score - query.zero) * query.buckets_per_unit + kBuckets / 2;
  place = place > 0.0f ? place : 0.0f;
  place = place < kBuckets - 1 ? place : kBuckets - 1;
  return static_cast<uint32_t>(static_cast<int32_t>(place));
}

// Lets go of the lowest buckets that are not needed for `wanted` rows any more.
inline void raise(const QueryCode& query, Kept& kept) {
  const uint32_t before = kept.low;
  while (kept.held - kept.counts[kept.low] >= kept.wanted) kept.held -= kept.counts[kept.low++];
  if (kept.low == before || query.buckets_per_unit <= 0.0f) return;
  // rounded down: a row of the bucket below may slip in, none is lost
  const float edge = (static_cast<float>(kept.low) - kBuckets / 2) / query.buckets_per_unit;
  kept.least = query.zero + static_cast<int32_t>(edge) - 1;
}

// Keeps the `wanted` best entries, of the lowest bucket those that came first.
inline void clear_away(const QueryCode& query, Kept& kept) {
  uint32_t spare = kept.wanted - (kept.held - kept.counts[kept.low]);
  uint32_t size = 0;
  kept.counts[kept.low] = spare;
  kept.held = kept.wanted;
  for (uint32_t i = 0; i < kept.size; i++) {
    const uint64_t entry = kept.entries[i];
    const int32_t score = pool_score(entry);
    if (score < kept.least) continue;
    if (bucket_of(query, score) <= kept.low) {
      if (spare == 0) continue;
      spare--;
    }
    kept.entries[size++] = entry;
  }
  kept.size = size;
}

inline void hold(const QueryCode& query, Kept& kept, int32_t score, uint32_t row) {
  const uint32_t bucket = bucket_of(query, score);
  kept.counts[bucket > kept.low ? bucket : kept.low]++;
  kept.entries[kept.size++] = pool_entry(score, row, true);
  kept.held++;
}

// As Isa::score16 for fewer rows.
inline uint32_t score_last(const uint8_t* codes, uint32_t stride, const QueryCode& query, uint32_t first, uint32_t n,
                           int32_t least, int32_t* scores) {
  uint32_t near = 0;
  for (uint32_t j = 0; j < n; j += 4) {
    uint32_t rows[4];
    for (uint32_t x = 0; x < 4; x++) rows[x] = first + (j + x < n ? j + x : n - 1);
    Isa::score4(codes, stride, rows, query.code, scores + j);
  }
  for (uint32_t x = 0; x < n; x++) near |= static_cast<uint32_t>(scores[x] >= least) << x;
  return near;
}

void sift(const uint8_t* codes, uint32_t stride, const QueryCode& query, const Eligible& eligible, uint32_t begin,
          uint32_t end, Kept& kept) {
  const bool filtered = eligible.any();
  alignas(64) int32_t scores[16];
  for (uint32_t first = begin; first < end; first += 16) {
    const uint32_t n = end - first < 16 ? end - first : 16;
    uint32_t near = filtered ? eligible.bits(first, n) : (1u << n) - 1;
    if (near == 0) continue;
    near &= n == 16 ? Isa::score16(codes + size_t{stride} * first, stride, query.code, kept.least, scores)
                    : score_last(codes, stride, query, first, n, kept.least, scores);
    if (near == 0) continue;
    if (kept.room - kept.size < 16) clear_away(query, kept);
    for (; near != 0; near &= near - 1) {
      const uint32_t x = static_cast<uint32_t>(__builtin_ctz(near));
      hold(query, kept, scores[x], first + x);
    }
    raise(query, kept);
  }
}

inline void offer4(const uint8_t* codes, uint32_t stride, const QueryCode& query, const uint32_t* rows, uint32_t n,
                   Kept& kept) {
  int32_t scores[4];
  Isa::score4(codes, stride, rows, query.code, scores);
  if (kept.room - kept.size < 4) clear_away(query, kept);
  for (uint32_t x = 0; x < n; x++) {
    if (scores[x] >= kept.least) hold(query, kept, scores[x], rows[x]);
  }
  raise(query, kept);
}

void gather(const uint8_t* codes, uint32_t stride, const QueryCode& query, const Eligible& eligible, uint32_t begin,
            uint32_t end, Kept& kept) {
  constexpr uint32_t kAhead = 64;  // rows whose codes are on their way while others are compared
  uint32_t ring[3 * kAhead];
  uint32_t n = 0;
  for (uint32_t word = begin / 64; word < (end + 63) / 64; word++) {
    for (uint64_t bits = eligible.word(word, begin, end); bits != 0; bits &= bits - 1) {
      const uint32_t row = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      for (uint32_t b = 0; b < stride; b += 64) prefetch(codes + size_t{stride} * row + b);
      ring[n++] = row;
    }
    // a word brings 64 rows at most: what came before it has arrived by now
    if (n < kAhead + 4) continue;
    uint32_t j = 0;
    for (; n - j >= kAhead + 4; j += 4) offer4(codes, stride, query, ring + j, 4, kept);
    for (uint32_t x = 0; x < n - j; x++) ring[x] = ring[x + j];
    n -= j;
  }
  for (uint32_t j = 0; j < n; j += 4) {
    uint32_t rows[4];
    const uint32_t four = n - j < 4 ? n - j : 4;
    for (uint32_t x = 0; x < 4; x++) rows[x] = ring[x < four ? j + x : j];
    offer4(codes, stride, query, rows, four, kept);
  }
}
