// Links the nodes of one level of a graph; those above are finished.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "build/near_rows.h"
#include "graph/graph.h"
#include "kernels/kernels.h"
#include "search/best_first.h"

namespace retrieval {

class LevelBuilder {
 public:
  LevelBuilder(const float* vectors, BuiltGraph& graph, uint32_t at, const GraphSettings& settings);
  ~LevelBuilder();

  // Nodes that stand in higher levels come first, as if each had been inserted into all of its levels at once: the
  // first ones are linked over long distances, and keep these links, without which far clusters are not found. The
  // others find theirs by `near` if it is given, else by walks over what is linked so far.
  void link_all(const Progress& progress, NearRows* near);

  // Lists cut short may have left a node of level 0 without any link that leads to it: the nearest node that walks do
  // reach gets one, in its last place, and what stood there moves on to the new one.
  void reach_all();

 private:
  struct Scratch;
  using Back = std::vector<std::pair<uint32_t, uint32_t>>;  // links to be: to whom, from whom

  uint32_t* links_of(uint32_t node) { return level_.links.data() + size_t{level_.degree} * node; }
  const float* vector(uint32_t node) const { return vectors_ + size_t{graph_.dim} * level_.rows[node]; }
  float similarity(const float* a, const float* b) const { return kernels_.dot(a, b, graph_.dim); }

  std::vector<uint32_t> nodes_of(uint32_t highest) const;
  GraphView view(uint32_t highest);
  std::unique_ptr<Scratch> borrow();
  void give_back(std::unique_ptr<Scratch> one);
  void link(const GraphView& now, const uint32_t* nodes, uint32_t n, NearRows* near);
  void walk_for_candidates(const GraphView& now, uint32_t node, Scratch& scratch);
  void near_candidates(NearRows& near, uint32_t node, Scratch& scratch);
  void select(const std::vector<ScoredRow>& candidates, uint32_t most, std::vector<uint32_t>& kept) const;
  void link_back(const uint32_t* nodes, const std::vector<std::vector<uint32_t>>& chosen);
  void add_back(const Back& back, size_t first, size_t last, std::vector<ScoredRow>& candidates,
                std::vector<uint32_t>& kept);
  void follow(uint32_t start, std::vector<bool>& reached);
  uint32_t replace_last(uint32_t from, uint32_t to);

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

}  // namespace retrieval
