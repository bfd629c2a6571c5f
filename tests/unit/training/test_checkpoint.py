from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from retrieval.errors import ArtifactError
from retrieval.training.checkpoint import Progress, load_best, load_checkpoint, save_best, save_checkpoint


def trained(steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        optimiser.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimiser.step()
    return model, optimiser


def test_weights_and_optimiser_come_back_whole(tmp_path: Path) -> None:
    model, optimiser = trained(3)
    save_checkpoint(tmp_path, model, optimiser, Progress("s", epoch=1, total_steps=3, best_metrics={"a": 0.5}))
    fresh, other = trained(0)
    progress = load_checkpoint(tmp_path, fresh, other, "s")
    assert progress == Progress("s", epoch=1, total_steps=3, best_metrics={"a": 0.5})
    for each, opt in ((model, optimiser), (fresh, other)):
        opt.zero_grad()
        each(torch.ones(1, 3)).sum().backward()
        opt.step()
    assert torch.equal(model.weight, fresh.weight)  # type: ignore[arg-type]


def test_only_the_newest_stays_and_another_signature_is_not_taken(tmp_path: Path) -> None:
    model, optimiser = trained(1)
    for steps in (1, 2, 3):
        save_checkpoint(tmp_path, model, optimiser, Progress("s", total_steps=steps))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-0000000003"]
    assert load_checkpoint(tmp_path, model, optimiser, "another") is None


@pytest.mark.parametrize("file", ["state.safetensors", "progress.json", "MANIFEST.json"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, file: str) -> None:
    model, optimiser = trained(1)
    folder = save_checkpoint(tmp_path, model, optimiser, Progress("s", total_steps=5))
    raw = (folder / file).read_bytes()
    (folder / file).write_bytes(raw[:-3])
    assert load_checkpoint(tmp_path, model, optimiser, "s") is None


def test_the_best_weights_are_replaced_and_checked(tmp_path: Path) -> None:
    model, _ = trained(1)
    save_best(tmp_path, model, Progress("s"))
    better, _ = trained(4)
    save_best(tmp_path, better, Progress("s"))
    load_best(tmp_path, model, "s")
    assert torch.equal(model.weight, better.weight)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="another run"):
        load_best(tmp_path, model, "t")
    (tmp_path / "best" / "state.safetensors").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"state\.safetensors"):
        load_best(tmp_path, model, "s")
    assert not list(tmp_path.glob(".*"))
