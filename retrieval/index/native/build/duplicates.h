// Rows that a walk cannot tell apart, because their 8-bit codes are equal: new items with the same features have the
// same vector. Links chosen by nearness would all lead to duplicates, and no walk would find its way in or out.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace retrieval {

// For each of `count` rows of `codes` [count * stride] the first row with the same code, itself where it is the first.
std::vector<uint32_t> first_equal_rows(const uint8_t* codes, uint32_t count, uint32_t stride);

// Links the duplicates in level 0: the first row of a code leads to the second, and from there they form a tree as wide
// as the number of links allows, each with a link back to the first.
void link_duplicates(Graph& graph);

}  // namespace retrieval
