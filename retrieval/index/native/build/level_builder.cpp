#include "build/level_builder.h"

#include <algorithm>
#include <cmath>

#include "runtime/random.h"
#include "runtime/thread_pool.h"
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

LevelBuilder::LevelBuilder(const float* vectors, Graph& graph, uint32_t at, const BuildSettings& settings)
    : vectors_(vectors), graph_(graph), at_(at), level_(graph.levels[at]), settings_(settings),
      count_(static_cast<uint32_t>(level_.rows.size())), sizes_(count_, 0) {}

void LevelBuilder::link_all(const Progress& progress, LeafNeighbours* leaves) {
  const uint32_t top = static_cast<uint32_t>(graph_.levels.size()) - 1;
  uint32_t linked = 0;
  for (uint32_t highest = top + 1; highest-- > at_;) {
    std::vector<uint32_t> nodes = nodes_of(highest);
    if (at_ == top) graph_.entry = nodes.front();
    const GraphView seen = view(highest);
    LeafNeighbours* const finder = highest == at_ && at_ < top ? leaves : nullptr;
    // The very first is there for the others to find
    for (size_t start = linked == 0 ? 1 : 0; start < nodes.size();) {
      const double most =
          std::max(1.0, std::min(static_cast<double>(linked + start) * kBatchShare, count_ * kLargestBatch));
      const size_t n = std::min(nodes.size() - start, finder != nullptr ? kNearBatch : static_cast<size_t>(most));
      // In the order of the rows: those near each other meet the same others, while these are in the cache
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
  for (size_t l = graph_.levels.size(); l-- > 1;) entry = graph_.levels[l].below[entry];
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

// Marks every node that links lead to from `start`.
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

// Links `from` to `to`, in its last place if all are taken. Returns the link that stood there, kNone where there was
// room or the link already.
uint32_t LevelBuilder::replace_last(uint32_t from, uint32_t to) {
  uint32_t* const links = links_of(from);
  uint32_t* const last = links + level_.degree - 1;
  uint32_t* const where = std::find_if(links, last, [to](uint32_t link) { return link == to || link == kNone; });
  const uint32_t before = *where;
  *where = to;
  return before == to ? kNone : before;
}

// Nodes of this level whose highest level is `highest`, without duplicates, shuffled: rows often come sorted by
// something that makes neighbours alike, and a graph that grew one region at a time finds less.
std::vector<uint32_t> LevelBuilder::nodes_of(uint32_t highest) const {
  const std::vector<uint32_t>& rows = graph_.levels[highest].rows;
  std::vector<uint32_t> nodes;
  for (uint32_t row : rows) {
    const bool higher = highest + 1 < graph_.levels.size() && contains(graph_.levels[highest + 1].rows, row);
    if (!higher && !graph_.is_duplicate(row)) nodes.push_back(level_.ordinal_of(row));
  }
  std::sort(nodes.begin(), nodes.end(), [this](uint32_t a, uint32_t b) {
    return random_bits(settings_.seed, level_.rows[a]) < random_bits(settings_.seed, level_.rows[b]);
  });
  return nodes;
}

// The graph that nodes whose highest level is `highest` are linked in: the finished levels above that, and from there
// straight down.
GraphView LevelBuilder::view(uint32_t highest) {
  GraphView whole = graph_.view();
  GraphView part = whole;
  part.level[0] = whole.level[at_];
  part.levels = 1 + whole.levels - (highest + 1);
  for (uint32_t l = 1; l < part.levels; l++) part.level[l] = whole.level[highest + l];
  const std::vector<uint32_t>& rows = graph_.levels[part.levels > 1 ? highest + 1 : whole.levels - 1].rows;
  down_.clear();
  for (uint32_t row : rows) down_.push_back(level_.ordinal_of(row));
  if (part.levels > 1) {
    part.level[1].below = down_.data();
  } else {
    part.entry = down_[whole.entry];
  }
  return part;
}

// Links `n` nodes, which do not find each other by walks.
void LevelBuilder::link(const GraphView& now, const uint32_t* nodes, uint32_t n, LeafNeighbours* leaves) {
  std::vector<std::vector<uint32_t>> chosen(n);
  const size_t pieces = (size_t{n} + kNodesAtOnce - 1) / kNodesAtOnce;
  ThreadPool::shared().run(pieces, settings_.threads, [&](size_t piece) {
    auto lease = scratch_.lease(count_, graph_.stride);
    Scratch& scratch = *lease;
    const uint32_t end = std::min<uint32_t>(n, static_cast<uint32_t>(piece + 1) * kNodesAtOnce);
    for (uint32_t i = static_cast<uint32_t>(piece) * kNodesAtOnce; i < end; i++) {
      if (leaves != nullptr) {
        leaf_candidates(*leaves, nodes[i], scratch);
      } else {
        walk_for_candidates(now, nodes[i], scratch);
      }
      select(scratch.candidates, chosen[i]);
    }
  });
  for (uint32_t i = 0; i < n; i++) {
    sizes_[nodes[i]] = static_cast<uint32_t>(chosen[i].size());
    std::copy(chosen[i].begin(), chosen[i].end(), links_of(nodes[i]));
    std::fill(links_of(nodes[i]) + chosen[i].size(), links_of(nodes[i]) + level_.degree, kNone);
  }
  link_back(nodes, chosen);
}

// Candidates by a walk, best first.
void LevelBuilder::walk_for_candidates(const GraphView& now, uint32_t node, Scratch& scratch) {
  const QueryCode query = scratch.encoder.encode(vector(node), graph_.dim, graph_.scales.data());
  WalkOptions options;
  options.ef = settings_.ef_construction;
  WalkScratch memory = scratch.walk.walk(options.ef);
  const WalkResult found = kernels_.walk(now, query, options, memory);
  scratch.candidates.clear();
  for (uint32_t j = 0; j < found.found; j++) {
    const uint32_t other = candidate_row(memory.candidates[j]);
    scratch.candidates.push_back({similarity(vector(node), vector(other)), other});
  }
  std::sort(scratch.candidates.begin(), scratch.candidates.end(), ranks_before);
}

// Candidates by leaves, best first. Nodes that have linked back to this one already are candidates, too.
void LevelBuilder::leaf_candidates(LeafNeighbours& leaves, uint32_t node, Scratch& scratch) {
  leaves.find(vector(node), node, scratch.candidates);
  const size_t found = scratch.candidates.size();
  for (uint32_t j = 0; j < sizes_[node]; j++) {
    const uint32_t other = links_of(node)[j];
    const auto end = scratch.candidates.begin() + static_cast<std::ptrdiff_t>(found);
    const bool known =
        std::any_of(scratch.candidates.begin(), end, [other](const ScoredRow& one) { return one.row == other; });
    if (!known) scratch.candidates.push_back({similarity(vector(node), vector(other)), other});
  }
  std::sort(scratch.candidates.begin(), scratch.candidates.end(), ranks_before);
}

// Selects a candidate unless one that was selected is nearer to it than the node is, by more than alpha allows
// (Malkov & Yashunin, algorithm 4; alpha: Subramanya et al., algorithm 2).
void LevelBuilder::select(const std::vector<ScoredRow>& candidates, std::vector<uint32_t>& selected) const {
  selected.clear();
  for (const ScoredRow& one : candidates) {
    if (selected.size() >= level_.degree) break;
    const float* v = vector(one.row);
    const float reach = 1.0f - one.score;
    bool alone = true;
    for (uint32_t other : selected) {
      if (settings_.alpha * (1.0f - similarity(v, vector(other))) < reach) {
        alone = false;
        break;
      }
    }
    if (alone) selected.push_back(one.row);
  }
}

// Every selected neighbour links back to the node; where its list is full, the best of old and new links stay.
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
  ThreadPool::shared().run(pieces, settings_.threads, [&](size_t piece) {
    std::vector<ScoredRow> candidates;
    std::vector<uint32_t> selected;
    for (size_t t = piece * kNodesAtOnce; t < std::min(targets, (piece + 1) * kNodesAtOnce); t++) {
      add_back(back, starts[t], starts[t + 1], candidates, selected);
    }
  });
}

void LevelBuilder::add_back(const Back& back, size_t first, size_t last, std::vector<ScoredRow>& candidates,
                            std::vector<uint32_t>& selected) {
  const uint32_t node = back[first].first;
  uint32_t* const links = links_of(node);
  selected.assign(links, links + sizes_[node]);
  for (size_t j = first; j < last; j++) {
    if (std::find(selected.begin(), selected.end(), back[j].second) == selected.end())
      selected.push_back(back[j].second);
  }
  if (selected.size() > level_.degree) {
    candidates.clear();
    for (uint32_t other : selected) candidates.push_back({similarity(vector(node), vector(other)), other});
    std::sort(candidates.begin(), candidates.end(), ranks_before);
    select(candidates, selected);
  }
  sizes_[node] = static_cast<uint32_t>(selected.size());
  std::copy(selected.begin(), selected.end(), links);
  std::fill(links + selected.size(), links + level_.degree, kNone);
}

}  // namespace retrieval
