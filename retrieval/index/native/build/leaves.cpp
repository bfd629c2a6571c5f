#include "build/leaves.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "graph/codes.h"
#include "kernels/kernels.h"
#include "runtime/random.h"
#include "runtime/workers.h"
#include "search/searcher.h"
#include "search/walk_memory.h"

namespace retrieval {
namespace {

constexpr uint32_t kFewest = 4096;  // vectors; fewer are scanned as fast
constexpr uint32_t kSampledPerLeaf = 64;
constexpr int kRounds = 12;
constexpr uint32_t kAtOnce = 1024;  // vectors in a piece of work
constexpr uint32_t kTuningQueries = 256;
constexpr uint32_t kTuningFound = 100;
constexpr float kNoise = 0.5f;  // length of what is added to a vector to make a query of it
constexpr float kTie = 5e-5f;   // what scores of 16-bit coordinates may be off by
constexpr uint32_t kTried[] = {2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96};

void normalise(float* vector, uint32_t dim) {
  double squares = 0;
  for (uint32_t d = 0; d < dim; d++) squares += double{vector[d]} * vector[d];
  const double length = std::sqrt(squares);
  for (uint32_t d = 0; d < dim && length > 0; d++) vector[d] = static_cast<float>(vector[d] / length);
}

// Centres [count * dim] as codes in blocks.
Lines<uint8_t> coded(const std::vector<float>& centres, uint32_t count, uint32_t dim,
                     const std::vector<float>& scales) {
  const uint32_t stride = stride_of(dim);
  std::vector<uint8_t> codes(size_t{stride} * count), rest(codes.size());
  encode(centres.data(), 0, count, dim, scales.data(), codes.data(), rest.data());
  Lines<uint8_t> blocks(block_bytes(count, stride));
  into_blocks(codes.data(), count, stride, blocks.data());
  return blocks;
}

class KMeans {
 public:
  KMeans(const float* vectors, uint32_t count, uint32_t dim, uint32_t leaves, unsigned threads)
      : vectors_(vectors), count_(count), dim_(dim), leaves_(leaves), stride_(stride_of(dim)), threads_(threads),
        scales_(scales_of(vectors, count, dim, threads)), centres_(size_t{leaves} * dim) {
    scales_.resize(stride_, 0.0f);
  }

  void run(uint64_t seed) {
    std::vector<uint32_t> sample(count_);
    std::iota(sample.begin(), sample.end(), 0);
    std::sort(sample.begin(), sample.end(), [seed](uint32_t a, uint32_t b) { return drawn(seed, a) < drawn(seed, b); });
    sample.resize(std::min<size_t>(count_, size_t{kSampledPerLeaf} * leaves_));
    for (uint32_t l = 0; l < leaves_; l++) std::copy_n(vector(sample[l]), dim_, centre(l));
    for (int round = 0; round < kRounds; round++) move(sample, nearest(sample));
  }

  // The leaf of each of `rows`.
  std::vector<uint32_t> nearest(const std::vector<uint32_t>& rows) const {
    const Lines<uint8_t> blocks = coded(centres_, leaves_, dim_, scales_);
    std::vector<uint32_t> found(rows.size());
    Workers::shared().run((rows.size() + kAtOnce - 1) / kAtOnce, threads_, [&](size_t piece) {
      WalkMemory memory(1, stride_);
      for (size_t i = piece * kAtOnce; i < std::min(rows.size(), (piece + 1) * kAtOnce); i++) {
        const QueryCode query = memory.encoded(vector(rows[i]), dim_, scales_.data());
        found[i] = kernels_.nearest(blocks.data(), leaves_, stride_, query);
      }
    });
    return found;
  }

  std::vector<float> centres() const { return centres_; }

 private:
  const float* vector(uint32_t row) const { return vectors_ + size_t{dim_} * row; }
  float* centre(uint32_t leaf) { return centres_.data() + size_t{dim_} * leaf; }

  // Every centre to the mean of its vectors; one without any stays. In the order of the rows, whatever the threads.
  void move(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& leaf) {
    std::vector<float> sums(centres_.size(), 0.0f);
    std::vector<uint32_t> sizes(leaves_, 0);
    for (size_t i = 0; i < rows.size(); i++) {
      const float* const from = vector(rows[i]);
      float* const to = sums.data() + size_t{dim_} * leaf[i];
      for (uint32_t d = 0; d < dim_; d++) to[d] += from[d];
      sizes[leaf[i]]++;
    }
    for (uint32_t l = 0; l < leaves_; l++) {
      if (sizes[l] == 0) continue;
      std::copy_n(sums.data() + size_t{dim_} * l, dim_, centre(l));
      normalise(centre(l), dim_);
    }
  }

  const float* vectors_;
  const uint32_t count_, dim_, leaves_, stride_;
  const unsigned threads_;
  std::vector<float> scales_, centres_;
  const Kernels& kernels_ = kernels();
};

// Queries near vectors, [kTuningQueries * dim].
std::vector<float> tuning_queries(const float* vectors, uint32_t count, uint32_t dim, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> queries(size_t{kTuningQueries} * dim), noise(dim);
  for (uint32_t i = 0; i < kTuningQueries; i++) {
    const float* const vector = vectors + size_t{dim} * (random() % count);
    for (float& x : noise) x = normal(random);
    normalise(noise.data(), dim);
    float* const query = queries.data() + size_t{dim} * i;
    for (uint32_t d = 0; d < dim; d++) query[d] = vector[d] + kNoise * noise[d];
    normalise(query, dim);
  }
  return queries;
}

// Share of the exact answers' rows that were found; of equal scores any is right.
double recall(const std::vector<Answer>& found, const std::vector<Answer>& exact) {
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

uint32_t tuned(const BuiltGraph& graph, const float* vectors, uint32_t effort, uint64_t seed, unsigned threads) {
  const std::vector<float> queries = tuning_queries(vectors, graph.count, graph.dim, seed);
  std::vector<Ask> asks(kTuningQueries);
  for (uint32_t i = 0; i < kTuningQueries; i++) {
    asks[i].query = queries.data() + size_t{graph.dim} * i;
    asks[i].k = std::min(kTuningFound, graph.count);
    asks[i].effort = effort;
    asks[i].only = Plan::kWalk;
  }
  std::vector<Answer> exact(asks.size()), found(asks.size());
  search_exactly(vectors, graph.count, graph.dim, asks.data(), asks.size(), exact.data(), threads, kernels());
  GraphView view = graph.view();
  Searcher(view, kernels()).search(asks.data(), asks.size(), found.data(), threads);
  const double walked = recall(found, exact);
  for (Ask& ask : asks) ask.only = Plan::kLeaves;
  for (const uint32_t* tried = std::begin(kTried); tried + 2 < std::end(kTried); tried++) {
    view.leaves.rows_per_effort = *tried;
    Searcher(view, kernels()).search(asks.data(), asks.size(), found.data(), threads);
    // a quarter to a half more than that: queries of users are not those tried here
    if (recall(found, exact) >= walked) return tried[2];
  }
  return 0;
}

}  // namespace

Arrangement arrange(const float* vectors, uint32_t count, uint32_t dim, uint64_t seed, unsigned threads) {
  Arrangement made;
  made.order.resize(count);
  std::iota(made.order.begin(), made.order.end(), 0);
  made.starts = {0};
  if (count < kFewest) return made;
  const uint32_t leaves = static_cast<uint32_t>(3 * std::sqrt(static_cast<double>(count)));
  KMeans means(vectors, count, dim, leaves, threads);
  means.run(seed);
  const std::vector<uint32_t> leaf = means.nearest(made.order);
  made.starts.assign(leaves + 1, 0);
  for (uint32_t l : leaf) made.starts[l + 1]++;
  std::partial_sum(made.starts.begin(), made.starts.end(), made.starts.begin());
  std::stable_sort(made.order.begin(), made.order.end(), [&leaf](uint32_t a, uint32_t b) { return leaf[a] < leaf[b]; });
  made.centres = means.centres();
  return made;
}

void add_leaves(BuiltGraph& graph, const LeafOrder& order) {
  const uint32_t leaves = static_cast<uint32_t>(order.starts.size() - 1);
  if (leaves == 0) return;
  graph.leaf_starts = order.starts;
  graph.leaf_centres = coded(order.centres, leaves, graph.dim, graph.scales);
  graph.leaf_blocks.resize(block_bytes(graph.count, graph.stride));
  into_blocks(graph.level[0].codes.data(), graph.count, graph.stride, graph.leaf_blocks.data());
}

void tune_leaves(BuiltGraph& graph, const float* vectors, uint32_t effort, uint64_t seed, unsigned threads) {
  if (graph.leaf_starts.size() == 1) return;
  graph.rows_per_effort = tuned(graph, vectors, effort, seed, threads);
  if (graph.rows_per_effort > 0) return;
  graph.leaf_starts = {0};
  graph.leaf_centres.clear();
  graph.leaf_blocks.clear();
}

}  // namespace retrieval
