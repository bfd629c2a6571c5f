// By leaves, nearest first.
#pragma once

#include "search/search_context.h"
#include "search/search_scratch.h"

namespace retrieval {

// The leaves by their centres' scores, best first, `n` of them or a few more, in scratch.leaves.
void rank_leaves(const SearchContext& context, const QueryCode& code, uint32_t n, SearchScratch& scratch);

// Leaves the rows that may be among the best k in scratch.candidates.
void search_by_leaves(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch,
                      SearchProgress& progress);

}  // namespace retrieval
