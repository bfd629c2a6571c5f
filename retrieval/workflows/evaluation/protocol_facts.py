"""What a report says about how a version was made and measured, and what to be wary of."""

from __future__ import annotations

import numpy as np

from retrieval.data.corpus.words import described_index, described_items, described_seen_and_alike
from retrieval.evaluation import EvaluationReport
from retrieval.workflows.evaluation.evaluate import EvaluationSetup
from retrieval.workflows.evaluation.provenance import Provenance

_SETTINGS = (
    ("encoder", "towers", "encoder"),
    ("width of embeddings", "towers", "dim"),
    ("blocks", "towers", "blocks"),
    ("loss", "training", "loss"),
    ("learning rate", "training", "learning_rate"),
)


def protocol_facts(
    setup: EvaluationSetup, ours: Provenance, theirs: Provenance | None, report: EvaluationReport
) -> tuple[tuple[str, str], ...]:
    """Label and text of what the header says."""
    part = "" if report.targets == report.available_targets else f" of {report.available_targets:,}, evenly spaced"
    corpus = setup.corpus.config
    facts = [
        ("version", str(ours.version)),
        ("made", ours.created),
        ("embedding space", str(ours.facts.get("space_id", "not recorded"))),
        ("split", report.split),
        ("targets", f"{report.targets:,}{part}, of {_users(report):,} users"),
        ("candidates", f"{report.candidates:,}: {described_items(corpus)}"),
        ("what the user had engaged with", described_seen_and_alike(corpus)),
        ("index", described_index(setup.corpus, of_window=setup.split.test_from_us is not None)),
        ("ranking", "exact, all candidates scored; ties count against the target"),
        ("data measured on", f"snapshot {setup.dataset.snapshot}"),
        ("data trained on", f"snapshot {ours.snapshot or 'not recorded'}"),
        *((label, _shown(ours.setting(section, name))) for label, section, name in _SETTINGS),
        ("training", _training(ours)),
        ("code", str(ours.facts.get("code_version", "not recorded"))),
    ]
    if theirs is not None:
        changes = [f"{name} = {other!r} in place of {own!r}" for name, own, other in _differing(ours, theirs)]
        differing = "; ".join(changes) or "its recorded settings are the same"
        facts.append(("compared with", f"{theirs.version}, made {theirs.created}; {differing}"))
    return tuple(facts)


def warnings_about(
    setup: EvaluationSetup, ours: Provenance, theirs: Provenance | None, report: EvaluationReport
) -> tuple[str, ...]:
    """What makes the figures less than they seem."""
    found = [f"The corpus is not the one that is served: {setup.differs}."] if setup.differs else []
    for one in (ours, theirs):
        if one is None:
            continue
        if one.snapshot is not None and one.snapshot != setup.dataset.snapshot:
            found.append(
                f"{one.version} was trained on data snapshot {one.snapshot}, and is measured on "
                f"{setup.dataset.snapshot}: it may have trained on some of the targets, or know less than it could."
            )
        if one.split is not None and one.split != setup.split.name:
            found.append(
                f"{one.version} was trained with the split {one.split!r}, and is measured with {setup.split.name!r}: "
                "it may have trained on some of the targets."
            )
    if theirs is not None and [name for name, _, _ in _differing(ours, theirs)] == ["training.seed"]:
        found.append(
            f"{ours.version} and {theirs.version} differ in nothing but the seed of training: what tells them apart is "
            "luck."
        )
    if setup.targets == "valid":
        learned = [str(one.version) for one in (ours, theirs) if one and one.facts.get("training", {}).get("refit")]
        which = f"which {' and '.join(learned)} learned from (training.refit)" if learned else "which chose the weights"
        found.append(f"These are validation targets, {which}: expect less on others.")
    lost = report.unreachable / report.targets
    if lost > 0.05:
        hint = (
            ""
            if setup.corpus.config.allow_seen
            else " Where people come back to the same items, set corpus.allow_seen = true, or corpus.seen_hours."
        )
        found.append(f"{lost:.0%} of the targets can't be reached; no model could do better than {1 - lost:.3f}.{hint}")
    return tuple(found)


def _users(report: EvaluationReport) -> int:
    assert report.evidence is not None
    return len(np.unique(report.evidence.users))


def _shown(value: object) -> str:
    return "not recorded" if value is None else f"{value}"


def _training(ours: Provenance) -> str:
    made = ours.facts.get("training", {})
    if not made:
        return "not recorded"
    return (
        f"{made.get('epochs')} epochs, weights of epoch {made.get('best_epoch')}, {made.get('examples', 0):,} "
        f"examples, seed {ours.facts.get('seed')}"
    )


def _differing(ours: Provenance, theirs: Provenance) -> list[tuple[str, object, object]]:
    """The settings in which two versions differ: name, ours, theirs."""
    sections = ours.facts.get("settings", {}), theirs.facts.get("settings", {})
    found = []
    for section in sorted({*sections[0], *sections[1]}):
        own, other = (values.get(section, {}) for values in sections)
        found += [
            (f"{section}.{name}", own.get(name), other.get(name))
            for name in sorted({*own, *other})
            if own.get(name) != other.get(name)
        ]
    return found
