#include "graph/graph.h"

namespace retrieval {

void Graph::drop_leaves() {
  leaf_starts = {0};
  leaf_centres.clear();
  leaf_blocks.clear();
}

GraphView Graph::view() const {
  GraphView seen;
  seen.levels = static_cast<uint32_t>(levels.size());
  for (uint32_t l = 0; l < seen.levels; l++) {
    seen.level[l] = {levels[l].codes.data(), levels[l].links.data(), levels[l].below.data(),
                     static_cast<uint32_t>(levels[l].rows.size()), levels[l].degree};
  }
  seen.entry = entry;
  seen.dim = dim;
  seen.stride = stride;
  seen.low_bytes = low_bytes.data();
  seen.scales = scales.data();
  seen.leaves = {leaf_centres.data(), leaf_starts.data(), leaf_blocks.data(), leaves(), rows_per_ef};
  return seen;
}

}  // namespace retrieval
