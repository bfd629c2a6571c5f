#include "build/level_builder.h"

#include <algorithm>
#include <cmath>

#include "runtime/random.h"
#include "runtime/workers.h"
#include "search/walk_memory.h"

namespace retrieval {
namespace {

constexpr uint32_t kNodesAtOnce = 16;     // a piece of work for one thread
constexpr double kBatchShare = 1.0 / 16;  // nodes of a batch do not see each other: so many of those linked already
constexpr double kLargestBatch = 0.02;    // ... and of all
constexpr size_t kNearBatch = 1 << 16;    // nodes of a batch that do: what they link back is sorted together

bool contains(const std::vector<uint32_t>& rows, uint32_t row) {
  return std::binary_search(rows.begin(), rows.end(), row);
}

}  // namespace

// One thread's memory; `row` of the candidates, which are scored, is an ordinal of the level.
struct LevelBuilder::Scratch {
  WalkMemory walk;
  std::vector<ScoredRow> candidates;

  Scratch(uint32_t count, uint32_t stride) : walk(count, stride) {}
};

LevelBuilder::LevelBuilder(const float* vectors, BuiltGraph& graph, uint32_t at, const GraphSettings& settings)
    : vectors_(vectors), graph_(graph), at_(at), level_(graph.level[at]), settings_(settings),
      count_(static_cast<uint32_t>(level_.rows.size())), sizes_(count_, 0) {}

LevelBuilder::~LevelBuilder() = default;

void LevelBuilder::link_all(const Progress& progress, NearRows* near) {
  const uint32_t top = static_cast<uint32_t>(graph_.level.size()) - 1;
  uint32_t linked = 0;
  for (uint32_t highest = top + 1; highest-- > at_;) {
    std::vector<uint32_t> nodes = nodes_of(highest);
    if (at_ == top) graph_.entry = nodes.front();
    const GraphView seen = view(highest);
    NearRows* const finder = highest == at_ && at_ < top ? near : nullptr;
    // the very first is there for the others to find
    for (size_t start = linked == 0 ? 1 : 0; start < nodes.size();) {
      const double most = std::max(1.0, std::min((linked + start) * kBatchShare, count_ * kLargestBatch));
      const size_t n = std::min(nodes.size() - start, finder != nullptr ? kNearBatch : static_cast<size_t>(most));
      // in the order of the rows: those near each other meet the same others, while these are in the cache
      const auto batch = nodes.begin() + static_cast<std::ptrdiff_t>(start);
      std::sort(batch, batch + static_cast<std::ptrdiff_t>(n));
      link(seen, nodes.data() + start, static_cast<uint32_t>(n), finder);
      start += n;
      if (progress) progress(linked + static_cast<uint32_t>(start));
    }
    linked += static_cast<uint32_t>(nodes.size());
  }
}

void LevelBuilder::reach_all() {
  std::vector<bool> reached(count_, false);
  uint32_t entry = graph_.entry;
  for (size_t l = graph_.level.size(); l-- > 1;) entry = graph_.level[l].below[entry];
  follow(entry, reached);
  Scratch scratch(count_, graph_.stride);
  const GraphView whole = graph_.view();
  for (uint32_t node = 0; node < count_; node++) {
    if (reached[node]) continue;
    walk_for_candidates(whole, node, scratch);
    const auto nearest = std::find_if(scratch.candidates.begin(), scratch.candidates.end(),
                                      [node](const ScoredRow& one) { return one.row != node; });
    if (nearest == scratch.candidates.end()) continue;
    const uint32_t moved = replace_last(nearest->row, node);
    if (moved != kNone) replace_last(node, moved);
    follow(node, reached);
  }
}

// Marks what links lead to from `start`.
void LevelBuilder::follow(uint32_t start, std::vector<bool>& reached) {
  std::vector<uint32_t> open{start};
  reached[start] = true;
  while (!open.empty()) {
    const uint32_t* links = links_of(open.back());
    open.pop_back();
    for (uint32_t j = 0; j < level_.degree && links[j] != kNone; j++) {
      if (reached[links[j]]) continue;
      reached[links[j]] = true;
      open.push_back(links[j]);
    }
  }
}

// Links `from` to `to`; what stood in its last place, kNone where there was room or the link already.
uint32_t LevelBuilder::replace_last(uint32_t from, uint32_t to) {
  uint32_t* const links = links_of(from);
  uint32_t* const last = links + level_.degree - 1;
  uint32_t* const where = std::find_if(links, last, [to](uint32_t link) { return link == to || link == kNone; });
  const uint32_t before = *where;
  *where = to;
  return before == to ? kNone : before;
}

// Nodes of this level whose highest level is `highest`, without those that have an earlier twin, shuffled: rows often
// come sorted by something that makes neighbours alike, and a graph that grew one region at a time finds less.
std::vector<uint32_t> LevelBuilder::nodes_of(uint32_t highest) const {
  const std::vector<uint32_t>& rows = graph_.level[highest].rows;
  std::vector<uint32_t> nodes;
  for (uint32_t row : rows) {
    const bool higher = highest + 1 < graph_.level.size() && contains(graph_.level[highest + 1].rows, row);
    if (!higher && graph_.firsts[row] == row) nodes.push_back(level_.place(row));
  }
  std::sort(nodes.begin(), nodes.end(), [this](uint32_t a, uint32_t b) {
    return drawn(settings_.seed, level_.rows[a]) < drawn(settings_.seed, level_.rows[b]);
  });
  return nodes;
}

// What nodes whose highest level is `highest` see: the finished levels above that, and from there straight down.
GraphView LevelBuilder::view(uint32_t highest) {
  GraphView whole = graph_.view();
  GraphView part = whole;
  part.level[0] = whole.level[at_];
  part.levels = 1 + whole.levels - (highest + 1);
  for (uint32_t l = 1; l < part.levels; l++) part.level[l] = whole.level[highest + l];
  const std::vector<uint32_t>& rows = graph_.level[part.levels > 1 ? highest + 1 : whole.levels - 1].rows;
  down_.clear();
  for (uint32_t row : rows) down_.push_back(level_.place(row));
  if (part.levels > 1) {
    part.level[1].below = down_.data();
  } else {
    part.entry = down_[whole.entry];
  }
  return part;
}

std::unique_ptr<LevelBuilder::Scratch> LevelBuilder::borrow() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.empty()) return std::make_unique<Scratch>(count_, graph_.stride);
  std::unique_ptr<Scratch> one = std::move(idle_.back());
  idle_.pop_back();
  return one;
}

void LevelBuilder::give_back(std::unique_ptr<Scratch> one) {
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(one));
}

// Links `n` nodes; by walks none of them finds another of the batch.
void LevelBuilder::link(const GraphView& now, const uint32_t* nodes, uint32_t n, NearRows* near) {
  std::vector<std::vector<uint32_t>> chosen(n);
  const size_t pieces = (size_t{n} + kNodesAtOnce - 1) / kNodesAtOnce;
  Workers::shared().run(pieces, settings_.threads, [&](size_t piece) {
    std::unique_ptr<Scratch> scratch = borrow();
    const uint32_t end = std::min<uint32_t>(n, static_cast<uint32_t>(piece + 1) * kNodesAtOnce);
    for (uint32_t i = static_cast<uint32_t>(piece) * kNodesAtOnce; i < end; i++) {
      if (near != nullptr) {
        near_candidates(*near, nodes[i], *scratch);
      } else {
        walk_for_candidates(now, nodes[i], *scratch);
      }
      select(scratch->candidates, level_.degree, chosen[i]);
    }
    give_back(std::move(scratch));
  });
  for (uint32_t i = 0; i < n; i++) {
    sizes_[nodes[i]] = static_cast<uint32_t>(chosen[i].size());
    std::copy(chosen[i].begin(), chosen[i].end(), links_of(nodes[i]));
    std::fill(links_of(nodes[i]) + chosen[i].size(), links_of(nodes[i]) + level_.degree, kNone);
  }
  link_back(nodes, chosen);
}

// Candidates best first.
void LevelBuilder::walk_for_candidates(const GraphView& now, uint32_t node, Scratch& scratch) {
  const QueryCode query = scratch.walk.encoded(vector(node), graph_.dim, graph_.scales.data());
  WalkTerms terms;
  terms.wanted = settings_.effort;
  WalkScratch lent = scratch.walk.walk(terms.wanted);
  const WalkOutcome out = kernels_.walk(now, query, terms, lent);
  scratch.candidates.clear();
  for (uint32_t j = 0; j < out.found; j++) {
    const uint32_t other = pool_row(lent.pool[j]);
    scratch.candidates.push_back({similarity(vector(node), vector(other)), other});
  }
  std::sort(scratch.candidates.begin(), scratch.candidates.end(), goes_before);
}

// Those that have linked back to the node already are candidates, too.
void LevelBuilder::near_candidates(NearRows& near, uint32_t node, Scratch& scratch) {
  near.find(vector(node), node, scratch.candidates);
  const size_t found = scratch.candidates.size();
  for (uint32_t j = 0; j < sizes_[node]; j++) {
    const uint32_t other = links_of(node)[j];
    const auto end = scratch.candidates.begin() + static_cast<std::ptrdiff_t>(found);
    const bool known =
        std::any_of(scratch.candidates.begin(), end, [other](const ScoredRow& one) { return one.row == other; });
    if (!known) scratch.candidates.push_back({similarity(vector(node), vector(other)), other});
  }
  std::sort(scratch.candidates.begin(), scratch.candidates.end(), goes_before);
}

// Keeps a candidate unless one that was kept is nearer to it than the node is, by more than alpha allows
// (Malkov & Yashunin, algorithm 4; alpha: Subramanya et al., algorithm 2).
void LevelBuilder::select(const std::vector<ScoredRow>& candidates, uint32_t most, std::vector<uint32_t>& kept) const {
  kept.clear();
  for (const ScoredRow& one : candidates) {
    if (kept.size() >= most) break;
    const float* v = vector(one.row);
    const float reach = 1.0f - one.score;
    bool alone = true;
    for (uint32_t other : kept) {
      if (settings_.alpha * (1.0f - similarity(v, vector(other))) < reach) {
        alone = false;
        break;
      }
    }
    if (alone) kept.push_back(one.row);
  }
}

// Every chosen node links back; where its list is full, the best of old and new stay.
void LevelBuilder::link_back(const uint32_t* nodes, const std::vector<std::vector<uint32_t>>& chosen) {
  Back back;
  for (uint32_t i = 0; i < chosen.size(); i++) {
    for (uint32_t to : chosen[i]) back.emplace_back(to, nodes[i]);
  }
  std::sort(back.begin(), back.end());
  std::vector<size_t> starts;
  for (size_t j = 0; j < back.size(); j++) {
    if (j == 0 || back[j].first != back[j - 1].first) starts.push_back(j);
  }
  starts.push_back(back.size());
  const size_t targets = starts.size() - 1;
  const size_t pieces = (targets + kNodesAtOnce - 1) / kNodesAtOnce;
  Workers::shared().run(pieces, settings_.threads, [&](size_t piece) {
    std::vector<ScoredRow> candidates;
    std::vector<uint32_t> kept;
    for (size_t t = piece * kNodesAtOnce; t < std::min(targets, (piece + 1) * kNodesAtOnce); t++) {
      add_back(back, starts[t], starts[t + 1], candidates, kept);
    }
  });
}

void LevelBuilder::add_back(const Back& back, size_t first, size_t last, std::vector<ScoredRow>& candidates,
                            std::vector<uint32_t>& kept) {
  const uint32_t node = back[first].first;
  uint32_t* const links = links_of(node);
  kept.assign(links, links + sizes_[node]);
  for (size_t j = first; j < last; j++) {
    if (std::find(kept.begin(), kept.end(), back[j].second) == kept.end()) kept.push_back(back[j].second);
  }
  if (kept.size() > level_.degree) {
    candidates.clear();
    for (uint32_t other : kept) candidates.push_back({similarity(vector(node), vector(other)), other});
    std::sort(candidates.begin(), candidates.end(), goes_before);
    select(candidates, level_.degree, kept);
  }
  sizes_[node] = static_cast<uint32_t>(kept.size());
  std::copy(kept.begin(), kept.end(), links);
  std::fill(links + kept.size(), links + level_.degree, kNone);
}

}  // namespace retrieval
