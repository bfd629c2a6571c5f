"""Rows of comparisons of the quality bench, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.quality.comparisons import COMPARED, mean_comparisons, with_intervals


def row(baseline: str, cut: str, seed: int, middle: float, distance: float) -> dict[str, Any]:
    figures = {
        f"{name}_{part}": middle + sign * distance
        for name in COMPARED.values()
        for part, sign in (("difference", 0), ("low", -1), ("high", 1))
    }
    named = {"kind": "comparison", "dataset": "d", "track": "t", "recipe": "r", "targets": 10}
    return {**named, "baseline": baseline, "cut": cut, "seed": seed, **figures}


def test_bounds_are_means_over_seeds_and_combined_over_cuts() -> None:
    rows = [row("popular", cut, seed, 0.1 * seed, 0.03) for cut in ("early", "late") for seed in (1, 3)]
    early, late, every = mean_comparisons([*rows, {"kind": "model"}])
    assert (early["cut"], late["cut"], every["cut"]) == ("early", "late", "all cuts")
    assert {one["kind"] for one in (early, late, every)} == {"comparison mean"}
    assert early["HR@10_difference"] == pytest.approx(0.2)
    assert (early["HR@10_low"], early["HR@10_high"]) == pytest.approx((0.17, 0.23))
    assert every["NDCG@10_difference"] == pytest.approx(0.2)
    assert every["HR@100_low"] == pytest.approx(0.2 - 0.03 / 2**0.5, abs=1e-5)
    assert every["seed"] == 4


def test_differences_are_shown_with_their_bounds() -> None:
    shown = with_intervals(row("popular", "", 1, 0.01, 0.02))
    assert shown["ΔHR@10"] == "+0.0100 [-0.0100, +0.0300]"
    assert "ΔHR@10" not in with_intervals({"kind": "served", "HR@10": 0.5, "HR@10_difference": 0.1})
