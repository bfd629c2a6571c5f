"""The people and things of the synthetic world: what users are interested in, what items are about.

Everything is drawn in groups (those there from the start, then the newcomers of each day), each from its own seed,
so that a longer period only adds to a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.types import DAY_US

TOPICS = 12
SERIES = 6
"""Every topic has as many series, which are followed in order, round and round."""
CELLS = TOPICS * SERIES
INTERESTS = 3
"""Topics that a user follows at a time."""
FORMATS = ("clip", "article", "film")
COUNTRIES = ("BR", "DE", "FR", "IN", "JP", "KE", "MX", "US")
SEEN_BITS = 1024
"""Bits per user that remember what was seen; exact up to 1,024 items, a Bloom filter of one hash beyond."""
CONTENT_DIM = 8

TOPIC_NAMES = (
    "cooking", "football", "travel", "finance", "gardening", "music", "science", "fashion", "games", "history",
    "health", "cinema",
)  # fmt: skip
_WORDS = {
    "cooking": "pasta oven spice kitchen soup bread",
    "football": "league goal striker cup keeper derby",
    "travel": "island train hostel coast map summit",
    "finance": "stocks budget bonds savings market tax",
    "gardening": "roses compost seeds pruning lawn bulbs",
    "music": "guitar chorus vinyl tour piano drums",
    "science": "quantum fossil orbit enzyme climate neuron",
    "fashion": "denim silk runway vintage sneakers linen",
    "games": "quest boss speedrun puzzle arcade loot",
    "history": "empire castle treaty archive dynasty ruins",
    "health": "sleep stretch vitamins running therapy protein",
    "cinema": "director trailer sequel noir script premiere",
}
_SERIES_WORDS = ("beginners", "weekly", "deep", "classic", "live", "secret")

ArraysT = TypeVar("ArraysT", "Users", "Items")


@dataclass(frozen=True)
class Users:
    """[U] arrays; `interests` [U, 3] topics, `position` [U, 3] series reached in each, `seen` [U, 128] bits."""

    age: npt.NDArray[np.int64]
    country: npt.NDArray[np.int64]
    rate: npt.NDArray[np.float64]
    follows: npt.NDArray[np.int64]
    joined: npt.NDArray[np.int64]
    interests: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.age)


@dataclass(frozen=True)
class Items:
    """[N] arrays; `cell` = topic * SERIES + series, `weight` Zipf popularity, `published` in µs since the first day."""

    cell: npt.NDArray[np.int64]
    format: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    price: npt.NDArray[np.float64]
    published: npt.NDArray[np.int64]
    word: npt.NDArray[np.int64]
    content: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cell)


def topic_prior(seed: int) -> npt.NDArray[np.float64]:
    """How likely users of an age band (5) and country (8) are to follow each topic. [5, 8, TOPICS], sums to 1."""
    random = np.random.default_rng([seed, 10])
    logits = 1.5 * random.normal(size=(5, 1, TOPICS)) + random.normal(size=(1, len(COUNTRIES), TOPICS))
    weights = np.exp(logits)
    prior: npt.NDArray[np.float64] = weights / weights.sum(axis=-1, keepdims=True)
    return prior


def draw_users(count: int, rate: float, prior: npt.NDArray[np.float64], joined: int, seed: list[int]) -> Users:
    """Users who join on day `joined`, visiting at `rate` on average."""
    random = np.random.default_rng(seed)
    age = random.integers(16, 76, count)
    country = random.choice(len(COUNTRIES), count, p=_zipf(len(COUNTRIES), 0.7))
    interests = draw_topics(prior[age_band(age), country], INTERESTS, random)
    honest = random.random(count) < 0.7
    return Users(
        age=age,
        country=country,
        rate=rate * np.exp(random.normal(-0.32, 0.8, count)),
        follows=np.where(honest, interests[:, 0], random.integers(0, TOPICS, count)),
        joined=np.full(count, joined),
        interests=interests,
        position=random.integers(0, SERIES, (count, INTERESTS)),
        seen=np.zeros((count, SEEN_BITS // 8), np.uint8),
    )


def draw_items(count: int, of: int, zipf: float, days: tuple[float, float], seed: list[int]) -> Items:
    """Items published between two days; their popularity ranks are spread over the `of` that there are at the start."""
    random = np.random.default_rng(seed)
    cell = random.integers(0, CELLS, count)
    rank = random.permutation(of)[:count] if count <= of else random.integers(0, of, count)
    centre = np.random.default_rng([seed[0], 11]).normal(size=(CELLS, CONTENT_DIM))
    return Items(
        cell=cell,
        format=random.integers(0, len(FORMATS), count),
        weight=np.asarray((rank + 2.0) ** -zipf, np.float64),
        price=np.asarray(np.round(np.exp(random.normal(1.0 + 0.15 * (cell // SERIES), 0.5)), 2), np.float64),
        published=(random.uniform(*days, count) * DAY_US).astype(np.int64),
        word=random.integers(0, 6, (count, 2)),
        content=(centre[cell] + 0.5 * random.normal(size=(count, CONTENT_DIM))).astype(np.float32),
    )


def joined(first: ArraysT, second: ArraysT) -> ArraysT:
    """Both groups, one after the other."""
    arrays: dict[str, Any] = {
        f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(first)
    }
    return type(first)(**arrays)


def draw_topics(prior: npt.NDArray[np.float64], count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Distinct topics for each row of `prior` [n, TOPICS], likelier ones first (Gumbel top-k). int64 [n, count]."""
    keys = np.log(prior) + random.gumbel(size=prior.shape)
    return np.argsort(-keys, axis=1)[:, :count]


def age_band(age: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which of five bands an age falls in."""
    return np.minimum((age - 16) // 12, 4)


def users_table(users: Users, ids: pa.Array) -> pa.Table:
    """Profiles: what a service would know about its users."""
    names = pa.array(TOPIC_NAMES)
    return pa.table(
        {
            "user_id": ids,
            "age": pa.array(users.age, pa.int32()),
            "country": pa.array(COUNTRIES).take(pa.array(users.country)),
            "follows": names.take(pa.array(users.follows)),
        }
    )


def items_table(items: Items, ids: pa.Array, start_us: int) -> pa.Table:
    """Item features: category, tags, format, price, time of publication, title and a content embedding."""
    topic, series = items.cell // SERIES, items.cell % SERIES
    tags = [[_SERIES_WORDS[s], TOPIC_NAMES[t]] for t, s in zip(topic, series, strict=True)]
    titles = [
        f"{_SERIES_WORDS[s]} {_word(t, first)} and {_word(t, second)}"
        for t, s, (first, second) in zip(topic, series, items.word, strict=True)
    ]
    content = pa.FixedSizeListArray.from_arrays(pa.array(items.content.reshape(-1)), CONTENT_DIM)
    return pa.table(
        {
            "item_id": ids,
            "title": titles,
            "category": pa.array(TOPIC_NAMES).take(pa.array(topic)),
            "tags": pa.array(tags, pa.list_(pa.string())),
            "format": pa.array(FORMATS).take(pa.array(items.format)),
            "price": items.price,
            "published": pa.array(items.published + start_us, pa.timestamp("us", "UTC")),
            "content": content,
        }
    )


def _word(topic: int, number: int) -> str:
    return _WORDS[TOPIC_NAMES[topic]].split()[number]


def _zipf(count: int, exponent: float) -> npt.NDArray[np.float64]:
    weights = (np.arange(count) + 1.0) ** -exponent
    return np.asarray(weights / weights.sum())
