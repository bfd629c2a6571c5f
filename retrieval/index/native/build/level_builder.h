// Links the nodes of one level of a graph; those above are finished.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "build/build_graph.h"
#include "build/leaf_neighbours.h"
#include "graph/graph.h"
#include "kernels/kernels.h"
#include "runtime/scratch_pool.h"
#include "search/bucket_sort.h"
#include "search/walk_memory.h"

namespace retrieval {

class LevelBuilder {
 public:
  LevelBuilder(const float* vectors, Graph& graph, uint32_t at, const BuildSettings& settings);

  // Nodes that stand in higher levels come first, as if each had been inserted into all of its levels at once: the
  // first ones are linked over long distances, and keep these links, without which far clusters are not found. The
  // others find their neighbours by `leaves` if they are given, else by walks over what is linked so far.
  void link_all(const Progress& progress, LeafNeighbours* leaves);

  // Lists that were cut short may have left a node of level 0 without any link that leads to it. The nearest node that
  // walks do reach gets a link to it, in its last place; the link that stood there moves on to the unreached node.
  void reach_all();

 private:
  // One thread's memory; `row` of the candidates, which are scored, is an ordinal of the level.
  struct Scratch {
    QueryEncoder encoder;
    WalkMemory walk;
    std::vector<ScoredRow> candidates;

    Scratch(uint32_t count, uint32_t stride) : encoder(stride), walk(count) {}
  };
  using Back = std::vector<std::pair<uint32_t, uint32_t>>;  // links to be: to whom, from whom

  uint32_t* links_of(uint32_t node) { return level_.links.data() + size_t{level_.degree} * node; }
  const float* vector(uint32_t node) const { return vectors_ + size_t{graph_.dim} * level_.rows[node]; }
  float similarity(const float* a, const float* b) const { return kernels_.dot(a, b, graph_.dim); }

  std::vector<uint32_t> nodes_of(uint32_t highest) const;
  GraphView view(uint32_t highest);
  void link(const GraphView& now, const uint32_t* nodes, uint32_t n, LeafNeighbours* leaves);
  void walk_for_candidates(const GraphView& now, uint32_t node, Scratch& scratch);
  void leaf_candidates(LeafNeighbours& leaves, uint32_t node, Scratch& scratch);
  void select(const std::vector<ScoredRow>& candidates, std::vector<uint32_t>& selected) const;
  void link_back(const uint32_t* nodes, const std::vector<std::vector<uint32_t>>& chosen);
  void add_back(const Back& back, size_t first, size_t last, std::vector<ScoredRow>& candidates,
                std::vector<uint32_t>& selected);
  void follow(uint32_t start, std::vector<bool>& reached);
  uint32_t replace_last(uint32_t from, uint32_t to);

  const float* vectors_;
  Graph& graph_;
  const uint32_t at_;
  GraphLevel& level_;
  const BuildSettings& settings_;
  const uint32_t count_;
  std::vector<uint32_t> sizes_, down_;
  const Kernels& kernels_ = kernels();
  ScratchPool<Scratch> scratch_;
};

}  // namespace retrieval
