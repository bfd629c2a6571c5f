#include "search/candidates.h"

#include <algorithm>
#include <cmath>

namespace retrieval {
namespace {

constexpr float kErrors = 2.5f;             // standard deviations of an 8-bit score that are allowed for
constexpr uint32_t kMaxRescoredPerHit = 8;  // candidates for each row that is asked for
constexpr uint32_t kMeasuredRows = 64;

}  // namespace

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

// An 8-bit score is off by what was rounded in the query and cut off in the row, each spread evenly over one step of a
// coordinate. Every row whose score, off by so much, could be that of the last of the best k is a candidate.
TopList begin_candidates(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch) {
  const float error = std::sqrt((running.code.squares + context.row_squares) / 12.0f);
  const uint32_t k = std::min(running.query.k, context.count);
  const uint64_t most = std::min<uint64_t>(uint64_t{kMaxRescoredPerHit} * k + 64, context.count);
  return scratch.top_rows.begin(k, static_cast<int32_t>(kErrors * error), static_cast<uint32_t>(most));
}

void take_candidates(const SearchContext& context, TopList& top, SearchScratch& scratch) {
  context.kernels.trim(top);
  scratch.candidates.assign(top.rows, top.rows + top.size);
}

void rescore_candidates(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch, Hits& hits) {
  const uint32_t n = static_cast<uint32_t>(scratch.candidates.size());
  scratch.scores.resize(n);
  context.kernels.rescore(context.view, running.code, scratch.candidates.data(), n, scratch.scores.data());
  scratch.rescored.resize(n);
  for (uint32_t j = 0; j < n; j++) scratch.rescored[j] = {scratch.scores[j], scratch.candidates[j]};
  const uint32_t k = std::min(running.query.k, n);
  scratch.bucket_sort.sort(scratch.rescored, k);
  hits.rows.resize(k);
  hits.scores.resize(k);
  for (uint32_t j = 0; j < k; j++) {
    hits.rows[j] = scratch.rescored[j].row;
    hits.scores[j] = scratch.rescored[j].score;
  }
}

}  // namespace retrieval
