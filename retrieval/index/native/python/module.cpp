// retrieval.index._native: the search core for Python. Arrays come in and go out as numpy's; no search
// or check holds the GIL while it works. Shapes and types are checked here, what is in them by the callers
// (see _native.pyi).
#include "python/module.h"

#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "build/build_graph.h"
#include "build/clustering.h"
#include "build/leaf_tuning.h"
#include "file/hnsw_file.h"
#include "file/index_file.h"
#include "file/write_index.h"
#include "graph/graph.h"
#include "kernels/kernels.h"
#include "runtime/errors.h"
#include "runtime/thread_pool.h"
#include "search/exact_search.h"
#include "search/searcher.h"

using namespace nanobind::literals;
using namespace retrieval;

namespace {

unsigned threads_of(unsigned asked) { return asked == 0 ? ThreadPool::cores() : asked; }

// The queries of a batch, as retrieval.index.query.RowQuery lays each out, and what keeps their arrays alive.
class Batch {
 public:
  Batch(const Matrix<float>& vectors, const nb::sequence& row_queries, uint32_t count, uint32_t dim, Plan only)
      : vectors_(vectors), count_(count) {
    require(vectors.shape(1) == dim, "vectors of queries are of another dimension than the index");
    require(nb::len(row_queries) == vectors.shape(0), "as many vectors as queries are needed");
    queries.reserve(vectors.shape(0));
    for (const nb::handle given : row_queries) {
      Query& query = queries.emplace_back();
      query.vector = vectors_.data() + (queries.size() - 1) * dim;
      query.only = only;
      require(nb::isinstance<nb::tuple>(given) && nb::len(given) == 6, "a query is not a RowQuery");
      read(nb::borrow<nb::tuple>(given), query);
    }
  }

  std::vector<Query> queries;

 private:
  void read(const nb::tuple& given, Query& query) {
    require(nb::try_cast(given[0], query.k) && nb::try_cast(given[1], query.ef), "k or ef of a query is out of range");
    if (!given[2].is_none()) read_allowed(given[2], query);
    Vector<uint32_t> excluded;
    require(nb::try_cast(given[3], excluded, false), "excluded rows are not a uint32 array");
    for (size_t i = 0; i < excluded.shape(0); i++) require(excluded(i) < count_, "an excluded row is out of range");
    query.excluded = excluded.data();
    query.excluded_count = static_cast<uint32_t>(excluded.shape(0));
    if (query.excluded_count > 0) excluded_.push_back(std::move(excluded));
    require(nb::try_cast(given[4], query.visit_budget) && nb::try_cast(given[5], query.time_budget_us),
            "a budget of a query is out of range");
  }

  void read_allowed(const nb::handle& allowed, Query& query) {
    Vector<uint64_t> bits;
    require(nb::try_cast(allowed.attr("bits"), bits, false), "a bit set is not a uint64 array");
    require(nb::try_cast(allowed.attr("count"), query.allowed_count), "a count of allowed rows is out of range");
    const size_t words = (size_t{count_} + 63) / 64;
    require(bits.shape(0) == words, "a bit set has another length than the index");
    const bool beyond = count_ % 64 != 0 && bits(words - 1) >> (count_ % 64) != 0;
    require(!beyond, "a bit set has bits beyond the index");
    query.allowed = bits.data();
    allowed_.push_back(std::move(bits));
  }

  const Matrix<float> vectors_;
  const uint32_t count_;
  std::vector<Vector<uint64_t>> allowed_;
  std::vector<Vector<uint32_t>> excluded_;
};

// Columns over the hits of all queries: arrays of what there is much of, lists of what there is one of for each.
nb::tuple found(const std::vector<Hits>& hits) {
  size_t total = 0;
  for (const Hits& one : hits) total += one.rows.size();
  std::vector<int64_t> rows;
  std::vector<float> scores;
  rows.reserve(total);
  scores.reserve(total);
  nb::list counts, truncated, plans, visits;
  for (const Hits& one : hits) {
    rows.insert(rows.end(), one.rows.begin(), one.rows.end());
    scores.insert(scores.end(), one.scores.begin(), one.scores.end());
    counts.append(one.rows.size());
    truncated.append(one.truncated);
    plans.append(static_cast<unsigned>(one.plan));
    visits.append(one.visits);
  }
  return nb::make_tuple(owned(std::move(rows)), owned(std::move(scores)), counts, truncated, plans, visits);
}

class Index {
 public:
  explicit Index(const std::string& path) : file_(path), searcher_(file_.view(), kernels()) {}

  uint32_t count() const { return file_.view().levels > 0 ? file_.view().level[0].count : 0; }
  uint32_t dim() const { return file_.view().dim; }
  uint32_t m() const { return file_.m(); }
  size_t bytes() const { return file_.bytes(); }

  void verify(std::optional<Matrix<float>> vectors, unsigned threads) const {
    if (vectors) require(vectors->shape(0) == count() && vectors->shape(1) == dim(), "vectors of another shape");
    const float* const data = vectors ? vectors->data() : nullptr;
    const nb::gil_scoped_release free;
    file_.verify(data, threads_of(threads));
  }

  void calibrate(uint32_t ef) {
    const nb::gil_scoped_release free;
    searcher_.calibrate(ef);
  }

  nb::tuple leaves() const {
    const Leaves& leaves = file_.view().leaves;
    return nb::make_tuple(leaves.count, leaves.rows_per_ef);
  }

  nb::tuple costs() const {
    const Costs costs = searcher_.costs();
    return nb::make_tuple(costs.expand_node, costs.scan_row, costs.gather_row, costs.rank_leaf, costs.leaf_row);
  }

  nb::tuple search(const Matrix<float>& vectors, const nb::sequence& queries, unsigned threads, bool no_scan) {
    const Plan way = file_.view().leaves.count > 0 ? Plan::kLeaves : Plan::kWalk;
    const Batch batch(vectors, queries, count(), dim(), no_scan ? way : Plan::kNothing);
    std::vector<Hits> hits(batch.queries.size());
    {
      const nb::gil_scoped_release free;
      searcher_.search(batch.queries.data(), batch.queries.size(), hits.data(), threads_of(threads));
    }
    return found(hits);
  }

 private:
  IndexFile file_;
  Searcher searcher_;
};

nb::tuple search_vectors(const Matrix<float>& rows, const Matrix<float>& vectors, const nb::sequence& queries,
                         unsigned threads) {
  require(rows.shape(0) <= kMaxRows && rows.shape(1) >= 1, "too many vectors, or none of a dimension");
  const uint32_t count = static_cast<uint32_t>(rows.shape(0)), dim = static_cast<uint32_t>(rows.shape(1));
  const Batch batch(vectors, queries, count, dim, Plan::kNothing);
  std::vector<Hits> hits(batch.queries.size());
  {
    const nb::gil_scoped_release free;
    search_exactly(rows.data(), count, dim, batch.queries.data(), batch.queries.size(), hits.data(),
                   threads_of(threads), kernels());
  }
  return found(hits);
}

// Order of the rows, starts of the leaves, their centres.
nb::tuple arranged(Matrix<float> vectors, uint64_t seed, unsigned threads) {
  require(vectors.shape(0) <= kMaxRows && vectors.shape(1) >= 1, "too many vectors, or none of a dimension");
  const uint32_t count = static_cast<uint32_t>(vectors.shape(0)), dim = static_cast<uint32_t>(vectors.shape(1));
  Arrangement made;
  {
    const nb::gil_scoped_release free;
    made = arrange(vectors.data(), count, dim, seed, threads_of(threads));
  }
  return nb::make_tuple(owned(std::move(made.order)), owned(std::move(made.starts)), owned(std::move(made.centres)));
}

// The leaves that `starts` and `centres` are of. Throws where they don't fit vectors [count * dim].
LeafOrder leaf_order(const Vector<uint32_t>& starts, const Vector<float>& centres, uint32_t count, uint32_t dim) {
  const size_t leaves = starts.shape(0) - std::min<size_t>(1, starts.shape(0));
  require(centres.shape(0) == leaves * dim && leaves <= count, "centres of another number of leaves than their starts");
  require(leaves == 0 || (starts(0) == 0 && starts(leaves) == count), "leaves that don't cover the vectors");
  for (size_t l = 0; l < leaves; l++) require(starts(l) <= starts(l + 1), "leaves that are out of order");
  LeafOrder order;
  if (leaves > 0) order.starts.assign(starts.data(), starts.data() + starts.shape(0));
  order.centres.assign(centres.data(), centres.data() + centres.shape(0));
  return order;
}

void write_leaves(Matrix<float> vectors, const std::string& index_path, uint32_t m, unsigned threads,
                  Vector<uint32_t> starts, Vector<float> centres, uint32_t rows_per_ef) {
  require(vectors.shape(0) <= kMaxRows, "too many vectors for one index");
  require(vectors.shape(1) >= 1 && vectors.shape(1) <= 65536, "vectors of an impossible dimension");
  require(m >= 2 && m <= 256 && rows_per_ef >= 1 && rows_per_ef < (1u << 20), "m or rows_per_ef out of range");
  const uint32_t count = static_cast<uint32_t>(vectors.shape(0)), dim = static_cast<uint32_t>(vectors.shape(1));
  const LeafOrder order = leaf_order(starts, centres, count, dim);
  require(order.starts.size() > 1, "no leaves");
  const float* const data = vectors.data();
  const nb::gil_scoped_release free;
  write_index(index_path, graph_of_leaves(data, count, dim, m, order, rows_per_ef, threads_of(threads)));
}

void build(Matrix<float> vectors, const std::string& index_path, const std::string& hnsw_path, uint32_t m,
           uint32_t ef_construction, float alpha, uint64_t seed, unsigned threads, Vector<uint32_t> starts,
           Vector<float> centres, uint32_t ef_search, std::optional<nb::callable> progress) {
  require(vectors.shape(0) <= kMaxRows, "too many vectors for one index");
  require(m >= 2 && m <= 256 && ef_construction >= 1 && ef_construction < (1u << 20) && alpha >= 1.0f && alpha <= 4.0f,
          "m, ef_construction or alpha out of range");
  const uint32_t count = static_cast<uint32_t>(vectors.shape(0)), dim = static_cast<uint32_t>(vectors.shape(1));
  require(dim >= 1 && dim <= 65536, "vectors of an impossible dimension");
  const LeafOrder order = leaf_order(starts, centres, count, dim);
  const BuildSettings settings{m, ef_construction, alpha, seed, threads_of(threads)};
  const float* const data = vectors.data();
  const nb::gil_scoped_release free;
  const Progress report = [&progress](uint32_t done) {
    const nb::gil_scoped_acquire held;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (progress) (*progress)(done);
  };
  Graph graph = build_graph(data, count, dim, order, settings, report);
  tune_leaves(graph, data, ef_search, seed, settings.threads);
  write_index(index_path, graph);
  write_hnsw(hnsw_path, graph.view(), graph.m, data, ef_construction);
}

}  // namespace

NB_MODULE(_native, module) {
  nb::exception<DamagedError>(module, "DamagedError", PyExc_ValueError);
  nb::exception<UnreachableError>(module, "UnreachableError", PyExc_OSError);

  module.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const char* name : {"avx512", "avx2", "portable"}) {
      if (kernels_named(name) != nullptr) names.emplace_back(name);
    }
    return names;
  });
  module.def("build", &build, "vectors"_a, "index_path"_a, "hnsw_path"_a, nb::kw_only(), "m"_a, "ef_construction"_a,
             "alpha"_a, "seed"_a, "threads"_a, "starts"_a, "centres"_a, "ef_search"_a, "progress"_a = nb::none());
  module.def("write_leaves", &write_leaves, "vectors"_a, "index_path"_a, nb::kw_only(), "m"_a, "threads"_a, "starts"_a,
             "centres"_a, "rows_per_ef"_a);
  module.def("arrange", &arranged, "vectors"_a, nb::kw_only(), "seed"_a, "threads"_a);
  module.def("search_vectors", &search_vectors, "rows"_a, "vectors"_a, "queries"_a, nb::kw_only(), "threads"_a);
  bind_item_ids(module);
  nb::class_<Index>(module, "Index")
      .def(nb::init<const std::string&>(), "path"_a)
      .def_prop_ro("count", &Index::count)
      .def_prop_ro("dim", &Index::dim)
      .def_prop_ro("m", &Index::m)
      .def_prop_ro("bytes", &Index::bytes)
      .def("verify", &Index::verify, "vectors"_a.none(), nb::kw_only(), "threads"_a)
      .def("calibrate", &Index::calibrate, "ef"_a)
      .def_prop_ro("costs", &Index::costs)
      .def_prop_ro("leaves", &Index::leaves)
      .def("search", &Index::search, "vectors"_a, "queries"_a, nb::kw_only(), "threads"_a = 1, "no_scan"_a = false);
}
