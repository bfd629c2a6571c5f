"""The whole path as a user types it, and the log asked back over gRPC: what the tests on real data have in common."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.config import FILE_NAME
from retrieval.data import Dataset, make_split, open_dataset
from retrieval.data.corpus import as_built_at, end_of_log, open_corpus
from retrieval.data.splits import evenly_spaced
from retrieval.serving.wire.channel import CHANNEL_OPTIONS
from retrieval.serving.wire.user_messages import value_message
from retrieval.towers.runtime import load_user_tower
from retrieval.types import ModelVersion
from retrieval.v1 import candidates_pb2 as pb
from retrieval.v1 import candidates_pb2_grpc, filter_pb2, user_pb2
from retrieval.workflows.evaluation.evaluate import evaluate_towers, item_vectors
from retrieval.workflows.fleet.local_fleet import retrieval_command
from retrieval.workflows.workspace import Workspace
from tests.serving_fleet import running_fleet

Rows = npt.NDArray[np.int64]
Stub = candidates_pb2_grpc.CandidateServiceStub
Settings = Mapping[str, str]
"""Lines of TOML by section."""

# Other work on the machine shall make the services slow, not make the test fail
PATIENT: Settings = {"serving": "deadline_ms = 60000\nsearch_timeout_ms = 20000\nheartbeat_s = 0.5\nreconcile_s = 1.0"}
# Learns something within seconds
SMALL: Settings = {
    "towers": "dim = 32\nblocks = 1",
    "training": "epochs = 3\nvalidate_every = 3\nthreads = 1",
    "index": "shards = 2\nthreads = 1\nrecall_queries = 200",
}
_USERS_PER_CALL = 64


def retrieval(root: Path, *arguments: str, code: int | tuple[int, ...] = 0) -> dict[str, Any]:
    """Run one `retrieval` command in the folder `root` and return what --json prints; it must end with (a) `code`."""
    done = subprocess.run(
        retrieval_command(*arguments, "--json"),
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    allowed = code if isinstance(code, tuple) else (code,)
    shown = " ".join(map(str, arguments))
    assert done.returncode in allowed, f"retrieval {shown}: {done.returncode}\n{done.stderr[-4000:]}"
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def configure(root: Path, *settings: Settings) -> None:
    """Put lines at the head of sections of the workspace's retrieval.toml."""
    path = root / FILE_NAME
    text = path.read_text(encoding="utf-8")
    for section, lines in (pair for each in settings for pair in each.items()):
        head = f"\n[{section}]\n"
        assert text.count(head) == 1, section
        text = text.replace(head, f"{head}{lines}\n")
    path.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Made:
    """A workspace whose model is trained, indexed and said to be deployed, with what the commands printed."""

    root: Path
    imported: dict[str, Any]
    validated: dict[str, Any]
    trained: dict[str, Any]
    built: dict[str, Any]
    loaded: dict[str, Any]

    def workspace(self) -> Workspace:
        return Workspace.open(self.root)

    def dataset(self) -> Dataset:
        return open_dataset(self.workspace().settings.data, self.root, show=False)


def make(folder: Path, model: str, importing: Sequence[str], *settings: Settings) -> Made:
    """From nothing to a deployed build, one command after another."""
    folder.mkdir(parents=True, exist_ok=True)
    retrieval(folder, "init", model, "--model", model)
    root = folder / model
    configure(root, *settings)
    imported = retrieval(root, "data", "import", *importing, "--write-settings")
    validated = retrieval(root, "data", "validate")
    trained = retrieval(root, "train")
    built = retrieval(root, "index", "build")
    assert retrieval(root, "index", "verify", built["build"])["golden_cosine"] > 0.999
    loaded = retrieval(root, "users", "load")
    retrieval(root, "deploy", built["build"], "--without-hosts")
    return Made(root, imported, validated, trained, built, loaded)


@contextmanager
def asked(root: Path, *arguments: str, patience_s: float = 60.0) -> Iterator[Stub]:
    """`retrieval serve all` in the workspace, and a client of its candidate service, while the block runs."""
    with (
        running_fleet(root, *arguments, patience_s=patience_s) as fleet,
        grpc.insecure_channel(fleet.address, options=CHANNEL_OPTIONS) as channel,
    ):
        yield Stub(channel)


# -- what the log knows, as requests


def request_before(dataset: Dataset, row: int, *, k: int = 10, allow_seen: bool = False) -> pb.GetCandidatesRequest:
    """The request that would have been made just before an event: the history up to it, its context, its time."""
    histories = dataset.histories
    user = int(histories.users_of(np.array([row]))[0])
    events = slice(int(histories.offsets[user]), row)
    context = {name: column.take(np.array([row])).to_pylist()[0] for name, column in histories.context.items()}
    return pb.GetCandidatesRequest(
        user_id=histories.user_ids[user].as_py(),
        k=k,
        at=int(histories.timestamps[row]),
        allow_seen=allow_seen,
        context={name: value_message(value) for name, value in context.items() if value is not None},
        history=user_pb2.History(
            item_ids=histories.item_ids.take(pa.array(histories.items[events])).to_pylist(),
            timestamps=histories.timestamps[events].tolist(),
            actions=[histories.action_names[code] for code in histories.actions[events]],
        ),
    )


def ask_all(stub: Stub, requests: Sequence[pb.GetCandidatesRequest]) -> list[pb.GetCandidatesResponse]:
    """Answers to many requests, by batch calls."""
    answers: list[pb.GetCandidatesResponse] = []
    for start in range(0, len(requests), _USERS_PER_CALL):
        batch = pb.BatchGetCandidatesRequest(requests=requests[start : start + _USERS_PER_CALL])
        answers.extend(stub.BatchGetCandidates(batch, timeout=60).answers)
    return answers


def served_hit_rate(stub: Stub, dataset: Dataset, rows: Rows, *, allow_seen: bool = False) -> float:
    """HR@10 of the service's answers with these events as targets."""
    histories = dataset.histories
    targets = histories.item_ids.take(pa.array(histories.items[rows])).to_pylist()
    requests = [request_before(dataset, row, allow_seen=allow_seen) for row in rows.tolist()]
    answers = ask_all(stub, requests)
    assert all(len(answer.item_ids) == 10 and answer.shards_answered == answer.shards_asked for answer in answers)
    return float(np.mean([target in answer.item_ids for target, answer in zip(targets, answers, strict=True)]))


def exact_hit_rate(made: Made, rows: Rows) -> float:
    """HR@10 of exact search with these events as targets over what the index holds, by the stored towers."""
    workspace, dataset = made.workspace(), made.dataset()
    split = make_split(workspace.settings.data, dataset.histories)
    version = ModelVersion.parse(made.trained["version"])
    report = evaluate_towers(
        dataset,
        replace(split, test=rows),
        load_user_tower(workspace.store(), version),
        item_vectors(workspace, version, dataset),
        workspace.settings.evaluation.model_copy(update={"baselines": ()}),
        corpus=as_built_at(open_corpus(workspace.settings.corpus, dataset), end_of_log(dataset.histories)),
        show=False,
    )
    assert report.targets == len(rows)
    return report.metrics["hr@10"]


def target_rows(made: Made, most: int | None = None) -> Rows:
    """Rows of the test targets, or so many of them, evenly spaced."""
    rows = make_split(made.workspace().settings.data, made.dataset().histories).test
    return rows if most is None else evenly_spaced(rows, most)


def any_of(field: str, *texts: str) -> filter_pb2.Filter:
    return filter_pb2.Filter(conditions=[filter_pb2.Condition(field=field, any_of=filter_pb2.AnyOf(texts=texts))])


def between(field: str, minimum: float, maximum: float) -> filter_pb2.Filter:
    test = filter_pb2.Range(minimum=minimum, maximum=maximum)
    return filter_pb2.Filter(conditions=[filter_pb2.Condition(field=field, range=test)])
