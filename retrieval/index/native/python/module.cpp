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
#include "graph/graph.h"
#include "kernels/kernels.h"
#include "runtime/errors.h"
#include "runtime/thread_pool.h"
#include "search/exact_search.h"
#include "search/searcher.h"

using namespace nanobind::literals;
using namespace retrieval;

namespace {

using Bits = std::vector<std::optional<Vector<uint64_t>>>;
template <class T>
using Column = std::optional<Vector<T>>;  // one number for each query, or none at all

unsigned threads_of(unsigned asked) { return asked == 0 ? ThreadPool::cores() : asked; }

// The terms of a batch, column by column.
struct Batch {
  Matrix<float> queries;
  Vector<uint32_t> k, effort;
  Bits allowed;
  Column<uint32_t> allowed_count;   // bits of each set; counted here where not given
  Vector<uint32_t> excluded;        // rows of all queries, one after another
  Vector<uint64_t> excluded_until;  // where each query's end
  Column<uint64_t> visits;          // 0: no limit
  Column<int64_t> time_ns;
  Plan only;

  static uint32_t bits_of(const uint64_t* set, size_t words) {
    uint32_t found = 0;
    for (size_t w = 0; w < words; w++) found += static_cast<uint32_t>(__builtin_popcountll(set[w]));
    return found;
  }

  std::vector<Ask> asks(uint32_t count, uint32_t dim) const {
    const size_t n = queries.shape(0);
    require(queries.shape(1) == dim, "queries are of another dimension than the index");
    require(k.shape(0) == n && effort.shape(0) == n && allowed.size() == n && excluded_until.shape(0) == n,
            "as many values of every parameter as queries are needed");
    require((!visits || visits->shape(0) == n) && (!time_ns || time_ns->shape(0) == n),
            "as many budgets as queries are needed");
    require(!allowed_count || allowed_count->shape(0) == n, "as many counts of allowed rows as queries are needed");
    const size_t words = (size_t{count} + 63) / 64;
    for (size_t i = 0; i < excluded.shape(0); i++) require(excluded(i) < count, "an excluded row is out of range");
    std::vector<Ask> made(n);
    uint64_t begin = 0;
    for (size_t i = 0; i < n; i++) {
      Ask& ask = made[i];
      ask.query = queries.data() + i * dim;
      ask.k = k(i);
      ask.effort = effort(i);
      if (allowed[i].has_value()) {
        require(allowed[i]->shape(0) == words, "a bit set has another length than the index");
        ask.allowed = allowed[i]->data();
        ask.allowed_count = allowed_count ? (*allowed_count)(i) : bits_of(ask.allowed, words);
        const bool beyond = count % 64 != 0 && ask.allowed[words - 1] >> (count % 64) != 0;
        require(!beyond, "a bit set has bits beyond the index");
      }
      require(excluded_until(i) >= begin && excluded_until(i) <= excluded.shape(0),
              "ends of excluded rows out of order");
      ask.excluded = excluded.data() + begin;
      ask.excluded_count = static_cast<uint32_t>(excluded_until(i) - begin);
      begin = excluded_until(i);
      ask.visits = visits ? (*visits)(i) : 0;
      ask.time_ns = time_ns ? (*time_ns)(i) : 0;
      require(ask.time_ns >= 0, "a budget of time is negative");
      ask.only = only;
    }
    return made;
  }
};

nb::tuple answered(const std::vector<Answer>& answers) {
  std::vector<int64_t> rows;
  std::vector<float> scores;
  std::vector<int64_t> counts;
  std::vector<uint8_t> truncated, plans;
  std::vector<uint64_t> visits;
  for (const Answer& one : answers) {
    rows.insert(rows.end(), one.rows.begin(), one.rows.end());
    scores.insert(scores.end(), one.scores.begin(), one.scores.end());
    counts.push_back(static_cast<int64_t>(one.rows.size()));
    truncated.push_back(one.truncated);
    plans.push_back(static_cast<uint8_t>(one.plan));
    visits.push_back(one.visits);
  }
  return nb::make_tuple(owned(std::move(rows)), owned(std::move(scores)), owned(std::move(counts)),
                        owned(std::move(truncated)), owned(std::move(plans)), owned(std::move(visits)));
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

  void calibrate(uint32_t effort) {
    const nb::gil_scoped_release free;
    searcher_.calibrate(effort);
  }

  nb::tuple leaves() const {
    const Leaves& leaves = file_.view().leaves;
    return nb::make_tuple(leaves.count, leaves.rows_per_effort);
  }

  nb::tuple costs() const {
    const Costs costs = searcher_.costs();
    return nb::make_tuple(costs.expand_node, costs.scan_row, costs.gather_row, costs.rank_leaf, costs.leaf_row);
  }

  nb::tuple search(Matrix<float> queries, Vector<uint32_t> k, Vector<uint32_t> effort, Bits allowed,
                   Vector<uint32_t> excluded, Vector<uint64_t> excluded_until, Column<uint32_t> allowed_count,
                   Column<uint64_t> visits, Column<int64_t> time_ns, unsigned threads, bool no_scan) {
    const Plan way = file_.view().leaves.count > 0 ? Plan::kLeaves : Plan::kWalk;
    const Batch batch{queries,        k,
                      effort,         std::move(allowed),
                      allowed_count,  excluded,
                      excluded_until, visits,
                      time_ns,        no_scan ? way : Plan::kNothing};
    const std::vector<Ask> asks = batch.asks(count(), dim());
    std::vector<Answer> answers(asks.size());
    {
      const nb::gil_scoped_release free;
      searcher_.search(asks.data(), asks.size(), answers.data(), threads_of(threads));
    }
    return answered(answers);
  }

 private:
  IndexFile file_;
  Searcher searcher_;
};

nb::tuple search_vectors(Matrix<float> vectors, Matrix<float> queries, Vector<uint32_t> k, Bits allowed,
                         Vector<uint32_t> excluded, Vector<uint64_t> excluded_until, Column<uint32_t> allowed_count,
                         Column<uint64_t> visits, Column<int64_t> time_ns, unsigned threads) {
  require(vectors.shape(0) <= kMaxRows && vectors.shape(1) >= 1, "too many vectors, or none of a dimension");
  const Batch batch{queries,        k,      k,       std::move(allowed), allowed_count, excluded,
                    excluded_until, visits, time_ns, Plan::kNothing};
  const uint32_t count = static_cast<uint32_t>(vectors.shape(0)), dim = static_cast<uint32_t>(vectors.shape(1));
  const std::vector<Ask> asks = batch.asks(count, dim);
  std::vector<Answer> answers(asks.size());
  {
    const nb::gil_scoped_release free;
    search_exactly(vectors.data(), count, dim, asks.data(), asks.size(), answers.data(), threads_of(threads),
                   kernels());
  }
  return answered(answers);
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

void build(Matrix<float> vectors, const std::string& index_path, const std::string& hnsw_path, uint32_t m,
           uint32_t effort, float alpha, uint64_t seed, unsigned threads, Vector<uint32_t> starts,
           Vector<float> centres, uint32_t search_effort, std::optional<nb::callable> progress) {
  require(vectors.shape(0) <= kMaxRows, "too many vectors for one index");
  require(m >= 2 && m <= 256 && effort >= 1 && effort < (1u << 20) && alpha >= 1.0f && alpha <= 4.0f,
          "m, effort or alpha out of range");
  const uint32_t count = static_cast<uint32_t>(vectors.shape(0)), dim = static_cast<uint32_t>(vectors.shape(1));
  require(dim >= 1 && dim <= 65536, "vectors of an impossible dimension");
  const size_t leaves = starts.shape(0) - std::min<size_t>(1, starts.shape(0));
  require(centres.shape(0) == leaves * dim && leaves <= count, "centres of another number of leaves than their starts");
  require(leaves == 0 || (starts(0) == 0 && starts(leaves) == count), "leaves that don't cover the vectors");
  for (size_t l = 0; l < leaves; l++) require(starts(l) <= starts(l + 1), "leaves that are out of order");
  LeafOrder order;
  if (leaves > 0) order.starts.assign(starts.data(), starts.data() + starts.shape(0));
  order.centres.assign(centres.data(), centres.data() + centres.shape(0));
  const BuildSettings settings{m, effort, alpha, seed, threads_of(threads)};
  const float* const data = vectors.data();
  const nb::gil_scoped_release free;
  const Progress report = [&progress](uint32_t done) {
    const nb::gil_scoped_acquire held;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (progress) (*progress)(done);
  };
  Graph graph = build_graph(data, count, dim, order, settings, report);
  tune_leaves(graph, data, search_effort, seed, settings.threads);
  write_index(index_path, graph);
  write_hnsw(hnsw_path, graph.view(), graph.m, data, effort);
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
  module.def("build", &build, "vectors"_a, "index_path"_a, "hnsw_path"_a, nb::kw_only(), "m"_a, "effort"_a, "alpha"_a,
             "seed"_a, "threads"_a, "starts"_a, "centres"_a, "search_effort"_a, "progress"_a = nb::none());
  module.def("arrange", &arranged, "vectors"_a, nb::kw_only(), "seed"_a, "threads"_a);
  module.def("search_vectors", &search_vectors, "vectors"_a, "queries"_a, "k"_a, "allowed"_a, "excluded"_a,
             "excluded_until"_a, nb::kw_only(), "allowed_count"_a = nb::none(), "visits"_a = nb::none(),
             "time_ns"_a = nb::none(), "threads"_a);
  bind_item_ids(module);
  nb::class_<Index>(module, "Index")
      .def(nb::init<const std::string&>(), "path"_a)
      .def_prop_ro("count", &Index::count)
      .def_prop_ro("dim", &Index::dim)
      .def_prop_ro("m", &Index::m)
      .def_prop_ro("bytes", &Index::bytes)
      .def("verify", &Index::verify, "vectors"_a.none(), nb::kw_only(), "threads"_a)
      .def("calibrate", &Index::calibrate, "effort"_a)
      .def_prop_ro("costs", &Index::costs)
      .def_prop_ro("leaves", &Index::leaves)
      .def("search", &Index::search, "queries"_a, "k"_a, "effort"_a, "allowed"_a, "excluded"_a, "excluded_until"_a,
           nb::kw_only(), "allowed_count"_a = nb::none(), "visits"_a = nb::none(), "time_ns"_a = nb::none(),
           "threads"_a = 1, "no_scan"_a = false);
}
