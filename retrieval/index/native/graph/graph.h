// A graph while it is built: levels from the top down, nodes in batches that see the same graph, so that the result
// depends on the input and the seed alone, not on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "graph/view.h"
#include "runtime/aligned.h"

namespace retrieval {

struct GraphSettings {
  uint32_t m = 16;        // links of a node in the upper levels; twice as many in level 0
  uint32_t effort = 200;  // candidates weighed for a node's links
  float alpha = 1.1f;     // > 1 keeps more of the long links (Subramanya et al. 2019, DiskANN)
  uint64_t seed = 1;
  unsigned threads = 1;
};

struct BuiltLevel {
  std::vector<uint32_t> rows;   // the row of each ordinal, ascending
  std::vector<uint32_t> below;  // its ordinal one level down
  Lines<uint8_t> codes;         // [count * stride]
  Lines<uint32_t> links;        // [count * degree], kNone after the last
  uint32_t degree = 0;

  // The ordinal of the first row that is not before `row`.
  uint32_t place(uint32_t row) const {
    return static_cast<uint32_t>(std::lower_bound(rows.begin(), rows.end(), row) - rows.begin());
  }
};

// The leaves that vectors stand in (leaves.h).
struct LeafOrder {
  std::vector<uint32_t> starts{0};  // [leaves + 1]
  std::vector<float> centres;       // [leaves * dim]
};

struct BuiltGraph {
  uint32_t count = 0, dim = 0, stride = 0, m = 0;
  std::vector<float> scales;      // [stride]
  Lines<uint8_t> rest;            // low bytes of level 0
  std::vector<BuiltLevel> level;  // 0 holds every row
  std::vector<uint32_t> firsts;   // of each row, see twins.h
  uint32_t entry = 0;             // ordinal in the highest level
  Lines<uint8_t> leaf_centres;    // of Leaves (view.h)
  std::vector<uint32_t> leaf_starts{0};
  Lines<uint8_t> leaf_blocks;
  uint32_t rows_per_effort = 0;

  GraphView view() const;
};

// Called with the share of the rows that are linked, between batches; may throw to stop the build.
using Progress = std::function<void(uint32_t done)>;

BuiltGraph build_graph(const float* vectors, uint32_t count, uint32_t dim, const LeafOrder& leaves,
                       const GraphSettings& settings, const Progress& progress);

}  // namespace retrieval
