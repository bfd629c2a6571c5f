#include "graph.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <numeric>

#include "codes.h"
#include "drawn.h"
#include "kernels.h"
#include "twins.h"
#include "walk_memory.h"
#include "workers.h"

namespace retrieval {
namespace {

constexpr uint32_t kEncodedAtOnce = 4096;
constexpr uint32_t kNodesAtOnce = 16;    // a piece of work for one thread
constexpr double kBatchShare = 1.0 / 16; // nodes of a batch do not see each other: so many of those linked already
constexpr double kLargestBatch = 0.02;   // ... and of all

struct Scored {
  float score;
  uint32_t ordinal;
};

bool better(const Scored& a, const Scored& b) {
  return a.score != b.score ? a.score > b.score : a.ordinal < b.ordinal;
}

bool contains(const std::vector<uint32_t>& rows, uint32_t row) {
  return std::binary_search(rows.begin(), rows.end(), row);
}

uint32_t place(const std::vector<uint32_t>& rows, uint32_t row) {
  return static_cast<uint32_t>(std::lower_bound(rows.begin(), rows.end(), row) - rows.begin());
}

// One thread's memory.
struct Scratch {
  WalkMemory walk;
  std::vector<Scored> candidates;

  Scratch(uint32_t count, uint32_t stride) : walk(count, stride) {}
};

// Links the nodes of one level; those above are finished.
class LevelBuilder {
 public:
  LevelBuilder(const float* vectors, BuiltGraph& graph, uint32_t at, const GraphSettings& settings)
      : vectors_(vectors), graph_(graph), at_(at), level_(graph.level[at]), settings_(settings),
        count_(static_cast<uint32_t>(level_.rows.size())), sizes_(count_, 0) {}

  // Nodes that stand in higher levels come first, as if each had been inserted into all of its levels at once: the
  // first ones are linked over long distances, and keep these links, without which far clusters are not found.
  void link_all(const Progress& progress) {
    const uint32_t top = static_cast<uint32_t>(graph_.level.size()) - 1;
    uint32_t linked = 0;
    for (uint32_t highest = top + 1; highest-- > at_;) {
      std::vector<uint32_t> nodes = nodes_of(highest);
      if (at_ == top) graph_.entry = nodes.front();
      const GraphView seen = view(highest);
      // the very first is there for the others to find
      for (size_t start = linked == 0 ? 1 : 0; start < nodes.size();) {
        const double most = std::max(1.0, std::min((linked + start) * kBatchShare, count_ * kLargestBatch));
        const size_t n = std::min(nodes.size() - start, static_cast<size_t>(most));
        // in the order of the rows: those near each other meet the same others, while these are in the cache
        const auto batch = nodes.begin() + static_cast<std::ptrdiff_t>(start);
        std::sort(batch, batch + static_cast<std::ptrdiff_t>(n));
        link(seen, nodes.data() + start, static_cast<uint32_t>(n));
        start += n;
        if (progress) progress(linked + static_cast<uint32_t>(start));
      }
      linked += static_cast<uint32_t>(nodes.size());
    }
  }

  // Lists cut short may have left a node of level 0 without any link that leads to it: the nearest node that walks do
  // reach gets one, in its last place, and what stood there moves on to the new one.
  void reach_all() {
    std::vector<bool> reached(count_, false);
    uint32_t entry = graph_.entry;
    for (size_t l = graph_.level.size(); l-- > 1;) entry = graph_.level[l].below[entry];
    follow(entry, reached);
    Scratch scratch(count_, graph_.stride);
    const GraphView whole = graph_.view();
    for (uint32_t node = 0; node < count_; node++) {
      if (reached[node]) continue;
      find_candidates(whole, node, scratch);
      const auto nearest = std::find_if(scratch.candidates.begin(), scratch.candidates.end(),
                                        [node](const Scored& one) { return one.ordinal != node; });
      if (nearest == scratch.candidates.end()) continue;
      const uint32_t moved = replace_last(nearest->ordinal, node);
      if (moved != kNone) replace_last(node, moved);
      follow(node, reached);
    }
  }

 private:
  // Marks what links lead to from `start`.
  void follow(uint32_t start, std::vector<bool>& reached) {
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
  uint32_t replace_last(uint32_t from, uint32_t to) {
    uint32_t* const links = links_of(from);
    uint32_t* const last = links + level_.degree - 1;
    uint32_t* const where = std::find_if(links, last, [to](uint32_t link) { return link == to || link == kNone; });
    const uint32_t before = *where;
    *where = to;
    return before == to ? kNone : before;
  }

  uint32_t* links_of(uint32_t node) { return level_.links.data() + size_t{level_.degree} * node; }
  const float* vector(uint32_t node) const { return vectors_ + size_t{graph_.dim} * level_.rows[node]; }
  float similarity(const float* a, const float* b) const { return kernels_.dot(a, b, graph_.dim); }

  // Nodes of this level whose highest level is `highest`, without those that have an earlier twin, shuffled: rows often
  // come sorted by something that makes neighbours alike, and a graph that grew one region at a time finds less.
  std::vector<uint32_t> nodes_of(uint32_t highest) const {
    const std::vector<uint32_t>& rows = graph_.level[highest].rows;
    std::vector<uint32_t> nodes;
    for (uint32_t row : rows) {
      const bool higher = highest + 1 < graph_.level.size() && contains(graph_.level[highest + 1].rows, row);
      if (!higher && graph_.firsts[row] == row) nodes.push_back(place(level_.rows, row));
    }
    std::sort(nodes.begin(), nodes.end(), [this](uint32_t a, uint32_t b) {
      return drawn(settings_.seed, level_.rows[a]) < drawn(settings_.seed, level_.rows[b]);
    });
    return nodes;
  }

  // What nodes whose highest level is `highest` see: the finished levels above that, and from there straight down.
  GraphView view(uint32_t highest) {
    GraphView whole = graph_.view();
    GraphView part = whole;
    part.level[0] = whole.level[at_];
    part.levels = 1 + whole.levels - (highest + 1);
    for (uint32_t l = 1; l < part.levels; l++) part.level[l] = whole.level[highest + l];
    const std::vector<uint32_t>& rows = graph_.level[part.levels > 1 ? highest + 1 : whole.levels - 1].rows;
    down_.clear();
    for (uint32_t row : rows) down_.push_back(place(level_.rows, row));
    if (part.levels > 1) {
      part.level[1].below = down_.data();
    } else {
      part.entry = down_[whole.entry];
    }
    return part;
  }

  std::unique_ptr<Scratch> borrow() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return std::make_unique<Scratch>(count_, graph_.stride);
    std::unique_ptr<Scratch> one = std::move(idle_.back());
    idle_.pop_back();
    return one;
  }

  void give_back(std::unique_ptr<Scratch> one) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(one));
  }

  // Links `n` nodes, none of which the others of the batch can find.
  void link(const GraphView& now, const uint32_t* nodes, uint32_t n) {
    std::vector<std::vector<uint32_t>> chosen(n);
    const size_t pieces = (size_t{n} + kNodesAtOnce - 1) / kNodesAtOnce;
    Workers::shared().run(pieces, settings_.threads, [&](size_t piece) {
      std::unique_ptr<Scratch> scratch = borrow();
      const uint32_t end = std::min<uint32_t>(n, static_cast<uint32_t>(piece + 1) * kNodesAtOnce);
      for (uint32_t i = static_cast<uint32_t>(piece) * kNodesAtOnce; i < end; i++) {
        find_candidates(now, nodes[i], *scratch);
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
  void find_candidates(const GraphView& now, uint32_t node, Scratch& scratch) {
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
    std::sort(scratch.candidates.begin(), scratch.candidates.end(), better);
  }

  // Keeps a candidate unless one that was kept is nearer to it than the node is, by more than alpha allows
  // (Malkov & Yashunin, algorithm 4; alpha: Subramanya et al., algorithm 2).
  void select(const std::vector<Scored>& candidates, uint32_t most, std::vector<uint32_t>& kept) {
    kept.clear();
    for (const Scored& one : candidates) {
      if (kept.size() >= most) break;
      const float* v = vector(one.ordinal);
      const float reach = 1.0f - one.score;
      bool alone = true;
      for (uint32_t other : kept) {
        if (settings_.alpha * (1.0f - similarity(v, vector(other))) < reach) {
          alone = false;
          break;
        }
      }
      if (alone) kept.push_back(one.ordinal);
    }
  }

  // Every chosen node links back; where its list is full, the best of old and new stay.
  void link_back(const uint32_t* nodes, const std::vector<std::vector<uint32_t>>& chosen) {
    std::vector<std::pair<uint32_t, uint32_t>> back;  // to whom, from whom
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
      std::vector<Scored> candidates;
      std::vector<uint32_t> kept;
      for (size_t t = piece * kNodesAtOnce; t < std::min(targets, (piece + 1) * kNodesAtOnce); t++) {
        add_back(back, starts[t], starts[t + 1], candidates, kept);
      }
    });
  }

  void add_back(const std::vector<std::pair<uint32_t, uint32_t>>& back, size_t first, size_t last,
                std::vector<Scored>& candidates, std::vector<uint32_t>& kept) {
    const uint32_t node = back[first].first;
    uint32_t* const links = links_of(node);
    kept.assign(links, links + sizes_[node]);
    for (size_t j = first; j < last; j++) {
      if (std::find(kept.begin(), kept.end(), back[j].second) == kept.end()) kept.push_back(back[j].second);
    }
    if (kept.size() > level_.degree) {
      candidates.clear();
      for (uint32_t other : kept) candidates.push_back({similarity(vector(node), vector(other)), other});
      std::sort(candidates.begin(), candidates.end(), better);
      select(candidates, level_.degree, kept);
    }
    sizes_[node] = static_cast<uint32_t>(kept.size());
    std::copy(kept.begin(), kept.end(), links);
    std::fill(links + kept.size(), links + level_.degree, kNone);
  }

  const float* vectors_;
  BuiltGraph& graph_;
  const uint32_t at_;
  BuiltLevel& level_;
  const GraphSettings& settings_;
  const uint32_t count_;
  std::vector<uint32_t> sizes_, down_;
  const Kernels& kernels_ = kernels();
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

// Codes of level 0, and which of them are equal.
void encode_all(const float* vectors, BuiltGraph& graph, unsigned threads) {
  graph.scales = scales_of(vectors, graph.count, graph.dim, threads);
  graph.rest.resize(size_t{graph.stride} * graph.count);
  Lines<uint8_t>& codes = graph.level.emplace_back().codes;
  codes.resize(size_t{graph.stride} * graph.count);
  Workers::shared().run((graph.count + kEncodedAtOnce - 1) / kEncodedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kEncodedAtOnce;
    encode(vectors, first, std::min(graph.count, first + kEncodedAtOnce), graph.dim, graph.scales.data(), codes.data(),
           graph.rest.data());
  });
  graph.firsts = first_twins(codes.data(), graph.count, graph.stride);
}

// Level `l` without its links: `rows` with their codes and places in the level below.
BuiltLevel upper_level(const BuiltGraph& graph, uint32_t l, std::vector<uint32_t> rows) {
  BuiltLevel level;
  level.rows = std::move(rows);
  const BuiltLevel& lower = graph.level[l - 1];
  for (uint32_t row : level.rows) level.below.push_back(place(lower.rows, row));
  level.codes.resize(size_t{graph.stride} * level.rows.size());
  for (size_t i = 0; i < level.rows.size(); i++) {
    std::copy_n(lower.codes.data() + size_t{graph.stride} * level.below[i], graph.stride,
                level.codes.data() + size_t{graph.stride} * i);
  }
  return level;
}

// The highest level that a row is in unless it has an earlier twin, drawn as HNSW draws it: P(level >= l) = m^-l.
uint32_t drawn_level(uint64_t seed, uint32_t row, uint32_t m) {
  const double share = (static_cast<double>(drawn(seed, row) >> 11) + 1.0) / 9007199254740993.0;
  return std::min<uint32_t>(kMostLevels - 1, static_cast<uint32_t>(-std::log(share) / std::log(static_cast<double>(m))));
}

void lay_levels(BuiltGraph& graph, const GraphSettings& settings) {
  graph.level[0].rows.resize(graph.count);
  std::iota(graph.level[0].rows.begin(), graph.level[0].rows.end(), 0);
  for (uint32_t l = 0;; l++) {
    BuiltLevel& level = graph.level[l];
    level.degree = l == 0 ? 2 * settings.m : settings.m;
    level.links.assign(size_t{level.degree} * level.rows.size(), kNone);
    std::vector<uint32_t> above;
    for (uint32_t row : level.rows) {
      if (graph.firsts[row] == row && drawn_level(settings.seed, row, settings.m) > l) above.push_back(row);
    }
    if (above.empty() || l + 1 == kMostLevels) return;
    graph.level.push_back(upper_level(graph, l + 1, std::move(above)));
  }
}

}  // namespace

GraphView BuiltGraph::view() const {
  GraphView seen;
  seen.levels = static_cast<uint32_t>(level.size());
  for (uint32_t l = 0; l < seen.levels; l++) {
    seen.level[l] = {level[l].codes.data(), level[l].links.data(), level[l].below.data(),
                     static_cast<uint32_t>(level[l].rows.size()), level[l].degree};
  }
  seen.entry = entry;
  seen.dim = dim;
  seen.stride = stride;
  seen.rest = rest.data();
  seen.scales = scales.data();
  seen.leaves = {leaf_centres.data(), leaf_starts.data(), leaf_blocks.data(),
                 static_cast<uint32_t>(leaf_starts.size() - 1), rows_per_effort};
  return seen;
}

BuiltGraph build_graph(const float* vectors, uint32_t count, uint32_t dim, const GraphSettings& settings,
                       const Progress& progress) {
  BuiltGraph graph;
  graph.count = count;
  graph.dim = dim;
  graph.stride = stride_of(dim);
  graph.m = settings.m;
  if (count == 0) return graph;
  encode_all(vectors, graph, settings.threads);
  lay_levels(graph, settings);
  for (size_t l = graph.level.size(); l-- > 0;) {
    LevelBuilder builder(vectors, graph, static_cast<uint32_t>(l), settings);
    builder.link_all(l == 0 ? progress : Progress{});
    if (l > 0) continue;
    tie_twins(graph.level[0], graph.firsts);
    builder.reach_all();
  }
  return graph;
}

}  // namespace retrieval
