from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest

from retrieval.config import FILE_NAME, parse_settings
from retrieval.errors import ConfigError
from retrieval.rollout.gates import GATES
from retrieval.rollout.gates.config import GatesConfig
from retrieval.rollout.gates.facts import (
    BuildFacts,
    Crossing,
    DataFacts,
    Gap,
    Lost,
    ModelFacts,
    Parity,
    Replay,
    SchemaFacts,
    ServingFacts,
    Skew,
    SliceGap,
    Vectors,
)
from retrieval.rollout.gates.gate import Facts, judge
from retrieval.rollout.gates.judging import judge_all, refusal, warning
from retrieval.types import HOUR_US
from retrieval.workflows.retrain.check_model import model_facts
from retrieval.workflows.retrain.check_serving import serving_facts
from retrieval.workflows.workspace import Settings

SCHEMA = SchemaFacts(faults=())
DATA = DataFacts(
    as_of_us=1_000 * HOUR_US,
    last_us=999 * HOUR_US,
    rows=1_000,
    rejected={"user is empty": 5},
    events=995,
    window_hours=24,
    window_events=100,
    usual_events=110.0,
    repeated=0.1,
    usual_repeated=0.08,
    drift={"action": 0.05, "item.colour": 0.1},
    live="demo@1",
    live_events=990,
    live_drift={"action": 0.01, "item.colour": 0.2},
)
GAP = Gap(other="demo@1", metric="NDCG@10", targets=500, slice="all", ours=0.20, theirs=0.20, low=-0.01, high=0.01)
NEW_USERS = SliceGap(column="user", value="new", metric="NDCG@10", targets=300, ours=0.18, theirs=0.20, high=-0.002)
MODEL = ModelFacts(
    version="demo@2",
    losses=(2.0, 1.5),
    gaps={"live": {"ndcg": GAP, "hr": GAP}, "popularity": {"ndcg": GAP, "hr": GAP}},
    coverage=0.5,
    live_coverage=0.6,
    vectors=Vectors(count=1_000, dim=64, longest=1.0, shortest=1.0, effective_rank=30.0, duplicates=0.0),
    live_lift=0.1,
    slices=(NEW_USERS, replace(NEW_USERS, value="known", ours=0.21, high=0.03)),
)
BUILD = BuildFacts(build="demo-b2", recall=0.99, items=100, corpus_items=100, live="demo-b1", live_items=98)
CROSSING = Crossing(items="demo@2", users="demo@1", matched=0.3, crossed=0.29, overlap=0.8)
LOST = Lost(k=10, targets=500, measured=0.3, served=0.295, lost=0.005, where="at the stage 'search'")
REPLAY = Replay(requests=500, k=10, overlap=0.6, empty=0.0, live_empty=0.0, p99_ms=12.0, live_p99_ms=10.0)
SERVING = ServingFacts(
    version="demo@2",
    build="demo-b2",
    live="demo-b1",
    parity=Parity(users=64, exported=1e-6, served=1e-6),
    lost=LOST,
    skew=Skew(k=10, targets=500, crossings=(CROSSING, CROSSING)),
    replay=REPLAY,
)
WORSE = replace(GAP, ours=0.15, low=-0.07, high=-0.03)

BAD: list[tuple[str, Facts]] = [
    ("missing_columns", replace(SCHEMA, faults=("features.item read 'colour', and the items have no such column",))),
    ("wrong_unit", replace(DATA, before_1973=100)),
    ("repeated_events", replace(DATA, repeated=0.4)),
    ("freshness", replace(DATA, last_us=900 * HOUR_US)),
    ("volume", replace(DATA, window_events=50)),
    ("kept_events", replace(DATA, live_events=5_000)),
    ("rejected", replace(DATA, rejected={"timestamp is negative": 400})),
    ("action_mix", replace(DATA, drift={"action": 0.4})),
    ("action_mix", replace(DATA, live_drift={"action": 0.4})),
    ("feature_drift", replace(DATA, live_drift={"item.colour": 2.0})),
    ("finite_loss", replace(MODEL, losses=(2.0, None))),
    ("vector_lengths", replace(MODEL, vectors=replace(MODEL.vectors, shortest=0.5))),
    ("vector_lengths", replace(MODEL, vectors=replace(MODEL.vectors, longest=math.nan))),
    ("effective_rank", replace(MODEL, vectors=replace(MODEL.vectors, effective_rank=2.0))),
    ("duplicate_vectors", replace(MODEL, vectors=replace(MODEL.vectors, duplicates=0.5))),
    ("against_live", replace(MODEL, gaps={"live": {"ndcg": WORSE}})),
    ("hit_rate", replace(MODEL, gaps={"live": {"hr": WORSE}})),
    ("against_popularity", replace(MODEL, gaps={"popularity": {"ndcg": WORSE}})),
    ("kept_lift", replace(MODEL, live_lift=4.0)),
    ("worst_slice", replace(MODEL, slices=(*MODEL.slices, replace(NEW_USERS, ours=0.1, high=-0.06)))),
    ("coverage", replace(MODEL, coverage=0.1)),
    ("sound_build", replace(BUILD, fault="items.arrow: other items than vectors.npy")),
    ("index_recall", replace(BUILD, recall=0.8)),
    ("corpus_share", replace(BUILD, items=99)),
    ("kept_items", replace(BUILD, live_items=500)),
    ("tower_parity", replace(SERVING, parity=Parity(users=64, exported=0.1, served=0.0))),
    ("tower_parity", replace(SERVING, parity=Parity(users=64, exported=0.0, served=0.1))),
    ("served_loss", replace(SERVING, lost=replace(LOST, lost=0.1))),
    (
        "version_skew",
        replace(SERVING, skew=Skew(k=10, targets=500, crossings=(CROSSING, replace(CROSSING, crossed=0.01)))),
    ),
    ("replay_overlap", replace(SERVING, replay=replace(REPLAY, overlap=0.01))),
    ("empty_answers", replace(SERVING, replay=replace(REPLAY, empty=0.2))),
    ("latency", replace(SERVING, replay=replace(REPLAY, p99_ms=100.0))),
]


def stage_of(facts: Facts) -> str:
    stages = {SchemaFacts: "schema", DataFacts: "data", ModelFacts: "model", BuildFacts: "build"}
    return stages.get(type(facts), "serving")


@pytest.mark.parametrize("facts", [SCHEMA, DATA, MODEL, BUILD, SERVING], ids=stage_of)
def test_good_facts_pass_every_gate(facts: Facts) -> None:
    verdicts = judge_all(stage_of(facts), facts, GatesConfig())  # type: ignore[arg-type]
    assert {one.outcome for one in verdicts} == {"passed"}, [one for one in verdicts if one.outcome != "passed"]
    assert [one.gate for one in verdicts] == [name for name, gate in GATES.items() if gate.stage == stage_of(facts)]
    assert refusal(verdicts) == ""


@pytest.mark.parametrize(("gate", "facts"), BAD, ids=[f"{gate}-{place}" for place, (gate, _) in enumerate(BAD)])
def test_each_gate_refuses_what_it_is_for_and_says_what_to_do(gate: str, facts: Facts) -> None:
    strict = GatesConfig(warn=())
    verdicts = {one.gate: one for one in judge_all(stage_of(facts), facts, strict)}  # type: ignore[arg-type]
    assert verdicts[gate].outcome == "refused"
    assert f"by gates.{gate})" in verdicts[gate].sentence
    assert refusal(list(verdicts.values())).startswith(f"{gate}: ")
    assert json.dumps(asdict(verdicts[gate]), allow_nan=False)  # the registry keeps it


def test_all_gates_have_a_bad_day_here() -> None:
    assert {gate for gate, _ in BAD} == set(GATES)


def test_what_cannot_be_measured_is_passed_by_and_says_why() -> None:
    first = replace(DATA, live="", live_events=None, live_drift={}, usual_events=None, drift={}, repeated=None)
    skipped = {one.gate: one.sentence for one in judge_all("data", first, GatesConfig()) if one.outcome == "skipped"}
    assert set(skipped) == {"volume", "kept_events", "repeated_events", "action_mix", "feature_drift"}
    assert all(skipped.values())
    alone = judge_all("model", replace(MODEL, gaps={}, live_coverage=None, live_lift=None, slices=()), GatesConfig())
    assert {one.gate for one in alone if one.outcome == "skipped"} == {
        "against_live", "hit_rate", "against_popularity", "kept_lift", "worst_slice", "coverage"
    }  # fmt: skip


def test_the_worst_slice_is_named_and_one_without_hits_cannot_be_worse() -> None:
    nothing = replace(NEW_USERS, column="item", ours=0.0, theirs=0.0, high=0.0)
    worse = replace(NEW_USERS, column="user.country", value="BR", ours=0.1, high=-0.06)
    verdicts = judge_all("model", replace(MODEL, slices=(nothing, NEW_USERS, worse)), GatesConfig())
    said = {one.gate: one.sentence for one in verdicts if one.outcome == "refused"}
    assert list(said) == ["worst_slice"]
    assert said["worst_slice"].startswith("of 2 slices, user.country BR has lost most for sure")
    verdicts = judge_all("model", replace(MODEL, slices=(nothing,)), GatesConfig())
    assert {one.gate for one in verdicts if one.outcome == "skipped"} == {"worst_slice"}


def test_where_the_live_version_was_hardly_above_popularity_there_is_no_lift_to_keep() -> None:
    verdicts = {one.gate: one for one in judge_all("model", replace(MODEL, live_lift=0.02), GatesConfig())}
    assert verdicts["kept_lift"].outcome == "skipped"
    assert "no lift to keep" in verdicts["kept_lift"].sentence


def test_thresholds_are_settings_and_gates_can_be_off(tmp_path: object) -> None:
    text = '[gates]\nvolume = 0.95\noff = ["freshness"]\n'
    gates = parse_settings(text, tmp_path / FILE_NAME, Settings, environment={}).gates  # type: ignore[operator]
    verdicts = {one.gate: one.outcome for one in judge_all("data", replace(DATA, last_us=0), gates)}
    assert verdicts["volume"] == "refused"
    assert "freshness" not in verdicts
    with pytest.raises(ConfigError, match=r"frshness: no such gate; there are: .*freshness"):
        parse_settings('[gates]\noff = ["frshness"]', tmp_path / FILE_NAME, Settings, environment={})  # type: ignore[operator]


def test_a_gate_may_only_warn() -> None:
    torn = replace(SERVING, skew=Skew(k=10, targets=500, crossings=(replace(CROSSING, crossed=0.0),)))
    verdicts = judge_all("serving", torn, GatesConfig())
    assert {one.gate: one.outcome for one in verdicts if one.outcome != "passed"} == {"version_skew": "warned"}
    assert refusal(verdicts) == ""
    assert warning(verdicts).startswith(
        "version_skew: on the index of demo@2 with users of demo@1 HR@10 would be 0.0000"
    )
    assert judge("volume", GATES["volume"], 2.0, DATA, warns=True).outcome == "warned"


def test_without_a_live_build_only_what_needs_none_is_measured() -> None:
    why = {"skew": "there is no live version", "replay": "there is no live version"}
    alone = judge_all("serving", replace(SERVING, skew=None, replay=None, unmeasured=why), GatesConfig())
    assert {one.gate: one.sentence for one in alone if one.outcome == "skipped"} == dict.fromkeys(
        ("version_skew", "replay_overlap", "empty_answers", "latency"), "there is no live version"
    )


def test_milliseconds_that_nobody_notices_refuse_nothing() -> None:
    quick = replace(SERVING, replay=replace(REPLAY, p99_ms=4.0, live_p99_ms=0.5))
    assert {one.gate: one.outcome for one in judge_all("serving", quick, GatesConfig())}["latency"] == "passed"


def test_a_bound_counts_as_good() -> None:
    gate = GATES["volume"]
    assert judge("volume", gate, 100 / 110, DATA).outcome == "passed"
    assert judge("rejected", GATES["rejected"], 0.005, DATA).outcome == "passed"


def test_facts_come_back_from_json_as_they_were() -> None:
    assert model_facts(json.loads(json.dumps(asdict(MODEL)))) == MODEL
    assert serving_facts(json.loads(json.dumps(asdict(SERVING)))) == SERVING
