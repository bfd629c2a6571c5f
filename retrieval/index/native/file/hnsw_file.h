// graph.hnsw: the file that hnswlib 0.8 saves and loads (hnswalg.h, saveIndex), so that any program built on it can
// read our graphs: a 96-byte header; per row its level-0 links, vector and label (= row); per row its upper lists.
#pragma once

#include <cstdint>
#include <string>

#include "graph/view.h"

namespace retrieval {

// `vectors` [count * dim] are those that the graph was built from. Throws
// UnreachableError.
void write_hnsw(const std::string& path, const GraphView& graph, uint32_t m, const float* vectors,
                uint32_t ef_construction);

}  // namespace retrieval
