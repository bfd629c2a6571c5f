"""Real data (beside the checkout) from their files through the importers to answers over gRPC, on slices.

Everything goes through the command line and the services' own processes. `make test-slow` has the full sizes.
"""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from retrieval.serving.wire.user_messages import value_message
from retrieval.v1 import candidates_pb2 as pb
from retrieval.v1 import filter_pb2
from tests.whole_path import (
    PATIENT,
    SMALL,
    Made,
    any_of,
    asked,
    between,
    exact_hit_rate,
    make,
    retrieval,
    served_hit_rate,
    target_rows,
)

TOLERANCE = 0.005


def columns(made: Made, side: str, key: str, column: str) -> dict[str, object]:
    """A column of an imported table by id."""
    table = pq.read_table(made.root / "data" / f"{side}.parquet")
    return dict(zip(table[key].cast(pa.string()).to_pylist(), table[column].to_pylist(), strict=True))


def seen_by(made: Made, user: str) -> set[str]:
    record = retrieval(made.root, "users", "show", user)
    return set(record["history"]["item_ids"])


def test_ml1m(shared_data: Path, tmp_path: Path) -> None:
    source, cut = shared_data / "ml1m", tmp_path / "ml-1m"
    cut.mkdir()
    pq.write_table(pq.read_table(source / "events.parquet", filters=[("user_id", "<=", 400)]), cut / "events.parquet")
    pq.write_table(pq.read_table(source / "users.parquet", filters=[("user_id", "<=", 400)]), cut / "users.parquet")
    pq.write_table(pq.read_table(source / "items.parquet"), cut / "items.parquet")
    whole = {"evaluation": 'ks = [10]\nbaselines = ["popularity"]', "corpus": 'items = "catalog"'}
    made = make(tmp_path, "movies", ["movielens", str(cut)], SMALL, PATIENT, whole)
    assert made.imported["rejected"] == made.validated["rejected"] == {}
    assert made.imported["rows"] == made.validated["good"] == pq.read_metadata(cut / "events.parquet").num_rows
    assert (made.loaded["users"], made.built["items"]) == (400, 3883)
    rows = target_rows(made)
    assert len(rows) == 400
    exact = exact_hit_rate(made, rows)
    assert exact == pytest.approx(made.trained["metrics"]["hr@10"], abs=TOLERANCE)
    assert exact > 0.02  # chance is 0.0026
    genres = columns(made, "items", "item_id", "genres")
    years = columns(made, "items", "item_id", "year")
    with asked(made.root) as stub:
        assert served_hit_rate(stub, made.dataset(), rows) == pytest.approx(exact, abs=TOLERANCE)
        # the command, without history or time: the user store knows both
        answer = retrieval(made.root, "query", "17", "--k", "50", "--filter", "genres=Horror,Sci-Fi")
        assert answer["user_known"]
        assert len(answer["item_ids"]) == 50
        assert all({"Horror", "Sci-Fi"} & set(genres[item]) for item in answer["item_ids"])  # type: ignore[call-overload]
        seen = seen_by(made, "17")
        assert len(seen) > 100
        assert not seen & set(answer["item_ids"])
        # both conditions at once
        both = filter_pb2.Filter(
            conditions=[*any_of("genres", "Comedy").conditions, *between("year", 1990, 1995).conditions]
        )
        found = stub.GetCandidates(pb.GetCandidatesRequest(user_id="17", k=30, filter=both)).item_ids
        assert len(found) == 30
        assert all("Comedy" in genres[item] and 1990 <= years[item] <= 1995 for item in found)  # type: ignore[operator]
        # more than there is: everything but what was seen
        rest = stub.GetCandidates(pb.GetCandidatesRequest(user_id="17", k=2000, filter=any_of("genres", "Western")))
        unseen = {item for item, of in genres.items() if "Western" in of} - seen  # type: ignore[operator]
        assert set(rest.item_ids) == unseen
        # somebody new, known by profile only: who they say they are makes a difference
        new = {
            gender: stub.GetCandidates(
                pb.GetCandidatesRequest(
                    user_id="nobody", k=20, profile={"gender": value_message(gender), "age": value_message(18)}
                )
            )
            for gender in "MF"
        }
        assert not any(one.user_known for one in new.values())
        assert list(new["M"].scores) != list(new["F"].scores)
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetCandidates(pb.GetCandidatesRequest(user_id="17", k=5, filter=any_of("genre", "Horror")))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "genres" in refused.value.details()
        _deploy_and_roll_back(made, stub)


def _deploy_and_roll_back(made: Made, stub: object) -> None:
    """A second build, three shards' worth of nothing new: the same version in a graph of another shape."""
    second = retrieval(made.root, "index", "build", "--set", "index.M=24")
    assert second["build"] != made.built["build"]
    assert retrieval(made.root, "deploy", second["build"])["deployment"]["state"] == "done"
    hosts = retrieval(made.root, "status")["hosts"]
    assert {host["build"] for host in hosts if host["role"] == "ann"} == {2}
    assert retrieval(made.root, "rollback", "--yes")["deployment"]["state"] == "done"
    hosts = retrieval(made.root, "status")["hosts"]
    assert {host["build"] for host in hosts if host["role"] == "ann"} == {1}


def test_online_retail(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "online_retail" / "transactions.parquet"
    importing = ["parquet", str(source), "--user", "CustomerID", "--item", "StockCode", "--timestamp", "InvoiceDate"]
    importing += ["--action-rule", "cancel: InvoiceNo ~ ^C", "--action-rule", "cancel: Quantity < 0"]
    importing += ["--default-action", "purchase", "--from", "2011-10-15"]
    for feature in ("Description", "UnitPrice", "Country"):
        importing += ["--item-feature", feature]
    importing += ["--user-feature", "Country"]
    # people buy the same again, so what was bought before is no wrong answer
    again = {
        "evaluation": 'ks = [10]\nbaselines = ["popularity"]',
        "corpus": 'items = "catalog"\nallow_seen = true',
    }
    made = make(tmp_path, "shop", importing, SMALL, PATIENT, again)

    table = pq.read_table(source)
    nobody = table.column("CustomerID").null_count
    assert made.imported["rejected"] == {"user is empty": nobody} == {"user is empty": 135_080}
    assert made.imported["rows"] == table.num_rows
    assert made.imported["written"] + made.imported["outside"] + nobody == table.num_rows
    rejects = pq.read_table(made.imported["paths"]["rejects"])  # still there after `data validate`
    assert rejects.num_rows == nobody
    since = pc.greater_equal(table["InvoiceDate"], pa.scalar(np.datetime64("2011-10-15", "us")))
    kept = table.filter(pc.and_(since, pc.is_valid(table["CustomerID"])))
    cancelled = pc.sum(pc.or_(pc.starts_with(kept["InvoiceNo"], "C"), pc.less(kept["Quantity"], 0))).as_py()
    assert made.imported["actions"]["cancel"] == cancelled > 0
    dataset = made.dataset()
    names = dataset.histories.action_names
    targets = {names[code] for code in dataset.histories.actions[target_rows(made)]}
    assert targets == {"purchase"}  # nobody is to be recommended what people sent back

    prices = columns(made, "items", "item_id", "UnitPrice")
    countries = columns(made, "items", "item_id", "Country")
    rows = target_rows(made, 500)
    exact = exact_hit_rate(made, rows)
    assert exact > 0.01
    with asked(made.root) as stub:
        assert served_hit_rate(stub, dataset, rows, allow_seen=True) == pytest.approx(exact, abs=TOLERANCE)
        user = dataset.histories.user_ids[int(np.argmax(np.diff(np.asarray(dataset.histories.offsets))))].as_py()
        seen = seen_by(made, user)
        answer = retrieval(
            *(made.root, "query", user, "--k", "40", "--filter", "UnitPrice=1..2.5", "--explain", "--no-allow-seen")
        )
        assert answer["user_known"]
        assert len(answer["item_ids"]) == 40
        assert not seen & set(answer["item_ids"])
        assert all(1 <= prices[item] <= 2.5 for item in answer["item_ids"])  # type: ignore[operator]
        again_too = retrieval(made.root, "query", user, "--k", "40", "--allow-seen")
        assert seen & set(again_too["item_ids"])
        elsewhere = {item for item, country in countries.items() if country in {"Germany", "EIRE"}}
        wanted = any_of("Country", "Germany", "EIRE")
        request = pb.GetCandidatesRequest(user_id=user, k=2000, filter=wanted, allow_seen=False)
        assert set(stub.GetCandidates(request).item_ids) == elsewhere - seen
        assert elsewhere
        # ids are text: letters, blanks, whatever the shop's clerks typed; each can be asked for and excluded by name
        odd = [item for item in prices if not item.isalnum()] or ["POST"]
        for item in odd[:3]:
            history = {"item_ids": [item], "timestamps": [dataset.histories.last_us], "actions": ["purchase"]}
            free = stub.GetCandidates(pb.GetCandidatesRequest(history=history, k=2000, allow_seen=True)).item_ids
            kept_out = stub.GetCandidates(
                pb.GetCandidatesRequest(history=history, k=2000, allow_seen=True, exclude_item_ids=[item])
            ).item_ids
            assert item not in kept_out
            assert len(free) == 2000 == len(kept_out)
        # a stranger says where they are
        stranger = pb.GetCandidatesRequest(user_id="strange / ünï", k=10, profile={"Country": value_message("France")})
        found = stub.GetCandidates(stranger)
        assert not found.user_known
        assert len(found.item_ids) == 10


def test_some_hours_of_globo(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "globo" / "clicks_to_2017-10-11.parquet"
    importing = ["parquet", str(source), "--item", "click_article_id", "--timestamp", "click_timestamp"]
    for name in ("click_deviceGroup", "click_os", "click_region", "click_referrer_type"):
        importing += ["--context", name]
    importing += ["--from", "2017-10-10T09:00", "--until", "2017-10-10T15:00"]
    by_time = {
        "data.split": 'method = "time"\nvalid_hours = 0.5\ntest_hours = 0.5',
        "evaluation": 'ks = [10]\nbaselines = ["popularity"]\nmax_targets = 2000',
        "corpus": 'items = "catalog"',
    }
    made = make(tmp_path, "news", importing, SMALL, PATIENT, by_time)
    assert made.imported["timestamp_unit"] == "ms"
    assert made.imported["rows"] == made.imported["written"] + made.imported["outside"] == 2_288_457
    dataset = made.dataset()
    assert made.loaded["users"] == dataset.histories.users
    rows = target_rows(made, 400)
    exact = exact_hit_rate(made, rows)
    assert exact > 0.05
    with asked(made.root) as stub:
        assert served_hit_rate(stub, dataset, rows) == pytest.approx(exact, abs=TOLERANCE)
        # someone never seen: device and region alone decide, and they do
        at = dataset.histories.last_us
        found = [
            stub.GetCandidates(
                pb.GetCandidatesRequest(
                    user_id="0",
                    k=50,
                    at=at,
                    context={"click_deviceGroup": value_message(device), "click_region": value_message(region)},
                )
            )
            for device, region in ((1, 25), (3, 13))
        ]
        assert not any(one.user_known for one in found)
        assert list(found[0].item_ids) != list(found[1].item_ids)
        everything = stub.GetCandidates(pb.GetCandidatesRequest(user_id="0", k=2000, at=at))
        assert len(everything.item_ids) == len(set(everything.item_ids)) == min(2000, made.built["items"])
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetCandidates(pb.GetCandidatesRequest(user_id="0", k=3, filter=any_of("topic", "sports")))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
