#include "searcher.h"

#include <algorithm>
#include <cmath>

#include "search_scratch.h"
#include "workers.h"

namespace retrieval {
namespace {

constexpr uint32_t kScannedAtOnce = 1 << 15;  // rows between two looks at the clock; a multiple of 64
constexpr uint64_t kPerExcluded = 2;          // rows more for each excluded one: those are the nearest, as likely as not
constexpr double kFar = 1.5;                  // so many times the rows that a filter should take: it keeps away
constexpr uint32_t kLeastEffort = 16;         // even a single row is looked for among so many times rows_per_effort
constexpr float kErrors = 2.5f;               // standard deviations of an 8-bit score that are allowed for
constexpr uint32_t kMostPerWanted = 8;        // rows that get final scores, for each that is wanted
constexpr uint32_t kMeasuredRows = 64;
constexpr size_t kFetchedAhead = 8192;        // bytes of the next leaf; the processor itself follows from there

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
    : view_(view), kernels_(kernels), count_(view.levels > 0 ? view.level[0].count : 0), row_squares_(largest_squares(view)) {}

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

// A scan, or what is cheaper: leaves where they find what a walk finds, else a walk. Leaves hold under filters, too, where
// a walk passes rows that may not be answered, and misses some where the filter keeps away from the query.
Plan Searcher::planned(const Ask& ask, uint32_t wanted) const {
  const uint32_t allowed = ask.allowed != nullptr ? ask.allowed_count : count_;
  if (allowed == 0 || wanted == 0 || ask.k == 0) return Plan::kNothing;
  if (ask.only != Plan::kNothing) return ask.only;
  const bool filtered = ask.allowed != nullptr;
  const double passed = double{1} * count_ / allowed;  // rows for one that counts
  const double expanded = wanted * passed + ask.excluded_count * 0.25;
  // A scan that a budget of visits ends has seen the first rows only, another plan those near the query
  const bool whole = ask.visits == 0 || ask.visits >= allowed || (filtered && expanded > ask.visits);
  if (wanted >= allowed && whole) return Plan::kScan;
  const double scan = std::min(costs_.gathered * allowed + count_ / 64 * 0.5, costs_.scanned * count_);
  const double sifted = static_cast<double>(sifted_rows(wanted) + kPerExcluded * ask.excluded_count);
  const double rows = std::min<double>(count_, sifted * passed);
  const bool leafy = view_.leaves.count > 0;
  const double other = leafy ? view_.leaves.count * costs_.ranked + rows * costs_.sifted : expanded * costs_.expanded;
  if (scan <= other && whole) return Plan::kScan;
  return leafy ? Plan::kLeaves : Plan::kWalk;
}

uint64_t Searcher::sifted_rows(uint32_t wanted) const {
  return uint64_t{view_.leaves.rows_per_effort} * (uint64_t{wanted} + kLeastEffort);
}

// Half as many again as leaves of mean size would be, for small ones.
uint32_t Searcher::leaves_of(uint64_t rows) const {
  return static_cast<uint32_t>(std::min<uint64_t>(view_.leaves.count, rows * view_.leaves.count / count_ * 3 / 2 + 8));
}

// Leaves by their centres' scores, best first, `most` of them or a few more.
void Searcher::rank_leaves(const QueryCode& query, uint32_t most, Scratch& scratch) const {
  const Leaves& all = view_.leaves;
  Kept kept = scratch.walk.kept(most);
  kernels_.sift({nullptr, all.centres}, view_.stride, query, Eligible{}, 0, all.count, kept);
  scratch.ranked.clear();
  kernels_.settle(kept);
  for (uint32_t i = 0; i < kept.size; i++) {
    scratch.ranked.push_back({static_cast<float>(kept.scores[i]), kept.rows[i]});
  }
  scratch.best_first.order(scratch.ranked, scratch.ranked.size());
}

// The start of a leaf, on its way from memory while something else is done.
void Searcher::fetch_leaf(uint32_t leaf) const {
  const uint32_t* const bounds = view_.leaves.starts + leaf;
  const uint8_t* const blocks = view_.leaves.blocks + size_t{view_.stride} * (bounds[0] / kBlockRows * kBlockRows);
  const size_t bytes = std::min(kFetchedAhead, size_t{view_.stride} * (bounds[1] - bounds[0]));
  for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(blocks + b, 0, 3);
}

void Searcher::leaves(const Ask& ask, const QueryCode& query, uint32_t wanted, int64_t deadline, Answer& answer,
                      Scratch& scratch) {
  const Leaves& all = view_.leaves;
  const uint64_t enough = sifted_rows(wanted) + kPerExcluded * ask.excluded_count;
  const Eligible eligible{ask.allowed, ask.excluded_count > 0 ? scratch.excluded.data() : nullptr};
  rank_leaves(query, ask.allowed == nullptr ? leaves_of(enough) : all.count, scratch);
  // neighbours of the last one wanted may have taken its place in 8 bits
  Kept kept = kept_of(ask, query, scratch);
  const CodedRows rows{view_.level[0].codes, all.blocks};
  uint64_t passed = 0, looked_at = 0;
  const double far = kFar * static_cast<double>(enough) * count_ / std::max(1u, ask.allowed_count);
  for (size_t i = 0; i < scratch.ranked.size() && passed < enough; i++) {
    const uint32_t leaf = scratch.ranked[i].row, begin = all.starts[leaf], end = all.starts[leaf + 1];
    if (i > 0 && ((ask.visits > 0 && answer.visits >= ask.visits) || (deadline > 0 && now_ns() >= deadline))) {
      answer.truncated = true;
      break;
    }
    if (i == 0) fetch_leaf(leaf);
    if (i + 1 < scratch.ranked.size()) fetch_leaf(scratch.ranked[i + 1].row);
    kernels_.sift(rows, view_.stride, query, eligible, begin, end, kept);
    passed += eligible_between(eligible, begin, end);
    answer.visits = passed;
    looked_at += end - begin;
    // Far from the query many leaves score alike, and nearness of centres says little of their rows
    const bool kept_away = ask.allowed != nullptr && static_cast<double>(looked_at) > far;
    if (kept_away && ask.only == Plan::kNothing && affordable(ask, deadline, answer)) {
      answer.plan = Plan::kScan;
      return;
    }
  }
  settle(kept, scratch);
  if (kept.size < ask.k && !answer.truncated && ask.only == Plan::kNothing) {
    scan_instead(ask, deadline, answer);
  }
}

// Final scores go to all rows that may be among the best k: whose 8-bit score, off by what was rounded in the query and
// cut off in the row (each evenly spread over one step of a coordinate), could be that of the last of them.
Kept Searcher::kept_of(const Ask& ask, const QueryCode& query, Scratch& scratch) const {
  const float error = std::sqrt((query.squares + row_squares_) / 12.0f);
  const uint32_t k = std::min(ask.k, count_);
  return scratch.walk.kept(k, static_cast<int32_t>(kErrors * error), std::min(kMostPerWanted * k + 64, count_));
}

// The rows that sifting found.
void Searcher::settle(Kept& kept, Scratch& scratch) const {
  kernels_.settle(kept);
  scratch.rows.assign(kept.rows, kept.rows + kept.size);
}

uint32_t Searcher::capacity_of(const Ask& ask, uint32_t wanted) const {
  if (ask.allowed == nullptr && ask.excluded_count == 0) return wanted;
  const uint32_t allowed = ask.allowed != nullptr ? ask.allowed_count : count_;
  const double expected = double{1} * wanted * count_ / std::max(1u, allowed) + ask.excluded_count * 0.25;
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

// Whether what is left of the budgets after a walk is enough for a scan: half of one is worth less than the walk's rows.
bool Searcher::affordable(const Ask& ask, int64_t deadline, const Answer& answer) const {
  const uint32_t allowed = ask.allowed != nullptr ? ask.allowed_count : count_;
  if (ask.visits > 0 && answer.visits + allowed > ask.visits) return false;
  return deadline == 0 || now_ns() + static_cast<int64_t>(costs_.scanned * count_) < deadline;
}

void Searcher::scan(const Ask& ask, const QueryCode& query, int64_t deadline, Answer& answer, Scratch& scratch) {
  const Eligible eligible{ask.allowed, ask.excluded_count > 0 ? scratch.excluded.data() : nullptr};
  const CodedRows rows{view_.level[0].codes, view_.leaves.blocks};
  Kept kept = kept_of(ask, query, scratch);
  if (ask.visits == 0 && deadline == 0) {
    answer.visits += ask.allowed != nullptr ? ask.allowed_count : count_;
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
