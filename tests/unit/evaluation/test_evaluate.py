from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from retrieval.errors import ConfigError, DataError
from retrieval.evaluation import (
    EvaluationConfig,
    evaluate_baselines,
    evaluate_vectors,
    hit_rate_and_ndcg,
)
from tests.corpora import engaged_corpus

CONFIG = EvaluationConfig(ks=(1, 3), slices=("user.country", "genres", "context.device", "price"), slice_values=2)


@pytest.fixture
def world(make_histories: Any) -> dict[str, Any]:
    histories = make_histories(
        [[0, 1, 2], [1, 2, 3], [3]], 6, context={"device": ["tv", "web", None, "tv", "tv", "tv", "tv"]}
    )
    random = np.random.default_rng(3)
    targets = np.array([2, 5, 6])
    return {
        "histories": histories,
        "targets": targets,
        "user_vectors": random.normal(size=(3, 4)).astype(np.float32),
        "item_vectors": random.normal(size=(6, 4)).astype(np.float32),
        "corpus": engaged_corpus(histories),
        "train_end": np.array([2, 5, 6]),
        "config": CONFIG,
        "users": pa.table({"country": ["de", "at", None]}),
        "items": pa.table(
            {"genres": [["a"], None, ["a", "b"], ["c"], [], []], "price": [1.0, 2.0, 3.0, None, 5.0, 6.0]}
        ),
    }


def test_of_several_vectors_a_user_the_nearest_counts(world: dict[str, Any]) -> None:
    random = np.random.default_rng(8)
    users = random.normal(size=(3, 2, 4)).astype(np.float32)
    users[:, 1] = -4 * users[:, 0]
    found = evaluate_vectors(**{**world, "user_vectors": users}).metrics
    scores = np.einsum("ted,nd->ten", users, world["item_vectors"])
    # one vector a user, and items, whose inner products are those maxima
    alone = evaluate_vectors(
        **{
            **world,
            "user_vectors": np.eye(3, dtype=np.float32),
            "item_vectors": scores.max(1).T.astype(np.float32),
        }
    ).metrics
    assert found == alone
    functions = {**world, "user_vectors": lambda rows: users[np.searchsorted(world["targets"], rows)]}
    assert evaluate_vectors(**functions).metrics == alone
    of_first = evaluate_vectors(**{**world, "user_vectors": np.ascontiguousarray(users[:, 0])}).metrics
    assert of_first != alone


def test_report_holds_model_baselines_and_slices(world: dict[str, Any]) -> None:
    report = evaluate_vectors(**world)
    assert (report.targets, report.candidates, report.unreachable) == (3, 4, 0)
    assert [scores.name for scores in report.baselines] == [
        *("popularity", "recent_popularity", "covisitation", "live_covisitation_and_popularity")
    ]
    assert set(report.metrics) == {
        f"{name}@{k}" for name in ("hr", "ndcg", "stratified_hr", "coverage", "gini", "popularity_bias") for k in (1, 3)
    } | {"mrr"}
    rows = {(row.column, row.value): row.targets for row in report.slices}
    assert rows[("user", "new")] == 1
    assert rows[("item", "new")] == 2
    assert rows[("history length", "0")] == 1
    assert rows[("user.country", "(missing)")] == 1
    assert rows[("item.genres", "a")] == 1
    assert rows[("item.genres", "c")] == 2
    assert rows[("context.device", "tv")] == 2
    assert sum(count for (column, _), count in rows.items() if column == "item.price") == 3
    again = json.loads(json.dumps(report.to_dict()))
    assert again["model"]["metrics"] == report.metrics
    console = Console(width=200)
    with console.capture() as shown:
        for table in report.tables():
            console.print(table)
    assert "covisitation" in shown.get()


def test_slices_average_to_the_whole(world: dict[str, Any]) -> None:
    report = evaluate_vectors(**world)
    for column in ("user", "item", "history length", "user.country"):
        rows = [row for row in report.slices if row.column == column]
        assert sum(row.targets for row in rows) == report.targets
        weighted = sum(row.targets * row.metrics["mrr"] for row in rows) / report.targets
        assert weighted == pytest.approx(report.metrics["mrr"])


def test_vectors_may_come_block_by_block(world: dict[str, Any]) -> None:
    whole = evaluate_vectors(**world)
    position = {int(row): place for place, row in enumerate(world["targets"])}
    vectors = world["user_vectors"]
    blocks = evaluate_vectors(**{**world, "user_vectors": lambda rows: vectors[[position[int(row)] for row in rows]]})
    assert blocks.metrics == whole.metrics


def test_the_quick_figure_is_the_full_one(world: dict[str, Any]) -> None:
    quick = {name: world[name] for name in ("histories", "targets", "user_vectors", "item_vectors", "corpus")}
    report = evaluate_vectors(**world)
    found = hit_rate_and_ndcg(**quick, k=3)
    assert found == {name: report.metrics[name] for name in ("hr@3", "ndcg@3", "mrr")}


def test_a_perfect_model_is_perfect(world: dict[str, Any]) -> None:
    vectors = np.eye(6, dtype=np.float32)
    wanted = world["histories"].items[world["targets"]]
    report = evaluate_vectors(**{**world, "user_vectors": vectors[wanted], "item_vectors": vectors})
    assert report.metrics["hr@1"] == report.metrics["mrr"] == 1.0


def test_many_targets_are_thinned_evenly(world: dict[str, Any]) -> None:
    config = CONFIG.model_copy(update={"max_targets": 2, "slices": ()})
    report = evaluate_vectors(**{**world, "config": config})
    assert (report.targets, report.available_targets) == (2, 3)


def test_baselines_alone(world: dict[str, Any]) -> None:
    names = ("histories", "targets", "corpus", "train_end", "config")
    report = evaluate_baselines(**{name: world[name] for name in names})
    assert report.model is None
    assert report.metrics == {}
    assert report.baselines == evaluate_vectors(**world).baselines
    assert len(report.tables()) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"item_vectors": np.zeros((5, 4), np.float32)}, DataError, "expected 6 item vectors"),
        ({"user_vectors": np.zeros((3, 5), np.float32)}, DataError, "differ in width"),
        ({"user_vectors": np.zeros((2, 4), np.float32)}, DataError, "2 user vectors for 3 targets"),
        ({"config": EvaluationConfig(slices=("colour",))}, ConfigError, r"'colour' does not exist.*user\.country"),
        ({"users": pa.table({"genres": [1, 2, 3]})}, ConfigError, "on several sides"),
    ],
)
def test_what_does_not_fit_is_refused(world: dict[str, Any], change: Any, error: Any, message: str) -> None:
    config = change.get("config", CONFIG.model_copy(update={"slices": ("genres",)}))
    with pytest.raises(error, match=message):
        evaluate_vectors(**{**world, **change, "config": config})
