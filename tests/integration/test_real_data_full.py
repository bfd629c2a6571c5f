"""The real data at full size with the settings shipped (`make test-slow`): quality, and the same over gRPC."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.whole_path import PATIENT, asked, exact_hit_rate, make, retrieval, served_hit_rate, target_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

TOLERANCE = 0.005


def test_ml1m(shared_data: Path, tmp_path: Path) -> None:
    made = make(tmp_path, "movies", ["movielens", str(shared_data / "ml1m")], PATIENT)
    assert made.built["items"] == 3706
    assert made.trained["metrics"]["hr@10"] >= 0.25
    assert made.trained["metrics"]["ndcg@10"] >= 0.14
    rows = target_rows(made)
    assert len(rows) == 6040
    exact = exact_hit_rate(made, rows)
    assert exact == pytest.approx(made.trained["metrics"]["hr@10"], abs=0.001)
    with asked(made.root) as stub:
        assert served_hit_rate(stub, made.dataset(), rows) == pytest.approx(exact, abs=TOLERANCE)


def test_online_retail(shared_data: Path, tmp_path: Path) -> None:
    importing = ["parquet", str(shared_data / "online_retail" / "transactions.parquet")]
    importing += ["--user", "CustomerID", "--item", "StockCode", "--timestamp", "InvoiceDate"]
    importing += ["--action-rule", "cancel: InvoiceNo ~ ^C", "--default-action", "purchase"]
    importing += ["--item-feature", "Description", "--item-feature", "UnitPrice", "--item-feature", "Country"]
    importing += ["--user-feature", "Country"]
    made = make(tmp_path, "shop", importing, {"corpus": "allow_seen = true"}, PATIENT)
    assert (made.imported["written"], made.imported["rejected"]) == (406_829, {"user is empty": 135_080})
    assert made.imported["actions"] == {"purchase": 397_924, "cancel": 8_905}
    report = retrieval(made.root, "evaluate")
    others = {one["name"]: one["metrics"]["hr@10"] for one in report["baselines"]}
    assert report["model"]["metrics"]["hr@10"] > max(others.values())
    rows = target_rows(made)
    exact = exact_hit_rate(made, rows)
    with asked(made.root) as stub:
        served = served_hit_rate(stub, made.dataset(), rows, allow_seen=True)
        assert served == pytest.approx(exact, abs=TOLERANCE)


def test_a_day_of_globo(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "globo" / "clicks_to_2017-10-11.parquet"
    importing = ["parquet", str(source), "--item", "click_article_id", "--timestamp", "click_timestamp"]
    for name in ("environment", "deviceGroup", "os", "country", "region", "referrer_type"):
        importing += ["--context", f"click_{name}"]
    importing += ["--from", "2017-10-09T04:00", "--until", "2017-10-10T04:00"]
    by_time = {
        "data.split": 'method = "time"\nvalid_hours = 1.0\ntest_hours = 1.0',
        "corpus": 'items = "catalog"',
    }
    made = make(tmp_path, "news", importing, by_time, PATIENT)
    assert made.imported["written"] == 258_438
    report = retrieval(made.root, "evaluate")
    popular = next(one for one in report["baselines"] if one["name"] == "popularity")
    assert report["model"]["metrics"]["hr@10"] > popular["metrics"]["hr@10"]
    rows = target_rows(made, 5000)
    exact = exact_hit_rate(made, rows)
    with asked(made.root) as stub:
        assert served_hit_rate(stub, made.dataset(), rows) == pytest.approx(exact, abs=TOLERANCE)
