"""What the demo found, as one page for people and as plain data; it knows what would be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from retrieval.evaluation import EvaluationReport
from retrieval.evaluation.served import ServedQuality
from retrieval.workflows.demo.answers import Answer, Moment, latency_ms, versions_over_time

_STEPS = 16


@dataclass(frozen=True)
class Summary:
    """Everything the demo measured. `active_after` holds the active version after the roll-out and the roll-back."""

    versions: tuple[str, str]
    reports: tuple[EvaluationReport, EvaluationReport]
    recalls: tuple[float, ...]
    answers: Sequence[Answer]
    moments: Sequence[Moment]
    mismatches: int
    active_after: tuple[str, str]
    served: ServedQuality
    seconds: float
    workspace: Path
    timeline: Path

    @property
    def failed(self) -> int:
        """Requests that got an error."""
        return sum(bool(answer.error) for answer in self.answers)

    def problems(self) -> list[str]:
        """What is off, a sentence each; empty when all is well."""
        found = []
        if self.mismatches:
            found.append(f"{self.mismatches:,} answers do not match the version they name")
        if self.failed:
            first = next(answer.error for answer in self.answers if answer.error)
            found.append(f"{self.failed:,} requests failed; the first: {first}")
        if sum(bool(answer.item_ids) for answer in self.answers) < len(self.answers) / 2:
            found.append("fewer than half of the answers held any candidate")
        missing = set(self.versions) - {served.version for answer in self.answers for served in answer.served}
        found += [f"no answer came from {version}" for version in sorted(missing)]
        if self.active_after != (self.versions[1], self.versions[0]):
            found.append(f"active after roll-out and roll-back: {', '.join(self.active_after)}")
        found += [text for report in self.reports for text in _beaten(report)]
        found += self.served.problems()
        found += [f"recall against exact search is {recall:.3f}" for recall in self.recalls if recall < 0.95]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single answers, as JSON values."""
        return {
            "versions": list(self.versions),
            "quality": {
                version: {scores.name: dict(scores.metrics) for scores in (report.model, *report.baselines) if scores}
                for version, report in zip(self.versions, self.reports, strict=True)
            },
            "served": self.served.to_dict(),
            "recall": dict(zip(self.versions, self.recalls, strict=True)),
            "answers": len(self.answers),
            "mismatched_answers": self.mismatches,
            "failed_requests": self.failed,
            "latency_ms": latency_ms(self.answers),
            "answers_over_time": [
                {"second": start, **counts} for start, counts in versions_over_time(self.answers, width_s=1.0)
            ],
            "moments": [{"second": moment.at, "what": moment.what} for moment in self.moments],
            "seconds": self.seconds,
            "problems": self.problems(),
            "workspace": str(self.workspace),
        }

    def show(self, console: Console) -> None:
        """Print the page, and what to try next."""
        console.rule("[bold]Summary[/bold]", align="left")
        console.print(self._quality())
        console.print(self._over_time())
        console.print(*self.served.tables(), sep="\n")
        for name, value in self._facts():
            console.print(f"  {name:<34} {value}", highlight=False, soft_wrap=True)
        for problem in self.problems():
            console.print(f"  [bold red]OFF[/bold red]  {problem}", highlight=False, soft_wrap=True)
        if not self.problems():
            console.print("  [bold green]All is as it should be.[/bold green]")
        console.print(_next_steps(self.workspace), highlight=False, soft_wrap=True)

    def _quality(self) -> Table:
        first = self.reports[0].ks[0]
        table = Table(title="Quality on the full corpus, exact", title_justify="left", header_style="bold")
        for column in ("", f"HR@{first}", f"NDCG@{first}", f"HR@{self.reports[0].ks[-1]}"):
            table.add_column(column, justify="left" if not column else "right")
        for version, report in zip(self.versions, self.reports, strict=True):
            for scores in (report.model, *report.baselines):
                if scores is None:
                    continue
                model = scores is report.model
                names = (f"hr@{first}", f"ndcg@{first}", f"hr@{report.ks[-1]}")
                cells = [f"{scores.metrics[name]:.4f}" for name in names]
                table.add_row(version if model else f"  {scores.name}", *cells, style="bold" if model else "")
        return table

    def _over_time(self) -> Table:
        span = max((answer.started for answer in self.answers), default=0.0)
        steps = versions_over_time(self.answers, width_s=max(span / _STEPS, 0.5))
        names = sorted({name for _, counts in steps for name in counts})
        table = Table(title="Answers per version over time", title_justify="left", header_style="bold")
        for column in ("second", *names, "meanwhile"):
            table.add_column(column, justify="left" if column == "meanwhile" else "right")
        ends = [start for start, _ in steps[1:]] + [float("inf")]
        for (start, counts), end in zip(steps, ends, strict=True):
            events = ", ".join(moment.what for moment in self.moments if start <= moment.at < end)
            table.add_row(f"{start:.1f}", *(f"{counts.get(name, 0):,}" for name in names), events)
        return table

    def _facts(self) -> list[tuple[str, str]]:
        latency = latency_ms(self.answers)
        recalls = ", ".join(f"{v} {r:.4f}" for v, r in zip(self.versions, self.recalls, strict=True))
        return [
            ("ANN recall against exact search", recalls),
            ("answers", f"{len(self.answers):,}"),
            ("mismatched answers (must be 0)", f"{self.mismatches:,}"),
            ("failed requests (must be 0)", f"{self.failed:,}"),
            ("latency", f"p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms, while versions changed"),
            ("picture of the roll-out", str(self.timeline)),
            ("took", f"{self.seconds:.0f} s"),
        ]


def _beaten(report: EvaluationReport) -> list[str]:
    """Baselines that the model did not beat on hit rate at the first K."""
    if report.model is None:
        return ["nothing was measured"]
    name = f"hr@{report.ks[0]}"
    model = report.model.metrics[name]
    return [
        f"{report.model.name} does not beat {scores.name}: {name} {model:.4f} against {scores.metrics[name]:.4f}"
        for scores in report.baselines
        if scores.metrics[name] >= model
    ]


def _next_steps(workspace: Path) -> str:
    return f"""
What to try next (the services of the demo have been stopped; the first line starts them again):
  cd {workspace} && retrieval serve all &
  retrieval query u17 --k 10 --explain            candidates, and how they came about
  retrieval status                                hosts, versions, towers held
  retrieval list deployments                      who deployed what when
  retrieval evaluate --served                     what was measured beside what is served, stage by stage
  retrieval rollback && retrieval deploy demo-b2  there and back again
"""
