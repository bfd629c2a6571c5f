// By the graph's links.
#pragma once

#include "search/search_context.h"
#include "search/search_scratch.h"

namespace retrieval {

// Leaves the rows that the walk found in scratch.candidates.
void search_by_walk(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch,
                    SearchProgress& progress);

}  // namespace retrieval
