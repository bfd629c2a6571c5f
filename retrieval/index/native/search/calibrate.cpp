// Timing a few searches of every kind, so that plans go by what they cost here.
#include <algorithm>
#include <vector>

#include "runtime/random.h"
#include "search/scratch.h"

namespace retrieval {
namespace {

constexpr uint32_t kTrials = 16;
constexpr uint32_t kAsked = 100;          // rows
constexpr uint32_t kTimedScan = 1 << 15;  // rows of one scan, so that a large index opens as fast

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The median time of `work(trial)` in nanoseconds. All are done twice: the first time maps the pages that they read
// into this process, and the kernel's time for that would be taken for the search's.
template <class Work>
double timed(const Work& work) {
  std::vector<double> times;
  for (uint32_t trial = 0; trial < kTrials; trial++) work(trial);
  for (uint32_t trial = 0; trial < kTrials; trial++) {
    const int64_t start = now_ns();
    work(trial);
    times.push_back(static_cast<double>(now_ns() - start));
  }
  return median(times);
}

}  // namespace

// Each kind of search by itself, one query after the other: in a service, too, one kind follows on itself. Scans come
// first, so that what the others read is in no farther cache than it will be.
void Searcher::calibrate(uint32_t effort) {
  if (count_ == 0) return;
  Borrowed borrowed(*this);
  Scratch& scratch = *borrowed;
  std::vector<float> query(view_.dim);
  const auto near_row = [&](uint32_t trial) {
    const uint32_t row = static_cast<uint32_t>(uint64_t{count_} * (2 * trial + 1) / (2 * kTrials));
    for (uint32_t d = 0; d < view_.dim; d++) {
      const size_t at = size_t{view_.stride} * row + d;
      query[d] = view_.scales[d] * static_cast<float>((view_.level[0].codes[at] - 128) * 256 + view_.rest[at]);
    }
    return scratch.walk.encoded(query.data(), view_.dim, view_.scales);
  };
  const uint32_t wanted = std::min(std::max(1u, effort), count_), part = std::min(count_, kTimedScan);

  std::vector<uint64_t> tenth(scratch.excluded.size());
  for (uint32_t row = 0; row < part; row++) {
    if (drawn(0, row) % 10 == 0) tenth[row >> 6] |= uint64_t{1} << (row & 63);
  }
  // the same again and again: drawing for every row of a million takes most of a millisecond
  for (size_t word = part / 64; part < count_ && word < tenth.size(); word++) tenth[word] = tenth[word - part / 64];
  const auto begin = [&](uint32_t trial) {
    return static_cast<uint32_t>(uint64_t{count_ - part} * trial / kTrials) / 64 * 64;
  };
  const CodedRows rows{view_.level[0].codes, view_.leaves.blocks};
  const double scan = timed([&](uint32_t trial) {
    Kept kept = scratch.kept.begin(std::min(kAsked, wanted));
    kernels_.sift(rows, view_.stride, near_row(trial), Eligible{}, begin(trial), begin(trial) + part, kept);
  });
  const double filtered = timed([&](uint32_t trial) {
    Kept kept = scratch.kept.begin(std::min(kAsked, wanted));
    const Eligible eligible{tenth.data(), nullptr};
    kernels_.sift(rows, view_.stride, near_row(trial), eligible, begin(trial), begin(trial) + part, kept);
  });
  costs_.scanned = scan / part;
  costs_.gathered = filtered * 10 / part;

  if (view_.leaves.count > 0) {
    Ask ask;
    ask.k = std::min(kAsked, wanted);
    ask.only = Plan::kLeaves;
    const uint32_t ranked = leaves_of(enough(ask, wanted));
    const double ranking = timed([&](uint32_t trial) { rank_leaves(near_row(trial), ranked, scratch); });
    uint64_t rows = 0;
    const double both = timed([&](uint32_t trial) {
      Answer answer;
      leaves(ask, near_row(trial), wanted, 0, answer, scratch);
      rows += answer.visits;
    });
    costs_.ranked = ranking / view_.leaves.count;
    costs_.sifted = std::max(0.0, both - ranking) * 2 * kTrials / static_cast<double>(std::max<uint64_t>(1, rows));
  } else {
    double expanded = 0;
    const double walk = timed([&](uint32_t trial) {
      WalkTerms terms;
      terms.wanted = wanted;
      WalkScratch lent = scratch.walk.walk(wanted);
      expanded += kernels_.walk(view_, near_row(trial), terms, lent).expanded;
    });
    costs_.expanded = walk * 2 * kTrials / std::max(1.0, expanded);
  }
}

}  // namespace retrieval
