// Rows that a walk cannot tell apart, because their 8-bit codes are equal: new items with the same features have the
// same vector. Links chosen by nearness would all go to twins, and no walk would find its way in or out.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace retrieval {

// For each of `count` rows of `codes` [count * stride] the first row with the same code, itself where it is the first.
std::vector<uint32_t> first_twins(const uint8_t* codes, uint32_t count, uint32_t stride);

// Links the rows of level 0 that have an earlier twin: the first of a code leads to its second, and from there they
// form a tree as wide as the links allow, each with a link back to the first.
void tie_twins(BuiltLevel& level, const std::vector<uint32_t>& firsts);

}  // namespace retrieval
