"""ANN engines beside each other: the same vectors and queries, one thread, one run.

    pip install -e '.[bench]'
    python -m tests.bench.ann --data 200k --filters --json ann.json

`--data` is 200k, 1m, a number of vectors (clustered, 64 wide, see `data.learned`), or `globo` (those of trained
towers, out of `--work`); `--only hnswlib faiss` leaves other engines out. Indexes are built with two threads. They and
the exact neighbours stay in `--work`, where the next run finds them; a build that is found keeps its `build_s`.

Every engine is built, weighed and swept in processes of its own; an engine that isn't installed is left out, with a
line that says so, and one that fails has a row with `failed`. In each of `--rounds` rounds all engines are swept one
after the other, from the fastest search to the most thorough, up to recall .999: the best round of each row counts.
`--clock cpu` counts processor time instead of the clock's, for a shared machine.

Rows of kind `sweep`, one for each engine, settings, k and effort:
  effort            ef, or what an engine has for it (ScaNN: leaves/candidates scored again)
  recall            of the exact k nearest by inner product
  qps, qps_single   queries/s on one thread: all queries in one call, and one query a call
  build_s           seconds of building with two threads, without saving
  open_ms           loading the saved index, its files in the page cache
  bytes_per_item    growth of a fresh process's resident memory that opens the index and answers all queries, over N;
                    private_per_item is anonymous memory, shared_per_item pages of mapped files
  filter            with --filters: share of the vectors allowed and where they lie (at random; in the clusters nearest
                    to the query; in those farthest from it), largest k only, 20 groups of queries with a bitmap each,
                    one call a group, what a bitmap is turned into beforehand not counted; engines without filters
                    have no such rows. Slow ones answer at least `queries` = 20 and stop after 2 s.

Rows of kind `at recall`: queries/s at a recall, log-linear between the neighbouring efforts of an engine's best; "–"
where it never gets there; `of_hnswlib` and `of_best_peer` are ratios, the latter to the best of all that are neither
exact nor this project's own.
"""
