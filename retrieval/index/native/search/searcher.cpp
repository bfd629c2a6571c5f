#include "search/searcher.h"

#include <algorithm>
#include <cmath>

#include "runtime/workers.h"
#include "search/scratch.h"

namespace retrieval {
namespace {

constexpr uint32_t kScannedAtOnce = 1 << 15;  // rows between two looks at the clock; a multiple of 64
constexpr float kErrors = 2.5f;               // standard deviations of an 8-bit score that are allowed for
constexpr uint32_t kMostPerWanted = 8;        // rows that get final scores, for each that is wanted
constexpr uint32_t kMeasuredRows = 64;

// The largest of the lengths of some rows' codes, squared.
float largest_squares(const GraphView& view) {
  if (view.levels == 0) return 0.0f;
  const uint32_t count = view.level[0].count, n = std::min(count, kMeasuredRows);
  float largest = 0.0f;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t* const code = view.level[0].codes + size_t{view.stride} * (uint64_t{count} * i / n);
    int32_t squares = 0;
    for (uint32_t d = 0; d < view.dim; d++) squares += (code[d] - 128) * (code[d] - 128);
    largest = std::max(largest, static_cast<float>(squares));
  }
  return largest;
}

}  // namespace

uint32_t eligible_between(const Eligible& eligible, uint32_t begin, uint32_t end) {
  if (!eligible.any()) return end - begin;
  uint32_t found = 0;
  for (uint32_t word = begin / 64; word < (end + 63) / 64; word++) {
    found += static_cast<uint32_t>(__builtin_popcountll(eligible.word(word, begin, end)));
  }
  return found;
}

Searcher::Searcher(const GraphView& view, const Kernels& kernels)
    : view_(view), kernels_(kernels), count_(view.levels > 0 ? view.level[0].count : 0),
      row_squares_(largest_squares(view)) {}

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
  answer.plan = planned(ask, wanted);
  if (answer.plan == Plan::kNothing) return;
  const int64_t deadline = ask.time_ns > 0 ? now_ns() + ask.time_ns : 0;
  const QueryCode query = scratch.walk.encoded(ask.query, view_.dim, view_.scales);
  for (uint32_t i = 0; i < ask.excluded_count; i++) {
    scratch.excluded[ask.excluded[i] >> 6] |= uint64_t{1} << (ask.excluded[i] & 63);
  }
  if (answer.plan == Plan::kWalk) walk(ask, query, wanted, deadline, answer, scratch);
  if (answer.plan == Plan::kLeaves) leaves(ask, query, wanted, deadline, answer, scratch);
  if (answer.plan == Plan::kScan) scan(ask, query, deadline, answer, scratch);
  for (uint32_t i = 0; i < ask.excluded_count; i++) scratch.excluded[ask.excluded[i] >> 6] = 0;
  finish(ask, query, answer, scratch);
}

// A scan, or what is cheaper: leaves where they find what a walk finds, else a walk. Leaves hold under filters, too,
// where a walk passes rows that may not be answered, and misses some where the filter keeps away from the query.
Plan Searcher::planned(const Ask& ask, uint32_t wanted) const {
  const uint32_t allowed = allowed_of(ask);
  if (allowed == 0 || wanted == 0 || ask.k == 0) return Plan::kNothing;
  if (ask.only != Plan::kNothing) return ask.only;
  const double expanded = double{1} * wanted * count_ / allowed + ask.excluded_count * 0.25;
  // A scan that a budget of visits ends has seen the first rows only, another plan those near the query
  const bool whole = ask.visits == 0 || ask.visits >= allowed || (ask.allowed != nullptr && expanded > ask.visits);
  if (wanted >= allowed && whole) return Plan::kScan;
  const bool leafy = view_.leaves.count > 0;
  if (whole && scan_cost(ask) <= (leafy ? leaves_cost(ask, wanted) : expanded * costs_.expanded)) return Plan::kScan;
  return leafy ? Plan::kLeaves : Plan::kWalk;
}

double Searcher::scan_cost(const Ask& ask) const {
  const double words = costs_.passed * count_ / 64;
  return std::min(words + costs_.gathered * allowed_of(ask), costs_.scanned * count_);
}

uint32_t Searcher::allowed_of(const Ask& ask) const { return ask.allowed != nullptr ? ask.allowed_count : count_; }

// Final scores go to all rows that may be among the best k: whose 8-bit score, off by what was rounded in the query and
// cut off in the row (each evenly spread over one step of a coordinate), could be that of the last of them.
Kept Searcher::kept_of(const Ask& ask, const QueryCode& query, Scratch& scratch) const {
  const float error = std::sqrt((query.squares + row_squares_) / 12.0f);
  const uint32_t k = std::min(ask.k, count_);
  const uint64_t most = std::min<uint64_t>(uint64_t{kMostPerWanted} * k + 64, count_);
  return scratch.kept.begin(k, static_cast<int32_t>(kErrors * error), static_cast<uint32_t>(most));
}

// The rows that sifting found.
void Searcher::settle(Kept& kept, Scratch& scratch) const {
  kernels_.settle(kept);
  scratch.rows.assign(kept.rows, kept.rows + kept.size);
}

uint32_t Searcher::capacity_of(const Ask& ask, uint32_t wanted) const {
  if (ask.allowed == nullptr && ask.excluded_count == 0) return wanted;
  const double expected = double{1} * wanted * count_ / std::max(1u, allowed_of(ask)) + ask.excluded_count * 0.25;
  return static_cast<uint32_t>(std::min<double>(count_, 2.0 * expected + 64 + ask.excluded_count));
}

void Searcher::walk(const Ask& ask, const QueryCode& query, uint32_t wanted, int64_t deadline, Answer& answer,
                    Scratch& scratch) {
  WalkTerms terms;
  terms.wanted = wanted;
  terms.capacity = capacity_of(ask, wanted);
  terms.visits = ask.visits;
  terms.deadline_ns = deadline;
  terms.eligible.allowed = ask.allowed;
  terms.eligible.excluded = ask.excluded_count > 0 ? scratch.excluded.data() : nullptr;
  WalkScratch lent = scratch.walk.walk(std::max(wanted, terms.capacity));
  const WalkOutcome out = kernels_.walk(view_, query, terms, lent);
  answer.visits = out.visits;
  answer.truncated = out.truncated;
  // A pool full of rows that don't count, or a part of the graph that no link leads to
  if (out.eligible < wanted && !out.truncated && ask.only == Plan::kNothing) {
    scan_instead(ask, deadline, answer);
  }
  scratch.rows.clear();
  for (uint32_t j = 0; j < out.found; j++) {
    if (lent.pool[j] & kEligible) scratch.rows.push_back(pool_row(lent.pool[j]));
  }
}

// Where a plan found too little: a scan, if what is left of the budgets is enough for one.
void Searcher::scan_instead(const Ask& ask, int64_t deadline, Answer& answer) const {
  if (affordable(ask, deadline, answer)) answer.plan = Plan::kScan;
  else answer.truncated = true;
}

// Whether what is left of the budgets after a walk is enough for a scan: half of one is worth less than the
// walk's rows.
bool Searcher::affordable(const Ask& ask, int64_t deadline, const Answer& answer) const {
  if (ask.visits > 0 && answer.visits + allowed_of(ask) > ask.visits) return false;
  return deadline == 0 || now_ns() + static_cast<int64_t>(costs_.scanned * count_) < deadline;
}

void Searcher::scan(const Ask& ask, const QueryCode& query, int64_t deadline, Answer& answer, Scratch& scratch) {
  const Eligible eligible{ask.allowed, ask.excluded_count > 0 ? scratch.excluded.data() : nullptr};
  const CodedRows rows{view_.level[0].codes, view_.leaves.blocks};
  Kept kept = kept_of(ask, query, scratch);
  if (ask.visits == 0 && deadline == 0) {
    answer.visits += allowed_of(ask);
    kernels_.sift(rows, view_.stride, query, eligible, 0, count_, kept);
    settle(kept, scratch);
    return;
  }
  const uint32_t step = ask.visits > 0 ? 64 : kScannedAtOnce;
  for (uint32_t begin = 0; begin < count_; begin += std::min(step, count_ - begin)) {
    const uint32_t end = begin + std::min(step, count_ - begin);
    const uint32_t compared = eligible_between(eligible, begin, end);
    if (compared == 0) continue;
    const bool late = deadline > 0 && kept.size > 0 && now_ns() >= deadline;
    if (late || (ask.visits > 0 && answer.visits >= ask.visits)) {
      answer.truncated = true;
      break;
    }
    kernels_.sift(rows, view_.stride, query, eligible, begin, end, kept);
    answer.visits += compared;
  }
  settle(kept, scratch);
}

void Searcher::finish(const Ask& ask, const QueryCode& query, Answer& answer, Scratch& scratch) const {
  const uint32_t n = static_cast<uint32_t>(scratch.rows.size());
  scratch.scores.resize(n);
  kernels_.finish(view_, query, scratch.rows.data(), n, scratch.scores.data());
  scratch.found.resize(n);
  for (uint32_t j = 0; j < n; j++) scratch.found[j] = {scratch.scores[j], scratch.rows[j]};
  const uint32_t k = std::min(ask.k, n);
  scratch.best_first.order(scratch.found, k);
  answer.rows.resize(k);
  answer.scores.resize(k);
  for (uint32_t j = 0; j < k; j++) {
    answer.rows[j] = scratch.found[j].row;
    answer.scores[j] = scratch.found[j].score;
  }
}

}  // namespace retrieval
