#include "build/leaf_neighbours.h"

#include <algorithm>

#include "runtime/random.h"
#include "search/exact_search.h"

namespace retrieval {
namespace {

constexpr uint32_t kLeavesSeen = 32;  // about so many are looked into for each row
constexpr uint32_t kTriedRows = 64;
constexpr double kMinRecall = 0.75;  // clustered vectors reach .88 and more, those without any structure .2 to .4

// The view of a graph whose leaves are searched as far as linking needs.
GraphView with_wide_search(GraphView view, uint32_t ef) {
  const uint32_t rows = kLeavesSeen * (view.level[0].count / std::max(1u, view.leaves.count));
  view.leaves.rows_per_ef = std::max(1u, rows / ef);
  return view;
}

}  // namespace

LeafNeighbours::LeafNeighbours(const Graph& graph, const BuildSettings& settings)
    : view_(with_wide_search(graph.view(), settings.ef_construction)), searcher_(view_, kernels()), settings_(settings),
      distinct_((size_t{graph.count} + 63) / 64) {
  for (uint32_t row = 0; row < graph.count; row++) {
    if (graph.is_duplicate(row)) continue;
    distinct_[row / 64] |= uint64_t{1} << (row % 64);
    distinct_count_++;
  }
}

Query LeafNeighbours::query_for(const float* vector) const {
  Query query;
  query.vector = vector;
  query.k = query.ef = settings_.ef_construction;
  query.only = Plan::kLeaves;
  if (distinct_count_ < view_.level[0].count) query.allowed = distinct_.data();
  query.allowed_count = distinct_count_;
  return query;
}

void LeafNeighbours::find(const float* vector, uint32_t self, std::vector<ScoredRow>& found) {
  const Query query = query_for(vector);
  Hits hits;
  searcher_.search(&query, 1, &hits, 1);
  found.clear();
  for (size_t i = 0; i < hits.rows.size(); i++) {
    if (hits.rows[i] != self) found.push_back({hits.scores[i], hits.rows[i]});
  }
}

double LeafNeighbours::recall(const float* vectors, unsigned threads) {
  const uint32_t count = view_.level[0].count;
  std::vector<Query> queries;
  queries.reserve(kTriedRows);
  for (uint32_t i = 0; i < kTriedRows; i++) {
    queries.push_back(query_for(vectors + size_t{view_.dim} * (random_bits(settings_.seed, i) % count)));
  }
  std::vector<Hits> found(kTriedRows), exact(kTriedRows);
  searcher_.search(queries.data(), kTriedRows, found.data(), threads);
  search_exactly(vectors, count, view_.dim, queries.data(), kTriedRows, exact.data(), threads, kernels());
  size_t right = 0, wanted = 0;
  for (uint32_t i = 0; i < kTriedRows; i++) {
    std::sort(found[i].rows.begin(), found[i].rows.end());
    for (uint32_t row : exact[i].rows) right += std::binary_search(found[i].rows.begin(), found[i].rows.end(), row);
    wanted += exact[i].rows.size();
  }
  return static_cast<double>(right) / static_cast<double>(std::max<size_t>(1, wanted));
}

std::unique_ptr<LeafNeighbours> leaf_neighbours(const float* vectors, const Graph& graph,
                                                const BuildSettings& settings) {
  if (graph.leaves() == 0) return nullptr;
  auto made = std::make_unique<LeafNeighbours>(graph, settings);
  return made->recall(vectors, settings.threads) >= kMinRecall ? std::move(made) : nullptr;
}

}  // namespace retrieval
