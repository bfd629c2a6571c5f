// Answers queries over one index: plans each (walk or scan), spreads batches over threads, finishes with exact scores.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "graph/view.h"
#include "kernels/kernels.h"

namespace retrieval {

// Nothing to be found; the graph's links; every row that may be answered; leaves, nearest first, as many as it takes.
enum class Plan : uint8_t { kNothing, kWalk, kScan, kLeaves };

struct Ask {
  const float* query = nullptr;       // [dim]
  uint32_t k = 0;                     // rows wanted
  uint32_t effort = 0;                // ef: how many rows a walk weighs, and leaves are looked into as far; at least k
  const uint64_t* allowed = nullptr;  // bits of the rows that may be answered; nullptr: all
  uint32_t allowed_count = 0;         // how many bits are set
  const uint32_t* excluded = nullptr;
  uint32_t excluded_count = 0;
  uint64_t visits = 0;         // rows compared at most, give or take a step's; 0: no limit
  int64_t time_ns = 0;         // time it may take, from its own start, give or take a step's; 0: no limit
  Plan only = Plan::kNothing;  // this plan even where another is cheaper
};

struct Answer {
  std::vector<uint32_t> rows;  // best first; of equal scores the lower row first
  std::vector<float> scores;
  bool truncated = false;  // a budget ended the search early
  Plan plan = Plan::kNothing;
  uint64_t visits = 0;  // rows compared
};

// What one step costs here, in nanoseconds: what the plan is chosen by.
struct Costs {
  double expanded = 200.0;  // a row whose links are followed
  double scanned = 2.5;     // a row of a scan over all
  double gathered = 4.0;    // a row fetched by itself
  double passed = 0.5;      // 64 rows none of which is allowed
  double ranked = 1.0;      // a leaf's centre
  double sifted = 2.0;      // a row of a leaf
};

class Searcher {
 public:
  // The view must outlive it. `kernels`: as chosen for this processor.
  Searcher(const GraphView& view, const Kernels& kernels);
  ~Searcher();

  // Answers [n]; the same whatever the number of threads, and whatever else is in the batch.
  void search(const Ask* asks, size_t n, Answer* answers, unsigned threads);

  // Times a few searches with this effort and plans by that from now on.
  void calibrate(uint32_t effort);
  Costs costs() const { return costs_; }

 private:
  struct Scratch;
  class NearLeaves;
  // Rows of leaves: all of those that are nearest, those among them that were looked at, and that may be answered.
  struct Looked {
    uint64_t near = 0, at = 0, eligible = 0;
  };
  class Borrowed;

  void answer(const Ask& ask, Answer& answer, Scratch& scratch);
  Plan planned(const Ask& ask, uint32_t wanted) const;
  void scan_instead(const Ask& ask, int64_t deadline, Answer& answer) const;
  bool affordable(const Ask& ask, int64_t deadline, const Answer& answer) const;
  uint32_t capacity_of(const Ask& ask, uint32_t wanted) const;
  uint32_t allowed_of(const Ask& ask) const;
  double scan_cost(const Ask& ask) const;
  double leaves_cost(const Ask& ask, uint32_t wanted) const;
  uint64_t enough(const Ask& ask, uint32_t wanted) const;
  uint32_t leaves_of(uint64_t rows) const;
  bool filter_in_the_way(const Ask& ask, uint64_t enough, const Looked& looked) const;
  void walk(const Ask& ask, const QueryCode& query, uint32_t wanted, int64_t deadline, Answer& answer,
            Scratch& scratch);
  void leaves(const Ask& ask, const QueryCode& query, uint32_t wanted, int64_t deadline, Answer& answer,
              Scratch& scratch);
  void fetch_leaf(uint32_t leaf) const;
  void rank_leaves(const QueryCode& query, uint32_t most, Scratch& scratch) const;
  void scan(const Ask& ask, const QueryCode& query, int64_t deadline, Answer& answer, Scratch& scratch);
  Kept kept_of(const Ask& ask, const QueryCode& query, Scratch& scratch) const;
  void settle(Kept& kept, Scratch& scratch) const;
  void finish(const Ask& ask, const QueryCode& query, Answer& answer, Scratch& scratch) const;

  const GraphView& view_;
  const Kernels& kernels_;
  const uint32_t count_;
  const float row_squares_;
  Costs costs_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

// How many of the rows [begin, end) may be answered.
uint32_t eligible_between(const Eligible& eligible, uint32_t begin, uint32_t end);

// Exact search over float32 vectors [count * dim]: the reference, and the fastest for few rows.
void search_exactly(const float* vectors, uint32_t count, uint32_t dim, const Ask* asks, size_t n, Answer* answers,
                    unsigned threads, const Kernels& kernels);

}  // namespace retrieval
