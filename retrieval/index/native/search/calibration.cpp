#include "search/calibration.h"

#include <algorithm>
#include <vector>

#include "runtime/random.h"
#include "search/leaf_search.h"

namespace retrieval {
namespace {

constexpr uint32_t kTrials = 16;
constexpr uint32_t kTimedK = 100;
constexpr uint32_t kTimedScan = 1 << 15;  // rows of one scan, so that a large index opens as fast
constexpr uint32_t kOneIn = 10;           // rows that the filter of timed scans allows

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

// Bits of `count` rows, one in kOneIn set at random.
std::vector<uint64_t> sparse_filter(uint32_t count, uint32_t drawn) {
  std::vector<uint64_t> bits((size_t{count} + 63) / 64);
  for (uint32_t row = 0; row < drawn; row++) {
    if (random_bits(0, row) % kOneIn == 0) bits[row >> 6] |= uint64_t{1} << (row & 63);
  }
  // The same again and again: drawing for every row of a million takes most of a millisecond
  for (size_t word = drawn / 64; drawn < count && word < bits.size(); word++) bits[word] = bits[word - drawn / 64];
  return bits;
}

class Calibration {
 public:
  Calibration(const SearchContext& context, uint32_t ef, SearchScratch& scratch)
      : context_(context), view_(context.view), scratch_(scratch), vector_(context.view.dim),
        scanned_(std::min(context.count, kTimedScan)), costs_(context.planner.costs()) {
    query_.k = std::min({kTimedK, std::max(1u, ef), context.count});
    query_.ef = ef;
  }

  // Each kind of search by itself, one query after the other: in a service, too, one kind follows on itself. Scans come
  // first, so that what the others read is in no farther cache than it will be.
  Costs measured() {
    time_scans();
    if (view_.leaves.count > 0) {
      time_leaves();
    } else {
      time_walks();
    }
    return costs_;
  }

 private:
  void time_scans() {
    const std::vector<uint64_t> filter = sparse_filter(context_.count, scanned_);
    const double whole = timed([&](uint32_t trial) { scan_part(trial, Eligible{}); });
    const double filtered = timed([&](uint32_t trial) { scan_part(trial, Eligible{filter.data(), nullptr}); });
    costs_.scan_row = whole / scanned_;
    costs_.gather_row = filtered * kOneIn / scanned_;
  }

  void scan_part(uint32_t trial, const Eligible& eligible) {
    const uint32_t begin = static_cast<uint32_t>(uint64_t{context_.count - scanned_} * trial / kTrials) / 64 * 64;
    TopList top = scratch_.top_rows.begin(query_.k);
    const CodedRows rows{view_.level[0].codes, view_.leaves.blocks};
    context_.kernels.scan(rows, view_.stride, query_near_row(trial), eligible, begin, begin + scanned_, top);
  }

  void time_leaves() {
    query_.only = Plan::kLeaves;
    const uint32_t ranked = context_.planner.leaves_to_rank(query_);
    const double ranking =
        timed([&](uint32_t trial) { rank_leaves(context_, query_near_row(trial), ranked, scratch_); });
    uint64_t rows = 0;
    const double whole = timed([&](uint32_t trial) {
      SearchProgress progress;
      search_by_leaves(context_, {query_, query_near_row(trial), Eligible{}, 0}, scratch_, progress);
      rows += progress.visits;
    });
    costs_.rank_leaf = ranking / view_.leaves.count;
    costs_.leaf_row = std::max(0.0, whole - ranking) * 2 * kTrials / static_cast<double>(std::max<uint64_t>(1, rows));
  }

  void time_walks() {
    double expanded = 0;
    const double walk = timed([&](uint32_t trial) {
      WalkOptions options;
      options.ef = context_.planner.width(query_);
      WalkScratch memory = scratch_.walk.walk(options.ef);
      expanded += context_.kernels.walk(view_, query_near_row(trial), options, memory).expanded;
    });
    costs_.expand_node = walk * 2 * kTrials / std::max(1.0, expanded);
  }

  // The vector of one of the rows, as a query; until the next one.
  QueryCode query_near_row(uint32_t trial) {
    const uint32_t row = static_cast<uint32_t>(context_.count * (uint64_t{2} * trial + 1) / (uint64_t{2} * kTrials));
    for (uint32_t d = 0; d < view_.dim; d++) {
      const size_t at = size_t{view_.stride} * row + d;
      vector_[d] = view_.scales[d] * static_cast<float>((view_.level[0].codes[at] - 128) * 256 + view_.low_bytes[at]);
    }
    return scratch_.encoder.encode(vector_.data(), view_.dim, view_.scales);
  }

  const SearchContext& context_;
  const GraphView& view_;
  SearchScratch& scratch_;
  std::vector<float> vector_;
  const uint32_t scanned_;
  Costs costs_;
  Query query_;
};

}  // namespace

Costs measured_costs(const SearchContext& context, uint32_t ef, SearchScratch& scratch) {
  return Calibration(context, ef, scratch).measured();
}

}  // namespace retrieval
