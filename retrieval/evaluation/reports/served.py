"""The report's section on what is served: where quality is lost on the way to the answer."""

from __future__ import annotations

from retrieval.evaluation.reports.page import Block, Table, Text
from retrieval.evaluation.reports.words import bounds, figure, signed
from retrieval.evaluation.served import ServedQuality
from retrieval.evaluation.stages import WHOLE, Stage


def served_blocks(served: ServedQuality) -> list[Block]:
    """A finding, the stages, and how to read them."""
    stages = served.stages
    problems: list[Block] = [Text(f"{problem}.", "finding") for problem in served.problems()]
    in_short = (
        f"HR@{stages.k} {figure(stages.last.hit_rate)} as it is answered, {figure(stages.first.hit_rate)} at the stage "
        f"{stages.first.name!r}: {served.title()}."
    )
    whole = (WHOLE, "", "", signed(stages.whole.value), bounds(stages.whole.interval), "")
    rows = (*(_row(stage) for stage in stages.stages), whole)
    columns = ("stage", "what is as served from here on", f"HR@{stages.k}", "lost", "95 % interval", "")
    return [
        Text(in_short, "finding"),
        *problems,
        Table(columns, rows, labels=2),
        Text(
            "The same targets at every stage, each part replaced by the served one in turn, so that the losses add up "
            "to the whole; intervals are paired, by bootstrap over users.",
            "remark",
        ),
        *(Text(remark, "remark") for remark in served.remarks),
    ]


def _row(stage: Stage) -> tuple[str, ...]:
    loss = ("", "") if stage.loss is None else (signed(stage.loss.value), bounds(stage.loss.interval))
    return (stage.name, stage.what, figure(stage.hit_rate), *loss, stage.remark)
