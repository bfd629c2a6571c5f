#include "searcher.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "codes.h"
#include "lines.h"
#include "workers.h"

namespace retrieval {
namespace {

constexpr uint32_t kScannedAtOnce = 1 << 15;  // rows between two looks at the clock; a multiple of 64
constexpr uint32_t kTrials = 16;
constexpr uint32_t kFirstTrials = 4;  // of these: pages and caches are cold

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Far from a query many rows score alike: a scan keeps more of them for the final scores, which cost it little.
uint32_t scanned_pool(const Ask& ask, uint32_t wanted) { return std::max(wanted, 4 * std::min(ask.k, 1u << 20) + 64); }

// Maps the pages of some rows' codes into this process: else the kernel's time for that would be taken for a scan's.
void touch(const GraphView& view, uint32_t begin, uint32_t end) {
  const volatile uint8_t* const codes = view.level[0].codes;
  for (size_t at = size_t{view.stride} * begin; at < size_t{view.stride} * end; at += 4096) static_cast<void>(codes[at]);
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

struct Searcher::Scratch {
  Lines<int8_t> code;
  Lines<float> scaled;
  std::vector<uint64_t> visited, excluded, pool;
  std::vector<uint32_t> touched, rows;
  std::vector<float> scores;
  std::vector<std::pair<float, uint32_t>> order;

  Scratch(uint32_t count, uint32_t stride)
      : code(stride), scaled(stride), visited((size_t{count} + 63) / 64), excluded(visited.size()),
        touched(visited.size() / 4 + 64) {}

  QueryCode query() const { return {code.data(), scaled.data()}; }
};

// Scratch of this searcher for as long as one query takes: there are as many as queries at a time, not as threads.
class Searcher::Borrowed {
 public:
  explicit Borrowed(Searcher& owner) : owner_(owner) {
    {
      const std::lock_guard<std::mutex> lock(owner_.mutex_);
      if (!owner_.idle_.empty()) {
        one_ = std::move(owner_.idle_.back());
        owner_.idle_.pop_back();
      }
    }
    if (one_ == nullptr) one_ = std::make_unique<Scratch>(owner_.count_, owner_.view_.stride);
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed() {
    const std::lock_guard<std::mutex> lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(one_));
  }
  Scratch& operator*() { return *one_; }

 private:
  Searcher& owner_;
  std::unique_ptr<Scratch> one_;
};

Searcher::Searcher(const GraphView& view, const Kernels& kernels)
    : view_(view), kernels_(kernels), count_(view.levels > 0 ? view.level[0].count : 0) {}

Searcher::~Searcher() = default;

void Searcher::search(const Ask* asks, size_t n, Answer* answers, unsigned threads) {
  Workers::shared().run(n, threads, [&](size_t i) {
    Borrowed scratch(*this);
    answer(asks[i], answers[i], *scratch);
  });
}

void Searcher::answer(const Ask& ask, Answer& answer, Scratch& scratch) {
  answer = Answer{};
  const uint32_t wanted = std::min(std::max(ask.k, ask.effort), count_);
  uint32_t capacity = 0;
  answer.plan = planned(ask, wanted, capacity);
  if (answer.plan == Plan::kNothing) return;
  const int64_t deadline = ask.time_ns > 0 ? now_ns() + ask.time_ns : 0;
  encode_query(ask.query, view_.dim, view_.scales, scratch.code.data(), scratch.scaled.data());
  for (uint32_t i = 0; i < ask.excluded_count; i++) {
    scratch.excluded[ask.excluded[i] >> 6] |= uint64_t{1} << (ask.excluded[i] & 63);
  }
  uint32_t found = 0;
  if (answer.plan == Plan::kWalk) {
    found = walk(ask, wanted, capacity, deadline, answer, scratch);
  }
  if (answer.plan == Plan::kScan) found = scan(ask, scanned_pool(ask, wanted), deadline, answer, scratch);
  for (uint32_t i = 0; i < ask.excluded_count; i++) scratch.excluded[ask.excluded[i] >> 6] = 0;
  finish(ask, found, answer, scratch);
}

// A walk passes rows that may not be answered, too: about one in (allowed share) of what it weighs counts.
Plan Searcher::planned(const Ask& ask, uint32_t wanted, uint32_t& capacity) const {
  const uint32_t allowed = ask.allowed != nullptr ? ask.allowed_count : count_;
  if (allowed == 0 || wanted == 0 || ask.k == 0) return Plan::kNothing;
  const double scan = ask.allowed != nullptr
                          ? std::min(costs_.scanned * count_, costs_.gathered * allowed) + count_ / 64 * 0.5
                          : costs_.scanned * count_;
  const double expanded = double{1} * wanted * count_ / allowed + ask.excluded_count * 0.25;
  if (!ask.only_walk && (wanted >= allowed || expanded * costs_.expanded >= scan)) return Plan::kScan;
  // A pool that fills up with twice as many rows that don't count means that the filter keeps away from the query:
  // there a walk is neither cheap nor sure to find the few that it wants
  capacity = ask.allowed == nullptr && ask.excluded_count == 0
                 ? wanted
                 : static_cast<uint32_t>(std::min<double>(count_, 2.0 * expanded + 64 + ask.excluded_count));
  return Plan::kWalk;
}

uint32_t Searcher::walk(const Ask& ask, uint32_t wanted, uint32_t capacity, int64_t deadline, Answer& answer,
                        Scratch& scratch) {
  if (scratch.pool.size() < size_t{capacity} + 1) scratch.pool.resize(size_t{capacity} + 1);
  WalkTerms terms;
  terms.wanted = wanted;
  terms.capacity = capacity;
  terms.visits = ask.visits;
  terms.deadline_ns = deadline;
  terms.eligible.allowed = ask.allowed;
  terms.eligible.excluded = ask.excluded_count > 0 ? scratch.excluded.data() : nullptr;
  WalkScratch memory;
  memory.visited = scratch.visited.data();
  memory.touched = scratch.touched.data();
  memory.touched_room = static_cast<uint32_t>(scratch.touched.size());
  memory.pool = scratch.pool.data();
  const WalkOutcome out = kernels_.walk(view_, scratch.query(), terms, memory);
  answer.visits = out.visits;
  answer.truncated = out.truncated;
  // A pool full of rows that don't count, or a part of the graph that no link leads to
  if (out.eligible < wanted && !out.truncated && !ask.only_walk) answer.plan = Plan::kScan;
  return out.found;
}

uint32_t Searcher::scan(const Ask& ask, uint32_t wanted, int64_t deadline, Answer& answer, Scratch& scratch) {
  if (scratch.pool.size() < size_t{wanted} + 1) scratch.pool.resize(size_t{wanted} + 1);
  Eligible eligible;
  eligible.allowed = ask.allowed;
  eligible.excluded = ask.excluded_count > 0 ? scratch.excluded.data() : nullptr;
  const uint32_t step = ask.visits > 0 ? 64 : kScannedAtOnce;
  uint32_t found = 0;
  for (uint32_t begin = 0; begin < count_; begin += std::min(step, count_ - begin)) {
    const bool late = deadline > 0 && begin > 0 && now_ns() >= deadline;
    if (late || (ask.visits > 0 && answer.visits >= ask.visits)) {
      answer.truncated = true;
      break;
    }
    const uint32_t end = begin + std::min(step, count_ - begin);
    found = kernels_.scan(view_, scratch.query(), eligible, begin, end, wanted, scratch.pool.data(), found);
    answer.visits += end - begin;
  }
  return found;
}

void Searcher::finish(const Ask& ask, uint32_t found, Answer& answer, Scratch& scratch) const {
  scratch.rows.clear();
  for (uint32_t j = 0; j < found; j++) {
    if (scratch.pool[j] & kEligible) scratch.rows.push_back(pool_row(scratch.pool[j]));
  }
  const uint32_t n = static_cast<uint32_t>(scratch.rows.size());
  scratch.scores.resize(n);
  kernels_.finish(view_, scratch.query(), scratch.rows.data(), n, scratch.scores.data());
  scratch.order.clear();
  for (uint32_t j = 0; j < n; j++) scratch.order.emplace_back(-scratch.scores[j], scratch.rows[j]);
  const uint32_t k = std::min(ask.k, n);
  std::partial_sort(scratch.order.begin(), scratch.order.begin() + k, scratch.order.end());
  answer.rows.resize(k);
  answer.scores.resize(k);
  for (uint32_t j = 0; j < k; j++) {
    answer.rows[j] = scratch.order[j].second;
    answer.scores[j] = -scratch.order[j].first;
  }
}

void Searcher::calibrate(uint32_t effort) {
  if (count_ == 0) return;
  Borrowed scratch(*this);
  Scratch& memory = *scratch;
  std::vector<float> query(view_.dim);
  std::vector<double> expanded, scanned, gathered;
  const uint32_t wanted = std::min(std::max(1u, effort), count_);
  memory.pool.resize(std::max(memory.pool.size(), size_t{wanted} + 1));
  const uint32_t part = std::min(count_, kScannedAtOnce);
  const uint32_t few = std::max(1u, wanted / 10);  // of a tenth of the rows; keeping a row costs more than passing it
  std::vector<uint64_t> tenth(memory.visited.size());
  for (uint32_t row = 0; row < count_; row += 10) tenth[row >> 6] |= uint64_t{1} << (row & 63);
  for (uint32_t trial = 0; trial < kTrials; trial++) {
    const uint32_t row = static_cast<uint32_t>(uint64_t{count_} * (2 * trial + 1) / (2 * kTrials));
    for (uint32_t d = 0; d < view_.dim; d++) {
      const size_t at = size_t{view_.stride} * row + d;
      query[d] = view_.scales[d] * static_cast<float>((view_.level[0].codes[at] - 128) * 256 + view_.rest[at]);
    }
    encode_query(query.data(), view_.dim, view_.scales, memory.code.data(), memory.scaled.data());
    WalkTerms terms;
    terms.wanted = wanted;
    WalkScratch lent{memory.visited.data(), memory.touched.data(), static_cast<uint32_t>(memory.touched.size()),
                     memory.pool.data()};
    const uint32_t begin = static_cast<uint32_t>(uint64_t{count_ - part} * trial / kTrials) / 64 * 64;
    // As many rows whatever the count, so that a large index opens as fast; others than those just scanned
    const uint32_t other = static_cast<uint32_t>((uint64_t{begin} + count_ / 2) % (count_ - part + 1)) / 64 * 64;
    touch(view_, begin, begin + part);
    touch(view_, other, other + part);
    const int64_t start = now_ns();
    const WalkOutcome out = kernels_.walk(view_, memory.query(), terms, lent);
    const int64_t middle = now_ns();
    kernels_.scan(view_, memory.query(), Eligible{}, begin, begin + part, wanted, memory.pool.data(), 0);
    const int64_t later = now_ns();
    kernels_.scan(view_, memory.query(), Eligible{tenth.data(), nullptr}, other, other + part, few,
                  memory.pool.data(), 0);
    const int64_t end = now_ns();
    if (trial < kFirstTrials) continue;
    expanded.push_back(static_cast<double>(middle - start) / std::max(1u, out.expanded));
    scanned.push_back(static_cast<double>(later - middle) / part);
    gathered.push_back(static_cast<double>(end - later) / ((part + 9) / 10));
  }
  costs_ = {median(expanded), median(scanned), median(gathered)};
}

}  // namespace retrieval
