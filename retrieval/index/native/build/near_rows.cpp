#include "build/near_rows.h"

#include <algorithm>

#include "runtime/random.h"

namespace retrieval {
namespace {

constexpr uint32_t kLeavesSeen = 32;   // about so many are looked into for each row
constexpr uint32_t kTried = 64;        // rows
constexpr double kLeastRecall = 0.75;  // clustered vectors reach .88 and more, those without any structure .2 to .4

GraphView looking_far(GraphView view, uint32_t effort) {
  const uint32_t rows = kLeavesSeen * (view.level[0].count / std::max(1u, view.leaves.count));
  view.leaves.rows_per_effort = std::max(1u, rows / effort);
  return view;
}

}  // namespace

NearRows::NearRows(const BuiltGraph& graph, const GraphSettings& settings)
    : view_(looking_far(graph.view(), settings.effort)), searcher_(view_, kernels()), settings_(settings),
      firsts_((size_t{graph.count} + 63) / 64) {
  for (uint32_t row = 0; row < graph.count; row++) {
    if (graph.firsts[row] != row) continue;
    firsts_[row / 64] |= uint64_t{1} << (row % 64);
    firsts_count_++;
  }
}

Ask NearRows::ask_for(const float* vector) const {
  Ask ask;
  ask.query = vector;
  ask.k = ask.effort = settings_.effort;
  ask.only = Plan::kLeaves;
  if (firsts_count_ < view_.level[0].count) ask.allowed = firsts_.data();
  ask.allowed_count = firsts_count_;
  return ask;
}

void NearRows::find(const float* vector, uint32_t self, std::vector<ScoredRow>& found) {
  const Ask ask = ask_for(vector);
  Answer answer;
  searcher_.search(&ask, 1, &answer, 1);
  found.clear();
  for (size_t i = 0; i < answer.rows.size(); i++) {
    if (answer.rows[i] != self) found.push_back({answer.scores[i], answer.rows[i]});
  }
}

double NearRows::recall(const float* vectors, unsigned threads) {
  const uint32_t count = view_.level[0].count;
  std::vector<Ask> asks;
  for (uint32_t i = 0; i < kTried; i++) {
    asks.push_back(ask_for(vectors + size_t{view_.dim} * (drawn(settings_.seed, i) % count)));
  }
  std::vector<Answer> found(kTried), exact(kTried);
  searcher_.search(asks.data(), kTried, found.data(), threads);
  search_exactly(vectors, count, view_.dim, asks.data(), kTried, exact.data(), threads, kernels());
  size_t right = 0, wanted = 0;
  for (uint32_t i = 0; i < kTried; i++) {
    std::sort(found[i].rows.begin(), found[i].rows.end());
    for (uint32_t row : exact[i].rows) right += std::binary_search(found[i].rows.begin(), found[i].rows.end(), row);
    wanted += exact[i].rows.size();
  }
  return static_cast<double>(right) / static_cast<double>(std::max<size_t>(1, wanted));
}

std::unique_ptr<NearRows> near_rows(const float* vectors, const BuiltGraph& graph, const GraphSettings& settings) {
  if (graph.leaf_starts.size() == 1) return nullptr;
  auto made = std::make_unique<NearRows>(graph, settings);
  return made->recall(vectors, settings.threads) >= kLeastRecall ? std::move(made) : nullptr;
}

}  // namespace retrieval
