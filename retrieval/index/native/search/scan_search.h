// By a scan over every row that may be answered.
#pragma once

#include "search/search_context.h"
#include "search/search_scratch.h"

namespace retrieval {

// Leaves the rows that may be among the best k in scratch.candidates. Budgets of visits count what was compared before.
void search_by_scan(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch,
                    SearchProgress& progress);

}  // namespace retrieval
