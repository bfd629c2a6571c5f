// The walk over a graph, part of kernels.inl: best first (Malkov & Yashunin, algorithm 2), but with a few expansions
// under way at a time, so that the codes of one are fetched while those of another are compared.

constexpr uint32_t kDepth = 3;        // expansions under way at a time: the memory's latency is spent on other rows
constexpr uint32_t kWidest = 512;     // links of a node at most; what one expansion can bring
constexpr uint32_t kClockEvery = 32;  // expansions between two looks at the clock

// The first place in the descending entries[0, size) whose entry is smaller, found without a branch that the processor
// could mispredict.
inline uint32_t place_of(const uint64_t* entries, uint32_t size, uint64_t entry) {
  if (size == 0) return 0;
  const uint64_t* at = entries;
  size_t left = size;
  while (left > 1) {
    const size_t half = left >> 1;
    at += half & (size_t{0} - static_cast<size_t>(at[half - 1] > entry));
    left -= half;
  }
  return static_cast<uint32_t>(at - entries) + (*at > entry ? 1 : 0);
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

// The candidate list of a walk, best first. With a filter, rows that may not be answered are held too, since they lead
// on to others: at most `ef` that may be answered, and `capacity` of any kind.
template <bool kFiltered>
class CandidateList {
 public:
  CandidateList(const Level& base, const WalkOptions& options, WalkScratch& scratch)
      : base_(base), options_(options), entries_(scratch.candidates),
        capacity_(kFiltered ? options.capacity : options.ef) {}

  // Gives the best row whose links were not followed yet; false where all were.
  bool pop(uint32_t& row) {
    while (at_ < size_ && !(entries_[at_] & kUnexpanded)) at_++;
    if (at_ >= size_) return false;
    entries_[at_] &= ~kUnexpanded;
    row = candidate_row(entries_[at_++]);
    return true;
  }

  void offer(const int32_t* scores, const uint32_t* rows, uint32_t n) {
    uint32_t near = (1u << n) - 1;
    if (full()) {
      const int32_t worst = candidate_score(entries_[size_ - 1]);
      for (uint32_t x = 0; x < 4; x++) near &= ~(static_cast<uint32_t>(scores[x] < worst) << x);
    }
    for (; near != 0; near &= near - 1) {
      const uint32_t x = static_cast<uint32_t>(__builtin_ctz(near));
      put(scores[x], rows[x]);
    }
  }

  uint32_t size() const { return size_; }
  uint32_t eligible() const { return kFiltered ? eligible_ : size_; }

 private:
  bool full() const { return size_ == capacity_ || (kFiltered && eligible_ == options_.ef); }

  void put(int32_t score, uint32_t row) {
    uint64_t made = candidate_entry(score, row, false);
    if (full() && made < entries_[size_ - 1]) return;
    const bool may = kFiltered ? options_.eligible(row) : true;
    made |= may ? kEligible : 0;
    const char* links = reinterpret_cast<const char*>(base_.links + size_t{base_.degree} * row);
    prefetch(links);
    prefetch(links + 64);
    const uint32_t place = place_of(entries_, size_, made);
    if (size_ == capacity_) drop_last();
    __builtin_memmove(entries_ + place + 1, entries_ + place, (size_ - place) * sizeof(uint64_t));
    entries_[place] = made;
    size_++;
    if (place < at_) at_ = place;
    if (!kFiltered) return;
    eligible_ += may;
    // What comes after the last eligible row is of no use
    while (eligible_ > options_.ef || (eligible_ == options_.ef && !(entries_[size_ - 1] & kEligible))) drop_last();
    if (at_ > size_) at_ = size_;
  }

  void drop_last() {
    if (kFiltered) eligible_ -= (entries_[size_ - 1] & kEligible) != 0;
    size_--;
  }

  const Level& base_;
  const WalkOptions& options_;
  uint64_t* const entries_;
  const uint32_t capacity_;
  uint32_t size_ = 0, eligible_ = 0, at_ = 0;
};

// Expansions under way: rows that were linked to and not seen before, whose codes are being fetched.
class Expansions {
 public:
  Expansions(const GraphView& graph, const QueryCode& query, WalkScratch& scratch)
      : base_(graph.level[0]), stride_(graph.stride), query_(query.code), scratch_(scratch),
        listed_(scratch.touched_room > 0) {}

  bool none() const { return waiting_ == 0; }
  bool all() const { return waiting_ == kDepth; }

  // Begins with a row as if another had linked to it.
  void enter(uint32_t row) {
    scratch_.visited[row >> 6] |= uint64_t{1} << (row & 63);
    rows_[0][0] = row;
    n_[0] = waiting_ = 1;
    note(rows_[0], 1);
  }

  // Follows a row's links; returns how many rows they led to that were not seen before.
  uint32_t follow(uint32_t row) {
    const uint32_t slot = (head_ + waiting_++) % kDepth;
    uint32_t* const fresh = rows_[slot];
    uint64_t* const visited = scratch_.visited;
    const uint32_t* const links = base_.links + size_t{base_.degree} * row;
    const uint32_t degree = base_.degree;
    uint32_t n = 0;
    for (uint32_t j = 0; j < degree; j++) {
      const uint32_t to = links[j];
      if (to == kNone) break;
      const uint64_t bit = uint64_t{1} << (to & 63);
      const uint64_t word = visited[to >> 6];
      visited[to >> 6] = word | bit;
      fresh[n] = to;
      n += (word & bit) == 0;
    }
    const uint8_t* const codes = base_.codes;
    for (uint32_t j = 0; j < n; j++) prefetch(codes + size_t{stride_} * fresh[j]);
    n_[slot] = n;
    note(fresh, n);
    return n;
  }

  // Compares the rows of the oldest expansion with the query and offers them to the candidates.
  template <bool kFiltered>
  void compare(CandidateList<kFiltered>& candidates) {
    uint32_t* const rows = rows_[head_];
    const uint32_t n = n_[head_];
    head_ = (head_ + 1) % kDepth;
    waiting_--;
    for (uint32_t x = n; x % 4 != 0; x++) rows[x] = rows[n - 1];
    for (uint32_t j = 0; j < n; j += 4) {
      int32_t scores[4];
      Isa::score4(base_.codes, stride_, rows + j, query_, scores);
      candidates.offer(scores, rows + j, n - j < 4 ? n - j : 4);
    }
  }

  // Clears the bit set again, for the next walk.
  void clear_visited() const {
    if (!listed_) {
      __builtin_memset(scratch_.visited, 0, (size_t{base_.count} + 63) / 64 * 8);
    } else {
      for (uint32_t j = 0; j < touched_; j++) scratch_.visited[scratch_.touched[j] >> 6] = 0;
    }
  }

 private:
  // Where the list has no room left, the whole bit set is cleared in the end.
  void note(const uint32_t* rows, uint32_t n) {
    listed_ = listed_ && n <= scratch_.touched_room - touched_;
    if (!listed_) return;
    __builtin_memcpy(scratch_.touched + touched_, rows, n * sizeof(uint32_t));
    touched_ += n;
  }

  const Level& base_;
  const uint32_t stride_;
  const int8_t* const query_;
  WalkScratch& scratch_;
  bool listed_;
  uint32_t touched_ = 0, head_ = 0, waiting_ = 0;
  uint32_t n_[kDepth];
  alignas(64) uint32_t rows_[kDepth][kWidest + 4];
};

inline bool spent(const WalkOptions& options, const WalkResult& out) {
  if (options.max_visits != 0 && out.visits >= options.max_visits) return true;
  return options.deadline_ns != 0 && out.expanded % kClockEvery == 0 && now_ns() >= options.deadline_ns;
}

template <bool kFiltered>
WalkResult walk_from(const GraphView& graph, const QueryCode& query, const WalkOptions& options, WalkScratch& scratch) {
  WalkResult out;
  uint32_t row = graph.entry;
  for (uint32_t l = graph.levels - 1; l > 0; l--) {
    row = descend(graph.level[l], row, graph.stride, query.code, out.visits);
  }
  CandidateList<kFiltered> candidates(graph.level[0], options, scratch);
  Expansions expansions(graph, query, scratch);
  expansions.enter(row);
  while (!expansions.none()) {
    expansions.compare(candidates);
    while (!expansions.all() && !out.truncated && candidates.pop(row)) {
      out.truncated = spent(options, out);
      if (out.truncated) break;
      out.visits += expansions.follow(row);
      out.expanded++;
    }
  }
  expansions.clear_visited();
  out.found = candidates.size();
  out.eligible = candidates.eligible();
  return out;
}

WalkResult walk(const GraphView& graph, const QueryCode& query, const WalkOptions& options, WalkScratch& scratch) {
  if (graph.levels == 0 || options.ef == 0) return {};
  return options.eligible.any() ? walk_from<true>(graph, query, options, scratch)
                                : walk_from<false>(graph, query, options, scratch);
}
