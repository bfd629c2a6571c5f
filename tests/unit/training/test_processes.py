from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.data import Dataset, Split
from retrieval.errors import ConfigError, UnavailableError
from retrieval.features import Features
from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ENCODERS
from retrieval.towers.pair import TowerPair
from retrieval.training import processes
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.loop import TrainResult, train
from retrieval.training.processes import processes_of
from retrieval.training.ranks import Ranks
from retrieval.training.run import TrainingInputs
from retrieval.training.sequences import SequenceReader, cut_windows
from tests.tiny import TINY_TOWERS
from tests.trained import furthest, losses

REPOSITORY = Path(__file__).resolve().parents[3]
# all that a step draws: what is dropped, and whose ids and profiles are hidden
TOWERS = TINY_TOWERS.model_copy(update={"dropout": 0.2, "id_dropout": 0.1, "profile_dropout": 0.3})
CONFIG = TrainingConfig(
    epochs=2,
    batch_tokens=256,
    min_batches=4,
    threads=1,
    precision="float32",
    negatives=NegativesConfig(in_batch=16, uniform=8),
)


def settings(**changes: object) -> TrainingConfig:
    return TrainingConfig.model_validate({**CONFIG.model_dump(), **changes})


@pytest.fixture
def run(dataset: Dataset, split: Split, features: Features, tmp_path: Path):  # type: ignore[no-untyped-def]
    def start(config: TrainingConfig, folder: str, towers: TowerConfig = TOWERS, **rest: object) -> TrainResult:
        return train(
            dataset,
            split,
            features,
            towers,
            config,
            run_dir=tmp_path / folder,
            show=False,
            **rest,  # type: ignore[arg-type]
        )

    return start


@pytest.mark.parametrize("encoder", sorted(ENCODERS.named))
def test_losses_and_weights_do_not_depend_on_the_number_of_processes(run, tmp_path: Path, encoder: str) -> None:  # type: ignore[no-untyped-def]
    """With all that is random, accumulation and a running mean. Three processes: batches have windows left over."""
    config = {"accumulate": 2, "ema": 0.9}
    towers = TOWERS.model_copy(update={"encoder": encoder})
    one = run(settings(**config), "1", towers)
    for count in (2, 3) if encoder == TOWERS.encoder else (2,):
        several = run(settings(**config, processes=count), str(count), towers)
        np.testing.assert_allclose(losses(tmp_path / str(count)), losses(tmp_path / "1"), rtol=1e-5)
        assert furthest(one.pair, several.pair) < 2e-4
        assert (several.examples, several.steps) == (one.examples, one.steps)


def test_candidates_from_a_process_s_own_targets_would_change_the_loss(dataset, split, features, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Gradients of the parts add up to the whole's; drawn from the part's own targets, they don't."""
    from retrieval.training.epoch import plan_epoch
    from retrieval.training.run import prepare_run

    inputs = TrainingInputs(dataset, split, features, TOWERS, settings(), tmp_path)
    run = prepare_run(inputs, torch.device("cpu"))
    windows, steps = plan_epoch(run, 0)
    batch = run.reader.read(windows, max(steps, key=lambda step: len(step[0]))[0])

    def gradient(number: int, count: int, *, own: bool = False) -> tuple[float, torch.Tensor]:
        part = batch.part(number, count)
        torch.manual_seed(0)
        run.optimiser.zero_grad(set_to_none=True)
        if own:
            part = replace(part, rows=slice(None))
        loss = run.objective(run.pair, part, np.random.default_rng(0), whole=part if own else batch)
        loss = loss * (part.examples / batch.examples) if own else loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item(), torch.cat(
            [torch.zeros(w.numel()) if w.grad is None else w.grad.flatten().clone() for w in run.trained]
        )

    loss, whole = gradient(0, 1)
    for count in (2, 3):
        parts = [gradient(number, count) for number in range(count)]
        assert sum(part for part, _ in parts) == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(torch.stack([part for _, part in parts]).sum(0), whole, rtol=1e-3, atol=1e-6)
    wrong = [gradient(number, 2, own=True) for number in range(2)]
    assert abs(sum(part for part, _ in wrong) - loss) > 0.01 * loss
    assert float((sum(part for _, part in wrong) - whole).norm() / whole.norm()) > 0.05


def test_the_parts_of_a_batch_are_all_of_it(dataset: Dataset, split: Split, features: Features) -> None:
    windows = cut_windows(
        np.asarray(dataset.histories.offsets), split.train_end, 13, np.random.default_rng(0), everything=True
    )
    batch = SequenceReader(dataset.histories, features).read(windows, np.arange(7))
    parts = [batch.part(number, 3) for number in range(3)]
    assert sum(part.examples for part in parts) == batch.examples
    assert sorted(np.concatenate([part.target for part in parts])) == sorted(batch.target)
    for number, part in enumerate(parts):
        np.testing.assert_array_equal(part.users, batch.users[number::3])
        where = part.position_row, part.position_column
        np.testing.assert_array_equal(part.history.query_times[where], dataset.histories.timestamps[part.next_event])
    assert batch.part(8, 9).examples == 0


def test_only_the_first_process_validates_and_all_end_early_with_it(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    seen: list[int] = []

    def validate(pair: TowerPair) -> dict[str, float]:
        seen.append(os.getpid())
        return {"ndcg@10": 1.0 - 0.1 * len(seen)}

    result = run(settings(epochs=9, validate_every=1, patience=2, processes=2), "early", validate=validate)
    assert seen == [os.getpid()] * 3
    assert (result.epochs, result.best_epoch) == (3, 1)
    assert len(list((tmp_path / "early").glob("checkpoint-*"))) == 1


def test_a_run_may_go_on_with_another_number_of_processes(run) -> None:  # type: ignore[no-untyped-def]
    def fail(pair: TowerPair) -> dict[str, float]:
        raise InterruptedError

    def measure(pair: TowerPair) -> dict[str, float]:
        return {"ndcg@10": 0.5}

    each = {"validate_every": 1, "checkpoint_seconds": 0.0}
    with pytest.raises(InterruptedError):
        run(settings(**each), "stopped", validate=fail)
    again = run(settings(**each, processes=2), "stopped", validate=measure)
    whole = run(settings(**each), "whole", validate=measure)
    assert 0 < again.resumed_at < again.steps == whole.steps
    assert furthest(again.pair, whole.pair) < 2e-4


def _dies(inputs: TrainingInputs, ranks: Ranks) -> None:
    ranks.broadcast_first(0.0)
    os.kill(os.getpid(), signal.SIGKILL)


def _refuses(inputs: TrainingInputs, ranks: Ranks) -> None:
    raise ConfigError("this machine is too small")


def _waits(inputs: TrainingInputs, ranks: Ranks) -> None:
    ranks.broadcast_first(0.0)
    ranks.broadcast_first(0.0)


@pytest.mark.parametrize(
    ("follow", "said"),
    [
        (_dies, r"training process 2 of 2 was ended by SIGKILL"),
        (_refuses, r"training process 2 of 2 failed: this machine is too small"),
    ],
)
def test_a_process_that_ends_early_ends_the_training_with_its_reason(  # type: ignore[no-untyped-def]
    dataset, split, features, tmp_path, follow, said
) -> None:
    inputs = TrainingInputs(dataset, split, features, TOWERS, settings(processes=2), tmp_path)

    def lead() -> None:
        with processes_of(inputs, follow) as ranks:
            for _ in range(3):
                ranks.broadcast_first(1.0)

    with pytest.raises(UnavailableError, match=said):
        lead()


def test_the_others_end_with_the_first(dataset, split, features, tmp_path) -> None:  # type: ignore[no-untyped-def]
    started: list[processes.BaseProcess] = []
    inputs = TrainingInputs(dataset, split, features, TOWERS, settings(processes=2), tmp_path)

    def fail() -> None:
        with processes_of(inputs, _waits) as ranks:
            ranks.broadcast_first(1.0)
            started.extend(processes.multiprocessing.active_children())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert len(started) == 1
    assert not started[0].is_alive()


def _listening() -> set[tuple[str, str]]:
    """Sockets on which this process listens: the address in hexadecimal, and the socket's number."""
    own = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            field = line.split()
            if field[3] == "0A" and f"socket:[{field[9]}]" in own:
                found.add((field[1].split(":")[0], field[9]))
    return found


def _listens_on_loopback(inputs: TrainingInputs, ranks: Ranks) -> None:
    assert {address for address, _ in _listening()} <= {"0100007F"}, _listening()
    ranks.broadcast_first(0.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_listens_beyond_loopback(dataset, split, features, tmp_path) -> None:  # type: ignore[no-untyped-def]
    inputs = TrainingInputs(dataset, split, features, TOWERS, settings(processes=2), tmp_path)
    before = _listening()  # other tests' servers may be among them
    with processes_of(inputs, _listens_on_loopback) as ranks:
        assert {address for address, _ in _listening() - before} == {"0100007F"}
        ranks.broadcast_first(1.0)
    assert "GLOO_SOCKET_IFNAME" not in os.environ


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_processes_need_the_device_that_is_asked_for(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"training\.device"):
        run(settings(processes=2, device="cuda"), "cuda")


LAUNCHED = """
import sys
from pathlib import Path
from tests.unit.training.test_processes import train_launched
train_launched(Path(sys.argv[1]))
"""


def train_launched(root: Path) -> None:
    from retrieval.data import leave_one_out
    from retrieval.features import fit_features
    from tests.tiny import TINY_FEATURES, tiny_dataset

    # each process has its own copy of the data here; the run's folder is one
    number = os.environ.get("RANK", "alone")
    dataset = tiny_dataset(root / f"workspace-{number}")
    split = leave_one_out(dataset.histories)
    result = train(
        dataset,
        split,
        fit_features(TINY_FEATURES, dataset, split),
        TOWERS,
        settings(),
        run_dir=root / ("alone" if number == "alone" else "together"),
        validate=lambda pair: {"ndcg@10": float(pair.special.detach().abs().sum())},
        show=False,
    )
    torch.save(result.pair.state_dict(), root / f"weights-{number}.pt")


def test_processes_that_torchrun_started_join_and_have_the_same_towers(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    script = tmp_path / "script.py"
    script.write_text(LAUNCHED)
    command = [*launcher, f"--master-port={_free_port()}", str(script), str(tmp_path)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    train_launched(tmp_path)
    alone, first, second = (
        torch.load(tmp_path / f"weights-{name}.pt", weights_only=True) for name in ("alone", "0", "1")
    )
    for name, value in first.items():
        assert torch.equal(value, second[name])
        torch.testing.assert_close(value, alone[name], rtol=0, atol=2e-4)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
