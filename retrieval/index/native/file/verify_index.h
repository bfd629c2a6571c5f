#pragma once

#include <string>

#include "graph/view.h"

namespace retrieval {

// Checks all of an index that a search would follow: scales, links, leaves and codes; where `vectors` [count * dim] are
// given, that the codes are theirs. Throws DamagedError, which names `path`.
void verify_view(const std::string& path, const GraphView& view, const float* vectors, unsigned threads);

}  // namespace retrieval
