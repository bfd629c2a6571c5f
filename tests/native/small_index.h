// A small index of clustered vectors, its files in memory, and searches of every kind over it.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "build/build_graph.h"
#include "build/leaf_tuning.h"
#include "file/hnsw_file.h"
#include "file/index_file.h"
#include "file/write_index.h"
#include "graph/graph.h"
#include "search/searcher.h"

namespace retrieval {

constexpr uint32_t kEf = 40;

using Bytes = std::vector<uint8_t>;

inline Bytes read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Over what stands there: emptied first, a file may be flushed to the disk each time it is closed.
inline void write(const std::string& path, const Bytes& bytes) {
  if (!std::filesystem::exists(path)) std::ofstream(path, std::ios::binary);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::filesystem::resize_file(path, bytes.size());
}

inline std::string folder_of(const char* name) {
  const auto folder =
      std::filesystem::temp_directory_path() / (std::string(name) + std::to_string(std::random_device{}()));
  std::filesystem::create_directories(folder);
  return folder.string();
}

struct SmallIndex {
  uint32_t count, dim, m;
  bool leafy;
  std::vector<float> vectors;

  SmallIndex(uint32_t count, uint32_t dim, uint32_t m, bool leafy, uint64_t seed)
      : count(count), dim(dim), m(m), leafy(leafy) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> centres(size_t{8} * dim);
    for (float& x : centres) x = normal(random);
    for (uint32_t row = 0; row < count; row++) {
      const size_t start = vectors.size();
      double length = 0;
      for (uint32_t d = 0; d < dim; d++) {
        vectors.push_back(centres[size_t{row % 8} * dim + d] + normal(random) * 0.5f);
        length += vectors.back() * vectors.back();
      }
      for (uint32_t d = 0; d < dim; d++) vectors[start + d] /= static_cast<float>(std::sqrt(length));
      // Some rows are duplicates of earlier ones
      if (row >= 16 && row % 10 == 0) std::copy_n(vectors.data() + size_t{row % 3} * dim, dim, vectors.data() + start);
    }
  }

  void write_files(const std::string& native, const std::string& hnsw, unsigned threads) const {
    LeafOrder leaves;
    if (leafy) {
      // few rows have no leaves of their own accord: any parts of the rows, one of them empty, will do
      leaves.starts.push_back(0);
      leaves.centres.assign(vectors.begin(), vectors.begin() + dim);
      for (uint32_t end = 70; end < count + 70; end += 70) {
        leaves.centres.insert(leaves.centres.end(), vector(leaves.starts.back()), vector(leaves.starts.back()) + dim);
        leaves.starts.push_back(std::min(end, count));
      }
    }
    Graph graph = build_graph(vectors.data(), count, dim, leaves, {m, kEf, 1.1f, 1, threads}, {});
    write_hnsw(hnsw, graph.view(), m, vectors.data(), kEf);
    tune_leaves(graph, vectors.data(), kEf, 1, threads);
    if (leafy != (graph.rows_per_ef > 0)) throw std::logic_error("leaves where none were meant, or none");
    write_index(native, graph);
  }

  const float* vector(uint32_t row) const { return vectors.data() + size_t{dim} * row; }
};

// Searches of every plan: by leaves or walk, by scan, filtered, without some rows, with budgets, for more than all.
struct Searches {
  std::vector<uint64_t> half, few;
  std::vector<uint32_t> excluded;
  std::vector<Query> queries;

  explicit Searches(const SmallIndex& index) : half((index.count + 63) / 64), few(half.size()) {
    for (uint32_t row = 0; row < index.count; row += 2) half[row / 64] |= uint64_t{1} << (row % 64);
    for (uint32_t row = 0; row < index.count; row += 37) few[row / 64] |= uint64_t{1} << (row % 64);
    for (uint32_t row = 0; row < index.count; row += 11) excluded.push_back(row);
    for (uint32_t i = 0; i < 12; i++) {
      Query query;
      query.vector = index.vector(i * 7 % index.count);
      query.k = i == 6 ? 2 * index.count : 10;
      query.ef = kEf;
      if (i < 2 || i >= 8) query.only = index.leafy ? Plan::kLeaves : Plan::kWalk;
      if (i == 2 || i == 3 || i == 9) query.allowed = half.data();
      if (i == 4 || i == 10) query.allowed = few.data();
      if (query.allowed != nullptr) {
        for (size_t w = 0; w < half.size(); w++) {
          query.allowed_count += static_cast<uint32_t>(__builtin_popcountll(query.allowed[w]));
        }
      }
      if (i % 3 == 0) {
        query.excluded = excluded.data();
        query.excluded_count = static_cast<uint32_t>(excluded.size());
      }
      query.visit_budget = i == 5 || i == 11 ? 20 : 0;
      query.time_budget_us = i == 7 ? 1 : 0;
      queries.push_back(query);
    }
  }

  std::vector<Hits> run(Searcher& searcher, unsigned threads) const {
    std::vector<Hits> answers(queries.size());
    searcher.search(queries.data(), queries.size(), answers.data(), threads);
    return answers;
  }
};

}  // namespace retrieval
