// From quantised scores to the answer: which rows are candidates for the best k, and their final scores.
#pragma once

#include "search/query.h"
#include "search/search_context.h"
#include "search/search_scratch.h"

namespace retrieval {

// The largest of the squared lengths of some rows' codes.
float largest_squares(const GraphView& view);

// An empty list for the rows that may be among the best k of a scan or of leaves.
TopList begin_candidates(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch);

// Trims the list and makes its rows the search's candidates.
void take_candidates(const SearchContext& context, TopList& top, SearchScratch& scratch);

// Scores the candidates with 16 bits a coordinate and writes the best k to the hits.
void rescore_candidates(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch, Hits& hits);

}  // namespace retrieval
