from __future__ import annotations

import pytest
import torch

from retrieval.data import Dataset
from retrieval.features import FeatureInput
from retrieval.towers.config import TowerConfig
from retrieval.towers.dropout import Dropout, rows_of_batch
from retrieval.towers.embedding import FeatureEmbedding, FeatureSum
from retrieval.towers.item_tower import TimeVaryingPart
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import build_pair, space_id
from tests.tiny import TINY_TOWERS, Tiny


def bag(width: int) -> FeatureEmbedding:
    torch.manual_seed(0)
    return FeatureEmbedding(FeatureInput("tags", "item", "bag", 10, width, None), 4)


def test_a_bag_is_the_mean_of_its_codes_whatever_the_padding() -> None:
    short, long = bag(2), bag(5)
    found = short(torch.tensor([[3, 7]]))
    torch.testing.assert_close(found, (short.table.weight[3] + short.table.weight[7])[None] / 2)
    torch.testing.assert_close(found, long(torch.tensor([[3, 7, 0, 0, 0]])))


def test_an_empty_bag_is_the_missing_code() -> None:
    made = bag(3)
    torch.testing.assert_close(made(torch.zeros(1, 3, dtype=torch.int64)), made.table.weight[:1])


def test_a_bag_is_exported_as_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    made, codes = bag(3), torch.tensor([[3, 7, 0], [0, 0, 0], [2, 0, 0]])
    trained = made(codes)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    torch.testing.assert_close(made(codes), trained, rtol=0, atol=1e-7)


def test_features_of_any_form_and_width_add_up_at_the_towers_width() -> None:
    given = {
        "colour": FeatureInput("colour", "item", "codes", 5, 1, None),
        "price": FeatureInput("price", "item", "values", 0, 2, None),
        "tags": FeatureInput("tags", "item", "bag", 9, 3, 6),
    }
    encoded = {"colour": torch.tensor([1, 4]), "price": torch.randn(2, 2), "tags": torch.tensor([[1, 2, 0], [3, 0, 0]])}
    made = FeatureSum(given, 16)
    alone = [FeatureSum({name: feature}, 16) for name, feature in given.items()]
    for one, part in zip(alone, made.parts, strict=True):
        one.parts[0].load_state_dict(part.state_dict())
    torch.testing.assert_close(made(encoded), sum(one(encoded) for one in alone))


def test_how_much_a_time_varying_feature_counts_depends_on_the_item_and_on_the_others() -> None:
    names = ("clicks", "age")
    torch.manual_seed(0)
    made = TimeVaryingPart({name: FeatureInput(name, "item", "codes", 9, 1, None) for name in names}, 16)
    fixed = torch.randn(2, 16)

    def added(clicks: int, age: int) -> torch.Tensor:
        encoded = {"clicks": torch.tensor([clicks, clicks]), "age": torch.tensor([age, age])}
        return made(fixed, encoded).detach()

    rise = added(7, 1) - added(2, 1)
    assert not torch.allclose(rise[0], rise[1], atol=1e-5), "the same for both items"
    assert not torch.allclose(rise, added(7, 5) - added(2, 5), atol=1e-5), "the same at any age"


def test_the_same_seed_gives_the_same_weights_and_space(tiny: Tiny) -> None:
    first, again = build_pair(TINY_TOWERS, tiny.features, 5), build_pair(TINY_TOWERS, tiny.features, 5)
    assert space_id(first, tiny.features) == space_id(again, tiny.features)
    other = build_pair(TINY_TOWERS, tiny.features, 6)
    assert space_id(other, tiny.features) != space_id(first, tiny.features)


def test_one_changed_weight_is_another_space(tiny: Tiny) -> None:
    pair = build_pair(TINY_TOWERS, tiny.features, 5)
    before = space_id(pair, tiny.features)
    with torch.no_grad():
        pair.item.id.table.weight[3, 2] += 1e-6
    assert space_id(pair, tiny.features) != before


def test_building_towers_leaves_the_global_generator_alone(tiny: Tiny) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    build_pair(TINY_TOWERS, tiny.features, 5)
    assert torch.equal(torch.rand(3), expected)


def test_codes_of_no_single_item_have_no_features(tiny: Tiny, dataset: Dataset) -> None:
    inputs = item_inputs(dataset, tiny.features, dataset.histories.last_us)
    vocabulary = tiny.features.item_vocabulary
    for name, values in inputs.by_code.items():
        if name != "item_id":
            assert torch.equal(values[0], values[vocabulary.oov_buckets])  # missing, unknown
    code = vocabulary.code("i7")
    row = int(dataset.histories.item_rows(["i7"])[0])
    assert all(torch.equal(values[code], inputs.by_item[name][row]) for name, values in inputs.by_code.items())


def test_an_id_only_item_tower_without_features_in_history(tiny: Tiny) -> None:
    config = TINY_TOWERS.model_copy(update={"item_features_in_history": False})
    pair = build_pair(config, tiny.features, 0)
    codes = torch.arange(pair.item.codes)
    table = pair.token_table({"item_id": codes})
    assert torch.equal(table[: len(codes)], pair.item.id.table.weight)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_its_gradient_matches(p: float) -> None:
    torch.manual_seed(0)
    drop = Dropout(p).train()
    x = torch.ones(100, 1001, requires_grad=True)
    out = drop(x)
    kept = out.detach()
    assert abs(float((kept == 0).float().mean()) - p) < 0.01
    assert abs(float(kept.mean()) - 1.0) < 0.01
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(x.grad, kept)


def test_dropout_follows_the_seed_and_is_off_in_evaluation() -> None:
    drop, x = Dropout(0.3).train(), torch.randn(50, 7)
    torch.manual_seed(4)
    first = drop(x)
    torch.manual_seed(4)
    assert torch.equal(first, drop(x))
    assert drop.eval()(x) is x


@pytest.mark.parametrize("shape", [(7, 5, 3), (8, 4), (2, 6, 2, 3)])
def test_parts_of_a_batch_are_dropped_from_as_the_whole_is(shape: tuple[int, ...]) -> None:
    """Layer after layer, forward and backward; a third process of two rows has none."""
    drop, whole = Dropout(0.4).train(), torch.randn(shape, requires_grad=True)

    def layers(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return drop(drop(x) * 2.0)

    want = layers(whole)
    want.square().sum().backward()  # type: ignore[no-untyped-call]
    for number in range(3):
        rows = slice(number, None, 3)
        part = whole.detach()[rows].requires_grad_()
        with rows_of_batch(rows, shape[0]):
            have = layers(part)
        have.square().sum().backward()  # type: ignore[no-untyped-call]
        assert torch.equal(have, want[rows])
        assert torch.equal(part.grad, whole.grad[rows])
    assert torch.equal(layers(whole), want), "after a part, all of it again"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="width"):
        TowerConfig.model_validate({"width": 3})


def test_at_first_features_do_not_drown_ids(tiny: Tiny, dataset: Dataset) -> None:
    """Else all items would begin as the same vectors, and epochs would go by before they are told apart."""
    pair = build_pair(TowerConfig(), tiny.features, 0)
    encoded = item_inputs(dataset, tiny.features, dataset.histories.last_us).codes(torch.arange(pair.item.codes))
    with torch.no_grad():
        ids = pair.item.id(encoded["item_id"])
        added = pair.item.represent(encoded) - ids
        vectors = pair.item(encoded)
    assert pair.item.has_features
    assert 0 < added.norm(dim=1).mean() < 3 * ids.norm(dim=1).mean()
    assert (vectors @ vectors.T).mean() < 0.6


def test_what_stands_for_unknown_values_starts_at_nothing() -> None:
    made = FeatureEmbedding(FeatureInput("colour", "item", "codes", 9, 1, None, unknown=3), 4)
    rows = made(torch.arange(9))
    assert not rows[:3].any()
    assert rows[3:].all()
