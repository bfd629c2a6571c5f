#include "build/leaf_tuning.h"

#include <algorithm>
#include <random>
#include <vector>

#include "build/clustering.h"
#include "search/exact_search.h"
#include "search/searcher.h"

namespace retrieval {
namespace {

constexpr uint32_t kTuningQueries = 256;
constexpr uint32_t kTuningK = 100;
constexpr float kNoise = 0.5f;  // length of what is added to a vector to make a query of it
constexpr float kTie = 5e-5f;   // what scores of 16-bit coordinates may be off by
constexpr uint32_t kTried[] = {2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96};

// Queries near vectors, [kTuningQueries * dim].
std::vector<float> tuning_queries(const float* vectors, uint32_t count, uint32_t dim, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> queries(size_t{kTuningQueries} * dim), noise(dim);
  for (uint32_t i = 0; i < kTuningQueries; i++) {
    const float* const vector = vectors + size_t{dim} * (random() % count);
    for (float& x : noise) x = normal(random);
    l2_normalise(noise.data(), dim);
    float* const query = queries.data() + size_t{dim} * i;
    for (uint32_t d = 0; d < dim; d++) query[d] = vector[d] + kNoise * noise[d];
    l2_normalise(query, dim);
  }
  return queries;
}

// Share of the exact answers' rows that were found; of equal scores any is right.
double recall(const std::vector<Hits>& found, const std::vector<Hits>& exact) {
  size_t right = 0, wanted = 0;
  for (size_t i = 0; i < found.size(); i++) {
    const float least = exact[i].scores.back() - kTie;
    const auto good = [least](float score) { return score >= least; };
    const size_t n = exact[i].rows.size();
    right +=
        std::min<size_t>(n, static_cast<size_t>(std::count_if(found[i].scores.begin(), found[i].scores.end(), good)));
    wanted += n;
  }
  return static_cast<double>(right) / static_cast<double>(wanted);
}

// The least number of rows for one of ef that finds what a walk finds, with some to spare; 0 where none does.
uint32_t tuned(const Graph& graph, const float* vectors, uint32_t ef, uint64_t seed, unsigned threads) {
  const std::vector<float> query_vectors = tuning_queries(vectors, graph.count, graph.dim, seed);
  std::vector<Query> queries(kTuningQueries);
  for (uint32_t i = 0; i < kTuningQueries; i++) {
    queries[i].vector = query_vectors.data() + size_t{graph.dim} * i;
    queries[i].k = std::min(kTuningK, graph.count);
    queries[i].ef = ef;
    queries[i].only = Plan::kWalk;
  }
  std::vector<Hits> exact(queries.size()), found(queries.size());
  search_exactly(vectors, graph.count, graph.dim, queries.data(), queries.size(), exact.data(), threads, kernels());
  GraphView view = graph.view();
  Searcher(view, kernels()).search(queries.data(), queries.size(), found.data(), threads);
  const double walked = recall(found, exact);
  for (Query& query : queries) query.only = Plan::kLeaves;
  for (const uint32_t* tried = std::begin(kTried); tried + 2 < std::end(kTried); tried++) {
    view.leaves.rows_per_ef = *tried;
    Searcher(view, kernels()).search(queries.data(), queries.size(), found.data(), threads);
    // A quarter to a half more than that, since queries of users are not those tried here
    if (recall(found, exact) >= walked) return tried[2];
  }
  return 0;
}

}  // namespace

void tune_leaves(Graph& graph, const float* vectors, uint32_t ef, uint64_t seed, unsigned threads) {
  if (graph.leaves() == 0) return;
  graph.rows_per_ef = tuned(graph, vectors, ef, seed, threads);
  if (graph.rows_per_ef == 0) graph.drop_leaves();
}

}  // namespace retrieval
