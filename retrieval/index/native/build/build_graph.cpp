#include "build/build_graph.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "build/duplicates.h"
#include "build/leaf_neighbours.h"
#include "build/level_builder.h"
#include "graph/codes.h"
#include "runtime/random.h"
#include "runtime/thread_pool.h"

namespace retrieval {
namespace {

constexpr uint32_t kEncodedAtOnce = 4096;

// A graph of nothing but the codes of level 0.
Graph encoded_graph(const float* vectors, uint32_t count, uint32_t dim, uint32_t m, unsigned threads) {
  Graph graph;
  graph.count = count;
  graph.dim = dim;
  graph.stride = stride_of(dim);
  graph.m = m;
  if (count == 0) return graph;
  graph.scales = scales_of(vectors, graph.count, graph.dim, threads);
  graph.low_bytes.resize(size_t{graph.stride} * graph.count);
  AlignedVector<uint8_t>& codes = graph.levels.emplace_back().codes;
  codes.resize(size_t{graph.stride} * graph.count);
  ThreadPool::shared().run((graph.count + kEncodedAtOnce - 1) / kEncodedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kEncodedAtOnce;
    encode(vectors, first, std::min(graph.count, first + kEncodedAtOnce), graph.dim, graph.scales.data(), codes.data(),
           graph.low_bytes.data());
  });
  graph.levels[0].rows.resize(count);
  std::iota(graph.levels[0].rows.begin(), graph.levels[0].rows.end(), 0);
  return graph;
}

void add_leaves(Graph& graph, const LeafOrder& order) {
  const uint32_t leaves = static_cast<uint32_t>(order.starts.size() - 1);
  if (leaves == 0) return;
  graph.leaf_starts = order.starts;
  graph.leaf_centres = encoded_blocks(order.centres.data(), leaves, graph.dim, graph.scales.data());
  graph.leaf_blocks.resize(block_bytes(graph.count, graph.stride));
  into_blocks(graph.levels[0].codes.data(), graph.count, graph.stride, graph.leaf_blocks.data());
}

// Level `l` without its links: `rows` with their codes and ordinals in the level below.
GraphLevel upper_level(const Graph& graph, uint32_t l, std::vector<uint32_t> rows) {
  GraphLevel level;
  level.rows = std::move(rows);
  const GraphLevel& lower = graph.levels[l - 1];
  for (uint32_t row : level.rows) level.below.push_back(lower.ordinal_of(row));
  level.codes.resize(size_t{graph.stride} * level.rows.size());
  for (size_t i = 0; i < level.rows.size(); i++) {
    std::copy_n(lower.codes.data() + size_t{graph.stride} * level.below[i], graph.stride,
                level.codes.data() + size_t{graph.stride} * i);
  }
  return level;
}

// The highest level of a row that is no duplicate, drawn as HNSW draws it: P(level >= l) = m^-l.
uint32_t random_level(uint64_t seed, uint32_t row, uint32_t m) {
  const double share = (static_cast<double>(random_bits(seed, row) >> 11) + 1.0) / 9007199254740993.0;
  const double level = -std::log(share) / std::log(static_cast<double>(m));
  return std::min<uint32_t>(kMaxLevels - 1, static_cast<uint32_t>(level));
}

void lay_levels(Graph& graph, const BuildSettings& settings) {
  for (uint32_t l = 0;; l++) {
    GraphLevel& level = graph.levels[l];
    level.degree = l == 0 ? 2 * settings.m : settings.m;
    level.links.assign(size_t{level.degree} * level.rows.size(), kNone);
    std::vector<uint32_t> above;
    for (uint32_t row : level.rows) {
      if (!graph.is_duplicate(row) && random_level(settings.seed, row, settings.m) > l) above.push_back(row);
    }
    if (above.empty() || l + 1 == kMaxLevels) return;
    graph.levels.push_back(upper_level(graph, l + 1, std::move(above)));
  }
}

}  // namespace

Graph graph_of_leaves(const float* vectors, uint32_t count, uint32_t dim, uint32_t m, const LeafOrder& leaves,
                      uint32_t rows_per_ef, unsigned threads) {
  Graph graph = encoded_graph(vectors, count, dim, m, threads);
  add_leaves(graph, leaves);
  graph.rows_per_ef = rows_per_ef;
  return graph;
}

Graph build_graph(const float* vectors, uint32_t count, uint32_t dim, const LeafOrder& leaves,
                  const BuildSettings& settings, const Progress& progress) {
  Graph graph = encoded_graph(vectors, count, dim, settings.m, settings.threads);
  if (count == 0) return graph;
  graph.first_equal = first_equal_rows(graph.levels[0].codes.data(), count, graph.stride);
  add_leaves(graph, leaves);
  lay_levels(graph, settings);
  for (uint32_t l = static_cast<uint32_t>(graph.levels.size()); l-- > 1;) {
    LevelBuilder(vectors, graph, l, settings).link_all({}, nullptr);
  }
  LevelBuilder base(vectors, graph, 0, settings);
  base.link_all(progress, leaf_neighbours(vectors, graph, settings).get());
  link_duplicates(graph);
  base.reach_all();
  return graph;
}

}  // namespace retrieval
