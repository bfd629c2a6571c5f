#include "file/verify_index.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "graph/codes.h"
#include "runtime/errors.h"
#include "runtime/thread_pool.h"

namespace retrieval {
namespace {

constexpr uint32_t kCheckedAtOnce = 4096;  // rows; a multiple of a block's

std::string text(uint64_t number) { return std::to_string(number); }

void check_scales(const std::string& path, const GraphView& view) {
  for (uint32_t d = 0; d < view.stride; d++) {
    const float scale = view.scales[d];
    if (!std::isfinite(scale) || scale < 0 || (d >= view.dim && scale != 0)) {
      throw DamagedError(path + ": the scale of coordinate " + text(d) + " is impossible: damaged");
    }
  }
}

void check_level(const std::string& path, const GraphView& view, uint32_t l, unsigned threads) {
  const Level& level = view.level[l];
  std::atomic<uint64_t> wrong{level.count};
  ThreadPool::shared().run((level.count + kCheckedAtOnce - 1) / kCheckedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kCheckedAtOnce;
    const uint32_t last = std::min(level.count, first + kCheckedAtOnce);
    for (uint32_t node = first; node < last; node++) {
      const uint32_t* links = level.links + size_t{level.degree} * node;
      bool sound = true, ended = false;
      for (uint32_t j = 0; j < level.degree; j++) {
        ended = ended || links[j] == kNone;
        sound = sound && (ended ? links[j] == kNone : links[j] < level.count && links[j] != node);
      }
      if (l > 0) {
        const Level& lower = view.level[l - 1];
        sound = sound && level.below[node] < lower.count && (node == 0 || level.below[node - 1] < level.below[node]) &&
                std::memcmp(level.codes + size_t{view.stride} * node,
                            lower.codes + size_t{view.stride} * level.below[node], view.stride) == 0;
      }
      uint64_t seen = wrong.load();
      while (!sound && node < seen && !wrong.compare_exchange_weak(seen, node)) {
      }
    }
  });
  if (wrong.load() < level.count) {
    throw DamagedError(path + ": node " + text(wrong.load()) + " of level " + text(l) +
                       " has links or codes that are impossible: damaged");
  }
}

void check_leaves(const std::string& path, const GraphView& view) {
  const Leaves& leaves = view.leaves;
  bool sound = leaves.starts[0] == 0;
  for (uint32_t l = 0; l < leaves.count; l++) sound = sound && leaves.starts[l] <= leaves.starts[l + 1];
  const uint32_t count = view.levels > 0 ? view.level[0].count : 0;
  if (!sound || (leaves.count > 0 && leaves.starts[leaves.count] != count)) {
    throw DamagedError(path + ": its leaves do not cover the rows: damaged");
  }
}

void check_codes(const std::string& path, const GraphView& view, const float* vectors, unsigned threads) {
  if (view.levels == 0) return;
  const uint32_t count = view.level[0].count, stride = view.stride;
  std::atomic<bool> sound{true};
  ThreadPool::shared().run((count + kCheckedAtOnce - 1) / kCheckedAtOnce, threads, [&](size_t block) {
    const uint32_t first = static_cast<uint32_t>(block) * kCheckedAtOnce;
    const uint32_t n = std::min(count, first + kCheckedAtOnce) - first;
    const uint8_t* high = view.level[0].codes + size_t{stride} * first;
    const uint8_t* low = view.low_bytes + size_t{stride} * first;
    bool right = true;
    if (vectors != nullptr) {
      std::vector<uint8_t> planes(2 * size_t{stride} * n);
      encode(vectors + size_t{view.dim} * first, 0, n, view.dim, view.scales, planes.data(),
             planes.data() + size_t{stride} * n);
      right = std::memcmp(planes.data(), high, size_t{stride} * n) == 0 &&
              std::memcmp(planes.data() + size_t{stride} * n, low, size_t{stride} * n) == 0;
    } else {
      for (uint32_t row = 0; row < n; row++) {
        for (uint32_t d = view.dim; d < stride; d++) {
          right = right && high[size_t{stride} * row + d] == 128 && low[size_t{stride} * row + d] == 0;
        }
      }
    }
    if (view.leaves.blocks != nullptr) {
      std::vector<uint8_t> blocks(block_bytes(n, stride));
      into_blocks(high, n, stride, blocks.data());
      right = right && std::memcmp(blocks.data(), view.leaves.blocks + size_t{stride} * first, blocks.size()) == 0;
    }
    if (!right) sound = false;
  });
  if (!sound) throw DamagedError(path + ": its codes are not those of the vectors: damaged or swapped");
}

}  // namespace

void verify_view(const std::string& path, const GraphView& view, const float* vectors, unsigned threads) {
  check_scales(path, view);
  for (uint32_t l = 0; l < view.levels; l++) check_level(path, view, l, threads);
  check_leaves(path, view);
  check_codes(path, view, vectors, threads);
}

}  // namespace retrieval
