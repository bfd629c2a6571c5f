// Blocks of rows stay in the cache while all queries of a piece of work are compared with them. Budgets are looked at
// between blocks.
#include "search/exact_search.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "graph/eligible.h"
#include "runtime/clock.h"
#include "runtime/thread_pool.h"
#include "search/bucket_sort.h"

namespace retrieval {
namespace {

constexpr uint32_t kBlockBytes = 256 << 10;
constexpr size_t kQueriesAtOnce = 32;  // of one piece of work

// The best k rows so far, as a heap whose top is the worst of them.
class TopHeap {
 public:
  explicit TopHeap(uint32_t k) : k_(k) { heap_.reserve(k); }

  void offer(float score, uint32_t row) {
    if (!(score >= threshold_)) return;  // NaN never counts
    const ScoredRow scored{score, row};
    if (heap_.size() == k_) {
      if (!ranks_before(scored, heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), ranks_before);
      heap_.pop_back();
    }
    heap_.push_back(scored);
    std::push_heap(heap_.begin(), heap_.end(), ranks_before);
    if (heap_.size() == k_) threshold_ = heap_.front().score;
  }

  // Consecutive rows. Most of them miss the threshold, and are passed sixteen at a time.
  void offer_all(const float* scores, uint32_t n, uint32_t first) {
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
      uint32_t near = 0;
      for (uint32_t x = 0; x < 16; x++) near |= static_cast<uint32_t>(scores[i + x] >= threshold_);
      for (uint32_t x = 0; near != 0 && x < 16; x++) offer(scores[i + x], first + i + x);
    }
    for (; i < n; i++) offer(scores[i], first + i);
  }

  void move_to(Hits& hits) {
    std::sort_heap(heap_.begin(), heap_.end(), ranks_before);
    for (const ScoredRow& one : heap_) {
      hits.scores.push_back(one.score);
      hits.rows.push_back(one.row);
    }
  }

 private:
  const uint32_t k_;
  float threshold_ = -std::numeric_limits<float>::infinity();
  std::vector<ScoredRow> heap_;
};

struct Vectors {
  const float* data;
  uint32_t count, dim;
  const float* row(uint32_t at) const { return data + size_t{dim} * at; }
};

// One query of a piece of work: its best rows among the blocks that it was compared with.
class QuerySearch {
 public:
  QuerySearch(const Vectors& vectors, const Query& query, const Kernels& kernels)
      : vectors_(vectors), query_(query), kernels_(kernels), best_(std::min(query.k, vectors.count)),
        sparse_(query.allowed != nullptr && query.allowed_count < vectors.count / 4) {
    if (query.excluded_count > 0) excluded_.resize((size_t{vectors.count} + 63) / 64);
    for (uint32_t j = 0; j < query.excluded_count; j++) {
      excluded_[query.excluded[j] >> 6] |= uint64_t{1} << (query.excluded[j] & 63);
    }
    eligible_ = {query.allowed, excluded_.empty() ? nullptr : excluded_.data()};
  }

  // Rows [begin, end), whose scores `scores` has room for, unless a budget is spent.
  void compare(uint32_t begin, uint32_t end, int64_t started, std::vector<float>& scores) {
    if (query_.k == 0 || truncated_) return;
    if (limited()) {
      const uint32_t rows = count_eligible(eligible_, begin, end);
      if (rows == 0) return;
      truncated_ = budget_spent(started);
      if (truncated_) return;
      visits_ += rows;
    }
    offer(begin, end, scores);
  }

  void write(Hits& hits) {
    hits = Hits{};
    hits.plan = Plan::kScan;
    hits.truncated = truncated_;
    hits.visits = limited() ? visits_ : query_.allowed != nullptr ? query_.allowed_count : vectors_.count;
    best_.move_to(hits);
  }

 private:
  bool limited() const { return query_.visit_budget > 0 || query_.time_budget_us > 0; }

  bool budget_spent(int64_t started) const {
    if (query_.visit_budget > 0 && visits_ >= query_.visit_budget) return true;
    return query_.time_budget_us > 0 && visits_ > 0 && now_ns() - started >= int64_t{1000} * query_.time_budget_us;
  }

  void offer(uint32_t begin, uint32_t end, std::vector<float>& scores) {
    if (!sparse_) kernels_.dots(query_.vector, vectors_.row(begin), end - begin, vectors_.dim, scores.data());
    if (!eligible_.any()) {
      best_.offer_all(scores.data(), end - begin, begin);
      return;
    }
    for (uint32_t word = begin / 64; word < (end + 63) / 64; word++) {
      for (uint64_t bits = eligible_.word(word, begin, end); bits != 0; bits &= bits - 1) {
        const uint32_t row = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
        best_.offer(sparse_ ? kernels_.dot(query_.vector, vectors_.row(row), vectors_.dim) : scores[row - begin], row);
      }
    }
  }

  const Vectors& vectors_;
  const Query& query_;
  const Kernels& kernels_;
  TopHeap best_;
  const bool sparse_;  // the filter allows so few rows that only these are compared
  std::vector<uint64_t> excluded_;
  Eligible eligible_;
  bool truncated_ = false;
  uint64_t visits_ = 0;
};

void search_some(const Vectors& vectors, const Query* queries, size_t n, Hits* hits, const Kernels& kernels) {
  const int64_t started = now_ns();
  const bool counted = std::any_of(queries, queries + n, [](const Query& query) { return query.visit_budget > 0; });
  // A multiple of 64, so that blocks begin at words of the bit sets
  const uint32_t step = counted ? 64 : std::max<uint32_t>(64, kBlockBytes / (vectors.dim * sizeof(float)) / 64 * 64);
  std::vector<float> scores(step);
  std::vector<QuerySearch> searches;
  searches.reserve(n);
  for (size_t i = 0; i < n; i++) searches.emplace_back(vectors, queries[i], kernels);
  for (uint32_t begin = 0; begin < vectors.count; begin += std::min(step, vectors.count - begin)) {
    const uint32_t end = begin + std::min(step, vectors.count - begin);
    for (QuerySearch& search : searches) search.compare(begin, end, started, scores);
  }
  for (size_t i = 0; i < n; i++) searches[i].write(hits[i]);
}

}  // namespace

void search_exactly(const float* vectors, uint32_t count, uint32_t dim, const Query* queries, size_t n, Hits* hits,
                    unsigned threads, const Kernels& kernels) {
  const Vectors all{vectors, count, dim};
  const size_t each = std::max<size_t>(1, std::min(kQueriesAtOnce, (n + threads - 1) / std::max(1u, threads)));
  ThreadPool::shared().run((n + each - 1) / each, threads, [&](size_t piece) {
    const size_t first = piece * each;
    search_some(all, queries + first, std::min(each, n - first), hits + first, kernels);
  });
}

}  // namespace retrieval
