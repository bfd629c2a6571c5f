// What the ways to search share: the index, the query under way, and how far it has come.
#pragma once

#include <cstdint>
#include <limits>

#include "graph/eligible.h"
#include "graph/view.h"
#include "kernels/kernels.h"
#include "runtime/clock.h"
#include "search/planner.h"
#include "search/query.h"

namespace retrieval {

struct SearchContext {
  const GraphView& view;
  const Kernels& kernels;
  const Planner& planner;
  uint32_t count;     // rows of the index
  float row_squares;  // the largest of the squared lengths of rows' codes, or near it
};

struct RunningQuery {
  const Query& query;
  QueryCode code;
  Eligible eligible;
  int64_t deadline_ns;  // on the steady clock; 0: none

  bool out_of_time() const { return deadline_ns > 0 && now_ns() >= deadline_ns; }
  int64_t time_left_ns() const {
    return deadline_ns > 0 ? deadline_ns - now_ns() : std::numeric_limits<int64_t>::max();
  }
};

struct SearchProgress {
  uint64_t visits = 0;        // rows compared
  bool truncated = false;     // a budget ended the search early
  bool scan_instead = false;  // this way finds too little: the query is to be answered by a scan
};

// Where a search found too little: a scan, if what is left of the budgets is enough for one.
inline void fall_back_to_scan(const SearchContext& context, const RunningQuery& running, SearchProgress& progress) {
  progress.scan_instead = context.planner.scan_fits(running.query, progress.visits, running.time_left_ns());
  progress.truncated = !progress.scan_instead;
}

}  // namespace retrieval
