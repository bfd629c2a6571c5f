// What one search works with; part of Searcher, for the files that it is written in.
#pragma once

#include <algorithm>
#include <vector>

#include "search/best_first.h"
#include "search/searcher.h"
#include "search/walk_memory.h"

namespace retrieval {

// The memory of sifting, one time after another.
class KeptMemory {
 public:
  // Empty: for the best `wanted`, and up to `most` of those that are worse by no more than `margin`.
  Kept begin(uint32_t wanted, int32_t margin = 0, uint32_t most = 0) {
    Kept kept;
    kept.wanted = wanted;
    kept.margin = margin;
    kept.most = std::max(wanted, most);
    kept.room = 3 * kept.most + 1024;
    if (rows_.size() < kept.room) {
      scores_.resize(kept.room);
      rows_.resize(kept.room);
    }
    kept.scores = scores_.data();
    kept.rows = rows_.data();
    return kept;
  }

 private:
  std::vector<int32_t> scores_;
  std::vector<uint32_t> rows_;
};

struct Searcher::Scratch {
  WalkMemory walk;
  KeptMemory kept, kept_leaves;
  std::vector<uint64_t> excluded;
  std::vector<uint32_t> rows;
  std::vector<float> scores;
  std::vector<ScoredRow> found, ranked;
  BestFirst best_first;

  Scratch(uint32_t count, uint32_t stride) : walk(count, stride), excluded((size_t{count} + 63) / 64) {}
};

// Scratch of this searcher for as long as one query takes: there are as many as queries at a time, not as threads.
class Searcher::Borrowed {
 public:
  explicit Borrowed(Searcher& owner) : owner_(owner) {
    {
      const std::lock_guard<std::mutex> lock(owner_.mutex_);
      if (!owner_.idle_.empty()) {
        one_ = std::move(owner_.idle_.back());
        owner_.idle_.pop_back();
      }
    }
    if (one_ == nullptr) one_ = std::make_unique<Scratch>(owner_.count_, owner_.view_.stride);
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  ~Borrowed() {
    const std::lock_guard<std::mutex> lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(one_));
  }
  Scratch& operator*() { return *one_; }

 private:
  Searcher& owner_;
  std::unique_ptr<Scratch> one_;
};

}  // namespace retrieval
