#pragma once

#include <string>

#include "graph/graph.h"

namespace retrieval {

// Writes graph.native (index_layout.h). Throws UnreachableError.
void write_index(const std::string& path, const Graph& graph);

}  // namespace retrieval
