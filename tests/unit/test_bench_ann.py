"""The comparison of ANN engines, on few vectors and with the engines that are always there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.bench.ann.__main__ import main
from tests.bench.ann.data import exact, learned, recall
from tests.bench.ann.summary import interpolated


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("ann")
    report = folder / "ann.json"
    chosen = ["--data", "2000", "--only", "hnswlib", "exact", "--filters", "--rounds", "1"]
    main([*chosen, "--work", str(folder), "--json", str(report)])
    return json.loads(report.read_text())["results"]  # type: ignore[no-any-return]


def test_sweeps_have_every_column_and_reach_the_neighbours(rows: list[dict[str, object]]) -> None:
    swept = [row for row in rows if row["kind"] == "sweep" and not row["filter"]]
    assert {(row["engine"], row["k"]) for row in swept} == {(e, k) for e in ("exact", "hnswlib") for k in (10, 100)}
    for row in swept:
        assert min(row[rate] for rate in ("qps", "qps_single", "open_ms", "build_s", "bytes_per_item")) >= 0
        assert row["engine"] == "hnswlib" or row["recall"] > 0.9999
    assert max(row["recall"] for row in swept if row["engine"] == "hnswlib") > 0.99
    assert not [row for row in rows if "failed" in row]


def test_filtered_search_of_exact_is_exact(rows: list[dict[str, object]]) -> None:
    filtered = [row for row in rows if row["kind"] == "sweep" and row["filter"] and row["engine"] == "exact"]
    assert len(filtered) == 12
    assert min(row["recall"] for row in filtered) > 0.9999


def test_the_summary_compares_with_hnswlib(rows: list[dict[str, object]]) -> None:
    summary = [row for row in rows if row["kind"] == "at recall" and not row["filter"]]
    assert {(row["k"], row["target"]) for row in summary} == {(10, 0.95), (10, 0.99), (100, 0.99)}
    assert {row["of_hnswlib"] for row in summary if row["engine"] == "hnswlib"} == {1.0}


def test_a_rate_lies_between_those_of_the_neighbouring_recalls() -> None:
    rows = [{"recall": r, "qps": q} for r, q in ((0.90, 1000.0), (0.95, 50.0), (0.96, 400.0), (1.0, 100.0))]
    assert interpolated(rows, 0.98, "qps") == pytest.approx(200.0)
    assert interpolated(rows, 0.5, "qps") == 1000.0
    assert interpolated(rows[:2], 0.99, "qps") is None


def test_recall_counts_each_true_neighbour_once() -> None:
    truth = np.array([[1, 2, 3, -1], [4, 5, -1, -1]])
    assert recall(np.array([[1, 1, 1, 9], [4, 5, -1, -1]]), truth, 4) == pytest.approx((1 / 3 + 1) / 2)


def test_made_vectors_have_length_one_and_exact_finds_the_best() -> None:
    vectors, queries = learned(500, dim=8, queries=70)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(500), abs=1e-5)
    scores = queries @ vectors.T
    assert (exact(vectors, queries, 1)[:, 0] == scores.argmax(axis=1)).all()
