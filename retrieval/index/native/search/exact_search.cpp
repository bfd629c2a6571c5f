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

  void move_to(Answer& answer) {
    std::sort_heap(heap_.begin(), heap_.end(), ranks_before);
    for (const ScoredRow& one : heap_) {
      answer.scores.push_back(one.score);
      answer.rows.push_back(one.row);
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

void offer_block(const Vectors& vectors, const Ask& ask, const uint64_t* excluded, uint32_t begin, uint32_t end,
                 const Kernels& kernels, std::vector<float>& scores, TopHeap& best) {
  const Eligible eligible{ask.allowed, excluded};
  const bool sparse = ask.allowed != nullptr && ask.allowed_count < vectors.count / 4;
  if (!sparse) kernels.dots(ask.query, vectors.row(begin), end - begin, vectors.dim, scores.data());
  if (!eligible.any()) {
    best.offer_all(scores.data(), end - begin, begin);
    return;
  }
  for (uint32_t word = begin / 64; word < (end + 63) / 64; word++) {
    for (uint64_t bits = eligible.word(word, begin, end); bits != 0; bits &= bits - 1) {
      const uint32_t row = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      best.offer(sparse ? kernels.dot(ask.query, vectors.row(row), vectors.dim) : scores[row - begin], row);
    }
  }
}

bool limited(const Ask& ask) { return ask.visits > 0 || ask.time_ns > 0; }

bool spent(const Ask& ask, int64_t started, const Answer& answer) {
  if (ask.visits > 0 && answer.visits >= ask.visits) return true;
  return ask.time_ns > 0 && answer.visits > 0 && now_ns() - started >= ask.time_ns;
}

void search_some(const Vectors& vectors, const Ask* asks, size_t n, Answer* answers, const Kernels& kernels) {
  const int64_t started = now_ns();
  const bool counted = std::any_of(asks, asks + n, [](const Ask& ask) { return ask.visits > 0; });
  // A multiple of 64, so that blocks begin at words of the bit sets
  const uint32_t step = counted ? 64 : std::max<uint32_t>(64, kBlockBytes / (vectors.dim * sizeof(float)) / 64 * 64);
  std::vector<float> scores(step);
  std::vector<TopHeap> best;
  std::vector<std::vector<uint64_t>> excluded(n);
  for (size_t i = 0; i < n; i++) {
    answers[i] = Answer{};
    best.emplace_back(std::min(asks[i].k, vectors.count));
    if (asks[i].excluded_count > 0) excluded[i].resize((size_t{vectors.count} + 63) / 64);
    for (uint32_t j = 0; j < asks[i].excluded_count; j++) {
      excluded[i][asks[i].excluded[j] >> 6] |= uint64_t{1} << (asks[i].excluded[j] & 63);
    }
  }
  for (uint32_t begin = 0; begin < vectors.count; begin += std::min(step, vectors.count - begin)) {
    const uint32_t end = begin + std::min(step, vectors.count - begin);
    for (size_t i = 0; i < n; i++) {
      if (asks[i].k == 0 || answers[i].truncated) continue;
      const uint64_t* const without = excluded[i].empty() ? nullptr : excluded[i].data();
      if (limited(asks[i])) {
        const uint32_t rows = count_eligible({asks[i].allowed, without}, begin, end);
        if (rows == 0) continue;
        answers[i].truncated = spent(asks[i], started, answers[i]);
        if (answers[i].truncated) continue;
        answers[i].visits += rows;
      }
      offer_block(vectors, asks[i], without, begin, end, kernels, scores, best[i]);
    }
  }
  for (size_t i = 0; i < n; i++) {
    answers[i].plan = Plan::kScan;
    if (!limited(asks[i])) answers[i].visits = asks[i].allowed != nullptr ? asks[i].allowed_count : vectors.count;
    best[i].move_to(answers[i]);
  }
}

}  // namespace

void search_exactly(const float* vectors, uint32_t count, uint32_t dim, const Ask* asks, size_t n, Answer* answers,
                    unsigned threads, const Kernels& kernels) {
  const Vectors all{vectors, count, dim};
  const size_t each = std::max<size_t>(1, std::min(kQueriesAtOnce, (n + threads - 1) / std::max(1u, threads)));
  ThreadPool::shared().run((n + each - 1) / each, threads, [&](size_t piece) {
    const size_t first = piece * each;
    search_some(all, asks + first, std::min(each, n - first), answers + first, kernels);
  });
}

}  // namespace retrieval
