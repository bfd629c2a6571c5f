"""A warm start: training begins with the weights and the optimiser's state of an earlier version.

What has a vocabulary (ids, categories, actions) is carried over by its words: the rows of words that stay, under their
new codes. A new word starts as what the earlier towers took it for: the row of unknown words, so that a new item's
vector is at first the one that follows from its features. Where items have no features that row says nothing, and new
ids start as they do from scratch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from retrieval.errors import ArtifactError
from retrieval.features import ITEM_ID, Features
from retrieval.features.declaration import SIDES, Side
from retrieval.features.vocabulary import Vocabulary
from retrieval.storage import write_manifest
from retrieval.towers.embedding import FeatureSum
from retrieval.towers.pair import TowerPair
from retrieval.training.checkpoint import newest_optimiser_state
from retrieval.training.optimiser import optimiser_order

STATE_KIND = "training_state"
"""Kind and folder name of what a later version may begin with, beside the towers of a version."""
_FILE = "state.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")
Moments = dict[str, Tensor]
"""The optimiser's state of one weight."""
_IDS = "item.id.table.weight"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The version that training begins with: its name, its space, and folders of its training state and features."""

    version: str
    space_id: str
    state: Path
    features: Path


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """How many item ids were carried over, how many are new, and how many of the parent's are gone."""

    kept: int
    new: int
    gone: int


class WriteState(Protocol):
    """Writes a training's state into a folder that isn't there yet."""

    def __call__(self, folder: Path, *, facts: Mapping[str, object]) -> None:
        """`facts` go into its manifest."""


def write_training_state(folder: Path, *, pair: TowerPair, run_dir: Path, facts: Mapping[str, object]) -> None:
    """Write the weights of the trained towers and the optimiser's state of the run's last checkpoint, by name."""
    folder.mkdir()
    state = {f"weight.{name}": value.detach().cpu().contiguous() for name, value in pair.state_dict().items()}
    kept = newest_optimiser_state(run_dir)
    for number, name in enumerate(optimiser_order(pair)):
        state |= {f"optimiser.{name}.{part}": value.contiguous() for part, value in kept.get(number, {}).items()}
    save_file(state, folder / _FILE)
    write_manifest(folder, STATE_KIND, facts)


def carry_over(warm: WarmStart, pair: TowerPair, optimiser: torch.optim.Optimizer, features: Features) -> CarriedOver:
    """Give freshly made towers, and their optimiser, what the earlier version learned.

    Raises ArtifactError where its state can't be read, or is of towers of another shape.
    """
    try:
        state = load_file(warm.state / _FILE)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{warm.state / _FILE}: not a training's state: {error}") from error
    before = Features.load(warm.features)
    rows = {name: _rows(old, new) for name, old, new in _tables(pair, before, features)}
    for name, weight in pair.named_parameters():
        given = _placed(f"weight.{name}", state, weight, rows.get(name), warm)
        if name == _IDS and not pair.item.has_features:
            new = rows[name].new.to(weight.device)
            given = torch.where(new[:, None], weight.detach(), given)
        with torch.no_grad():
            weight.copy_(given)
        moments = _moments(name, state, weight, rows.get(name), warm)
        if moments and weight.requires_grad:
            optimiser.state[weight] = moments
    return _counted(before, features)


def _tables(pair: TowerPair, before: Features, now: Features) -> Iterator[tuple[str, Vocabulary, Vocabulary]]:
    """Names of weights whose rows are codes of a vocabulary, with the vocabulary of both versions."""
    yield _IDS, before.item_vocabulary, now.item_vocabulary
    if pair.user.actions is not None:
        yield "user.actions.weight", before.actions, now.actions
    for place, module in pair.named_modules():
        if not isinstance(module, FeatureSum):
            continue
        for number, key in enumerate(module.names):
            side, name = _feature(place, key)
            old, new = _vocabulary(before, side, name), _vocabulary(now, side, name)
            if old is not None and new is not None:
                part = module.parts[number]
                inner = ".0" if isinstance(part, nn.Sequential) else ""
                yield f"{place}.parts.{number}{inner}.table.weight", old, new


def _feature(place: str, key: str) -> tuple[Side, str]:
    """The side and name of a feature, from where its vector is made and under which key."""
    if place.startswith("item"):
        return "item", key
    side, _, name = key.partition("_")
    return next(one for one in SIDES if one == side), name


def _vocabulary(features: Features, side: Side, name: str) -> Vocabulary | None:
    for made in features.transforms[side]:
        if name in made.declaration.input_names:
            return made.state().vocabulary
    return None


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the rows of a table come from: the earlier code of each, int64 [rows], and which words are new, bool."""

    codes: Tensor
    new: Tensor


def _rows(old: Vocabulary, new: Vocabulary) -> _Rows:
    special = torch.arange(new.first).clamp(max=old.first - 1)
    words = torch.tensor(old.codes(new.words), dtype=torch.int64)
    return _Rows(torch.cat([special, words]), torch.cat([special < 0, words < old.first]))


def _placed(key: str, state: Mapping[str, Tensor], like: Tensor, rows: _Rows | None, warm: WarmStart) -> Tensor:
    """The earlier tensor, its rows where the new codes want them. Raises ArtifactError where it doesn't fit."""
    found = state.get(key)
    if found is not None and rows is not None:
        found = found[rows.codes]
    if found is None or found.shape != like.shape:
        shape = "nothing" if found is None else list(found.shape)
        raise ArtifactError(
            f"{warm.state}: holds {shape} for {key}, expected {list(like.shape)}: the towers of {warm.version} have "
            "another shape; set retrain.warm_start = false, or the settings that it was trained with"
        )
    return found.to(like.device, like.dtype)


def _moments(name: str, state: Mapping[str, Tensor], weight: Tensor, carried: _Rows | None, warm: WarmStart) -> Moments:
    """The optimiser's state of one weight; rows of new words have none yet."""
    step = state.get(f"optimiser.{name}.step")
    if step is None:
        return {}
    found = {"step": step.clone()}
    for part in _MOMENTS:
        values = _placed(f"optimiser.{name}.{part}", state, weight, carried, warm).clone()
        if carried is not None:
            values[carried.new.to(values.device)] = 0.0
        found[part] = values
    return found


def _counted(before: Features, now: Features) -> CarriedOver:
    old, new = set(before.item_vocabulary.words), set(now.item_vocabulary.words)
    found = CarriedOver(len(old & new), len(new - old), len(old - new))
    _log.info("%s: %s ids carried over, %s new, %s gone", ITEM_ID, found.kept, found.new, found.gone)
    return found
