#include <algorithm>
#include <cmath>
#include <numeric>

#include "build/leaves.h"
#include "build/level_builder.h"
#include "build/near_rows.h"
#include "build/twins.h"
#include "graph/codes.h"
#include "graph/graph.h"
#include "runtime/random.h"
#include "runtime/workers.h"

namespace retrieval {
namespace {

constexpr uint32_t kEncodedAtOnce = 4096;

// Codes of level 0, and which of them are equal.
void encode_all(const float* vectors, BuiltGraph& graph, unsigned threads) {
  graph.scales = scales_of(vectors, graph.count, graph.dim, threads);
  graph.rest.resize(size_t{graph.stride} * graph.count);
  Lines<uint8_t>& codes = graph.level.emplace_back().codes;
  codes.resize(size_t{graph.stride} * graph.count);
  Workers::shared().run((graph.count + kEncodedAtOnce - 1) / kEncodedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kEncodedAtOnce;
    encode(vectors, first, std::min(graph.count, first + kEncodedAtOnce), graph.dim, graph.scales.data(), codes.data(),
           graph.rest.data());
  });
  graph.firsts = first_twins(codes.data(), graph.count, graph.stride);
}

// Level `l` without its links: `rows` with their codes and places in the level below.
BuiltLevel upper_level(const BuiltGraph& graph, uint32_t l, std::vector<uint32_t> rows) {
  BuiltLevel level;
  level.rows = std::move(rows);
  const BuiltLevel& lower = graph.level[l - 1];
  for (uint32_t row : level.rows) level.below.push_back(lower.place(row));
  level.codes.resize(size_t{graph.stride} * level.rows.size());
  for (size_t i = 0; i < level.rows.size(); i++) {
    std::copy_n(lower.codes.data() + size_t{graph.stride} * level.below[i], graph.stride,
                level.codes.data() + size_t{graph.stride} * i);
  }
  return level;
}

// The highest level that a row is in unless it has an earlier twin, drawn as HNSW draws it: P(level >= l) = m^-l.
uint32_t drawn_level(uint64_t seed, uint32_t row, uint32_t m) {
  const double share = (static_cast<double>(drawn(seed, row) >> 11) + 1.0) / 9007199254740993.0;
  return std::min<uint32_t>(kMostLevels - 1,
                            static_cast<uint32_t>(-std::log(share) / std::log(static_cast<double>(m))));
}

void lay_levels(BuiltGraph& graph, const GraphSettings& settings) {
  graph.level[0].rows.resize(graph.count);
  std::iota(graph.level[0].rows.begin(), graph.level[0].rows.end(), 0);
  for (uint32_t l = 0;; l++) {
    BuiltLevel& level = graph.level[l];
    level.degree = l == 0 ? 2 * settings.m : settings.m;
    level.links.assign(size_t{level.degree} * level.rows.size(), kNone);
    std::vector<uint32_t> above;
    for (uint32_t row : level.rows) {
      if (graph.firsts[row] == row && drawn_level(settings.seed, row, settings.m) > l) above.push_back(row);
    }
    if (above.empty() || l + 1 == kMostLevels) return;
    graph.level.push_back(upper_level(graph, l + 1, std::move(above)));
  }
}

}  // namespace

GraphView BuiltGraph::view() const {
  GraphView seen;
  seen.levels = static_cast<uint32_t>(level.size());
  for (uint32_t l = 0; l < seen.levels; l++) {
    seen.level[l] = {level[l].codes.data(), level[l].links.data(), level[l].below.data(),
                     static_cast<uint32_t>(level[l].rows.size()), level[l].degree};
  }
  seen.entry = entry;
  seen.dim = dim;
  seen.stride = stride;
  seen.rest = rest.data();
  seen.scales = scales.data();
  seen.leaves = {leaf_centres.data(), leaf_starts.data(), leaf_blocks.data(),
                 static_cast<uint32_t>(leaf_starts.size() - 1), rows_per_effort};
  return seen;
}

BuiltGraph build_graph(const float* vectors, uint32_t count, uint32_t dim, const LeafOrder& leaves,
                       const GraphSettings& settings, const Progress& progress) {
  BuiltGraph graph;
  graph.count = count;
  graph.dim = dim;
  graph.stride = stride_of(dim);
  graph.m = settings.m;
  if (count == 0) return graph;
  encode_all(vectors, graph, settings.threads);
  add_leaves(graph, leaves);
  lay_levels(graph, settings);
  for (uint32_t l = static_cast<uint32_t>(graph.level.size()); l-- > 1;) {
    LevelBuilder(vectors, graph, l, settings).link_all({}, nullptr);
  }
  LevelBuilder base(vectors, graph, 0, settings);
  base.link_all(progress, near_rows(vectors, graph, settings).get());
  tie_twins(graph.level[0], graph.firsts);
  base.reach_all();
  return graph;
}

}  // namespace retrieval
