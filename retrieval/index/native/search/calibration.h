// Times a few searches of every kind, so that plans go by what they cost here.
#pragma once

#include "search/search_context.h"
#include "search/search_scratch.h"

namespace retrieval {

// The costs of searches with this ef over an index with rows; those of steps that it has no use for stay as they were.
Costs measured_costs(const SearchContext& context, uint32_t ef, SearchScratch& scratch);

}  // namespace retrieval
