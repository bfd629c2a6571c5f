// Quantised scans of random rows, with each instruction set: what the list keeps are the best of the rows that may be
// answered, k of them or as many as the margin lets in, whatever order they come in, and however many are equal.
//
//   scanned_rows [rounds] [seed]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#include "graph/codes.h"
#include "kernels/kernels.h"
#include "runtime/aligned.h"
#include "search/search_scratch.h"

using namespace retrieval;

namespace {

struct Case {
  uint32_t count, stride, k, max_size;
  int32_t margin;
  AlignedVector<uint8_t> codes, blocks;
  AlignedVector<int8_t> query;
  std::vector<uint64_t> allowed;

  Case(std::mt19937_64& random) {
    const auto below = [&random](uint64_t n) { return static_cast<uint32_t>(random() % n); };
    count = 1 + below(below(2) == 0 ? 100 : 6000);
    stride = 64 * (1 + below(3));
    k = 1 + below(below(2) == 0 ? 20 : 400);
    max_size = k + below(3) * k;
    margin = below(2) == 0 ? 0 : static_cast<int32_t>(below(4000));
    const uint32_t values = below(2) == 0 ? 256 : 2;  // few make many rows equal
    codes.resize(size_t{count} * stride, 128);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(128 - values / 2 + below(values));
    if (values == 2) {
      for (size_t i = 0; i < codes.size(); i++) codes[i] = i % stride < 6 ? codes[i] : 128;
    }
    query.resize(stride);
    for (int8_t& code : query) code = static_cast<int8_t>(below(255));
    blocks.resize(block_bytes(count, stride));
    into_blocks(codes.data(), count, stride, blocks.data());
    allowed.resize((size_t{count} + 63) / 64);
    const uint32_t one_in = 1 + below(2) * below(40);
    for (uint32_t row = 0; row < count; row++) {
      if (below(one_in) == 0) allowed[row / 64] |= uint64_t{1} << (row % 64);
    }
  }

  int32_t score(uint32_t row) const {
    int32_t sum = 0;
    for (uint32_t d = 0; d < stride; d++) sum += int32_t{codes[size_t{stride} * row + d]} * query[d];
    return sum;
  }
};

bool right(const Case& one, const CodedRows& rows, const Kernels& kernels, const std::vector<int32_t>& best,
           uint32_t begin, uint32_t end) {
  TopListMemory memory;
  TopList top = memory.begin(one.k, one.margin, one.max_size);
  QueryCode query;
  query.code = one.query.data();
  kernels.scan(rows, one.stride, query, Eligible{one.allowed.data(), nullptr}, begin, end, top);
  kernels.trim(top);
  std::vector<uint32_t> found(top.rows, top.rows + top.size);
  std::sort(found.begin(), found.end());
  if (std::adjacent_find(found.begin(), found.end()) != found.end()) return false;
  std::vector<int32_t> scores(top.scores, top.scores + top.size);
  for (uint32_t i = 0; i < top.size; i++) {
    const uint32_t row = top.rows[i];
    if (row < begin || row >= end || !Eligible{one.allowed.data(), nullptr}(row) || one.score(row) != scores[i])
      return false;
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  if (scores.size() > best.size() || !std::equal(scores.begin(), scores.end(), best.begin())) return false;
  if (scores.size() < std::min<size_t>(one.k, best.size())) return false;
  if (scores.size() == best.size() || scores.size() >= one.max_size) return true;
  return best[scores.size()] < best[one.k - 1] - one.margin;  // the best that was left out
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300;
  std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  uint64_t tried = 0;
  for (uint64_t i = 0; i < rounds; i++) {
    const Case one(random);
    const uint32_t begin = static_cast<uint32_t>(random() % 2 * (random() % one.count));
    std::vector<int32_t> best;
    for (uint32_t row = begin; row < one.count; row++) {
      if (Eligible{one.allowed.data(), nullptr}(row)) best.push_back(one.score(row));
    }
    std::sort(best.begin(), best.end(), std::greater<>());
    for (const char* name : {"avx512", "avx2", "portable"}) {
      const Kernels* const kernels = kernels_named(name);
      if (kernels == nullptr) continue;
      const CodedRows ways[] = {
          {one.codes.data(), nullptr}, {nullptr, one.blocks.data()}, {one.codes.data(), one.blocks.data()}};
      for (const CodedRows& rows : ways) {
        tried++;
        if (right(one, rows, *kernels, best, begin, one.count)) continue;
        std::fprintf(stderr, "%s keeps other rows than the best: round %llu\n", name,
                     static_cast<unsigned long long>(i));
        return 1;
      }
    }
  }
  std::printf("tried %llu\n", static_cast<unsigned long long>(tried));
  return 0;
}
