// Plans by numbers alone: which way each query goes, when leaves have been looked into far enough, and when a scan
// takes over.
//
//   plans
#include <cstdint>
#include <cstdio>
#include <limits>

#include "search/planner.h"

using namespace retrieval;

namespace {

constexpr IndexFacts kWithLeaves{1'000'000, 3'000, 8};
constexpr IndexFacts kWithLinks{1'000'000, 0, 0};
constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
const uint64_t kBits = 0;  // a plan counts allowed rows, and never looks at their bits

int checked = 0, failed = 0;

void check(bool right, const char* what) {
  checked++;
  if (right) return;
  failed++;
  std::fprintf(stderr, "%s\n", what);
}

Query query_for(uint32_t k, uint32_t ef) {
  Query query;
  query.k = k;
  query.ef = ef;
  return query;
}

Query filtered(uint32_t allowed, uint32_t k = 100, uint32_t ef = 200) {
  Query query = query_for(k, ef);
  query.allowed = &kBits;
  query.allowed_count = allowed;
  return query;
}

void every_query_has_a_plan() {
  const Planner leaves(kWithLeaves, Costs{}), links(kWithLinks, Costs{});
  check(leaves.plan(query_for(100, 200)) == Plan::kLeaves, "an index with leaves is not searched by them");
  check(links.plan(query_for(100, 200)) == Plan::kWalk, "an index with links is not walked");
  check(leaves.plan(query_for(0, 200)) == Plan::kNothing, "no rows were asked for, and a search is planned");
  check(leaves.plan(filtered(0)) == Plan::kNothing, "no row is allowed, and a search is planned");
  check(Planner({}, Costs{}).plan(query_for(10, 10)) == Plan::kNothing, "an empty index is searched");
  check(leaves.plan(filtered(150)) == Plan::kScan,
        "more rows are weighed than are allowed, yet they are not all scanned");
  check(leaves.plan(query_for(1'000'000, 1)) == Plan::kScan, "all rows are asked for, yet they are not all scanned");
  Query forced = filtered(150);
  forced.only = Plan::kLeaves;
  check(leaves.plan(forced) == Plan::kLeaves, "the plan that was asked for is not taken");
}

void width_is_ef_but_at_least_k_and_at_most_all() {
  const Planner planner({1000, 0, 0}, Costs{});
  check(planner.width(query_for(10, 200)) == 200, "ef is not the width");
  check(planner.width(query_for(300, 200)) == 300, "fewer rows are weighed than asked for");
  check(planner.width(query_for(10, 5000)) == 1000, "more rows are weighed than there are");
}

// A scan takes over once, where the filter is narrow enough, and stays the plan for narrower ones.
void narrow_filters_are_scanned() {
  for (const IndexFacts& facts : {kWithLeaves, kWithLinks}) {
    const Planner planner(facts, Costs{});
    bool scanned = false;
    for (uint32_t allowed = facts.rows; allowed > 0; allowed /= 2) {
      const bool scan = planner.plan(filtered(allowed)) == Plan::kScan;
      check(scan || !scanned, "a narrower filter is not scanned, a wider one is");
      scanned = scanned || scan;
    }
    check(planner.plan(filtered(facts.rows / 2)) != Plan::kScan, "a wide filter is scanned");
    check(scanned, "no filter is scanned");
  }
}

void plans_follow_costs() {
  Costs fast_scan, slow_scan;
  fast_scan.scan_row = fast_scan.gather_row = fast_scan.skip_word = 1e-3;
  slow_scan.scan_row = slow_scan.gather_row = slow_scan.skip_word = 1e3;
  const Query query = filtered(20'000);
  check(Planner(kWithLeaves, fast_scan).plan(query) == Plan::kScan, "a scan that costs nothing is not taken (leaves)");
  check(Planner(kWithLinks, fast_scan).plan(query) == Plan::kScan, "a scan that costs nothing is not taken (links)");
  check(Planner(kWithLeaves, slow_scan).plan(query) == Plan::kLeaves, "a scan that costs a lot is taken (leaves)");
  check(Planner(kWithLinks, slow_scan).plan(query) == Plan::kWalk, "a scan that costs a lot is taken (links)");
  const Planner planner(kWithLeaves, Costs{});
  check(planner.scan_cost(filtered(999'999)) <= Costs{}.scan_row * kWithLeaves.rows,
        "a wide filter makes rows be fetched one by one");
  check(planner.leaves_cost(filtered(500'000)) > planner.leaves_cost(query_for(100, 200)),
        "a filter costs leaves nothing");
  check(planner.leaves_cost(filtered(1000)) <= 4.0 * planner.leaves_cost(query_for(100, 200)),
        "leaves are given up before it is seen what a filter leaves of the near ones");
}

// A scan that a budget cuts short has seen the first rows only; others have seen the nearest.
void budgets_of_visits_keep_from_scans() {
  const Planner planner(kWithLeaves, Costs{});
  Query query = query_for(1'000'000, 1);
  check(planner.plan(query) == Plan::kScan, "all rows are not scanned");
  query.visit_budget = 10'000;
  check(planner.plan(query) == Plan::kLeaves, "a scan is planned that its budget ends");
  query.visit_budget = 1'000'000;
  check(planner.plan(query) == Plan::kScan, "a scan of all rows that its budget allows is not planned");
  Query narrow = filtered(2'000);
  narrow.visit_budget = 2'000;
  check(planner.plan(narrow) == Plan::kScan, "a scan within its budget is not planned");
  narrow.visit_budget = 100;
  check(planner.plan(narrow) == Plan::kScan, "links are followed through rows that are not allowed, over any budget");
}

void leaves_are_looked_into_as_far_as_ef_says() {
  const Planner planner(kWithLeaves, Costs{});
  Query query = query_for(10, 200);
  check(planner.leaf_rows_needed(query) == 1728u, "another number of rows than 8 for each of ef + 16");
  query.excluded_count = 50;
  check(planner.leaf_rows_needed(query) == 1728u + 100u, "excluded rows are not made up for");
  check(planner.leaves_to_rank(query_for(10, 200)) < planner.leaves_to_rank(filtered(250'000, 10, 200)),
        "a filter takes no more leaves");
  check(planner.leaves_to_rank(filtered(1, 10, 1'000'000)) == kWithLeaves.leaves,
        "more leaves are ranked than there are");
}

void walks_hold_what_a_filter_takes() {
  const Planner planner(kWithLinks, Costs{});
  check(planner.walk_capacity(query_for(10, 200)) == 200, "a walk without a filter holds more than ef");
  check(planner.walk_capacity(filtered(100'000, 10, 200)) >= 2000, "a walk holds too little for one row in ten");
  check(planner.walk_capacity(filtered(1, 10, 200)) == kWithLinks.rows, "a walk holds more rows than there are");
}

void a_filter_is_seen_to_be_in_the_way() {
  const Planner planner(kWithLeaves, Costs{});
  Query query = filtered(100'000);
  const uint64_t needed = planner.leaf_rows_needed(query);
  check(!planner.filter_in_the_way(query, {needed, 20 * needed, 20 * needed, needed}),
        "a search that is done goes on by a scan");
  check(!planner.filter_in_the_way(query, {needed, needed / 2, needed / 2, 0}), "a filter is judged by too few rows");
  check(!planner.filter_in_the_way(query, {needed, 2 * needed, 2 * needed, needed / 5}),
        "a filter that takes what it should is in the way");
  check(planner.filter_in_the_way(query, {needed, 16 * needed, 16 * needed, needed - 1}),
        "a filter that keeps away is not seen");
  check(planner.filter_in_the_way(query, {needed, 2 * needed, 2 * needed, 1}), "leaves go on where a scan is cheaper");
  query.only = Plan::kLeaves;
  check(!planner.filter_in_the_way(query, {needed, 2 * needed, 2 * needed, 1}),
        "leaves that were asked for give way to a scan");
  check(!planner.filter_in_the_way(query_for(100, 200), {needed, 2 * needed, 2 * needed, 1}),
        "no filter is in the way");
}

void scans_fit_into_what_is_left() {
  const Planner planner(kWithLeaves, Costs{});
  Query query = filtered(1000);
  check(planner.scan_fits(query, 500, kUnlimited), "a scan does not fit into no budget at all");
  query.visit_budget = 1500;
  check(planner.scan_fits(query, 500, kUnlimited), "a scan of 1000 rows does not fit into 1500 - 500 visits");
  check(!planner.scan_fits(query, 501, kUnlimited), "a scan of 1000 rows fits into 1500 - 501 visits");
  const int64_t scan_ns = static_cast<int64_t>(Costs{}.scan_row * kWithLeaves.rows);
  check(planner.scan_fits(query, 0, scan_ns + 1), "a scan does not fit into the time that it takes");
  check(!planner.scan_fits(query, 0, scan_ns), "a scan fits into less time than it takes");
}

}  // namespace

int main() {
  every_query_has_a_plan();
  width_is_ef_but_at_least_k_and_at_most_all();
  narrow_filters_are_scanned();
  plans_follow_costs();
  budgets_of_visits_keep_from_scans();
  leaves_are_looked_into_as_far_as_ef_says();
  walks_hold_what_a_filter_takes();
  a_filter_is_seen_to_be_in_the_way();
  scans_fit_into_what_is_left();
  std::printf("checked %d failed %d\n", checked, failed);
  return failed == 0 ? 0 : 1;
}
