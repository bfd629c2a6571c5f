"""One day of the synthetic world: who visits when, and what they engage with.

A visit has a topic, drawn from the user's interests by how well they fit the part of the day. Its events walk through
the topic's series in order. An item is drawn from its series by popularity and freshness, avoiding what the user has
seen, and by whether its format suits the device. So the next item depends on the order of the history, on the user's
interests (which the profile hints at), and on the context (hour, device).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.simulation.population import (
    CELLS,
    FORMATS,
    INTERESTS,
    SEEN_BITS,
    SERIES,
    TOPICS,
    Items,
    Users,
    age_band,
    draw_topics,
)
from retrieval.types import DAY_US

ACTIONS = ("click", "save", "view")
DEVICES = ("desktop", "phone", "tv")
BLOCK_USERS = 1 << 16
"""Users simulated at once; also the unit of seeding, so it must never depend on the settings."""
_PARTS_H = ((6.0, 11.0), (11.0, 17.0), (17.0, 23.5))
_DEVICE_BY_PART = np.array([[0.15, 0.80, 0.05], [0.70, 0.28, 0.02], [0.10, 0.35, 0.55]])
_INTEREST_WEIGHTS = np.array([0.5, 0.3, 0.2])
_FITS = 8.0  # a topic's weight in its own part of the day, against 1 in the others
_MOST_STEPS = 12
_MEAN_STEPS = 5.0
_EXPLORED = 0.12  # share of events that follow popularity, not interest
_SUITS = np.array([[0.15, 1.0, 0.3], [1.0, 0.4, 0.1], [0.3, 0.05, 1.0]])  # [device, format]: chance to be taken
_TRIES = 6


@dataclass(frozen=True)
class Shelf:
    """The items of one day ready to be drawn from: sorted by cell, with running sums of their weights."""

    order: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    starts: npt.NDArray[np.float64]
    format: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Events:
    """Events in time order: positions of users and items, µs since the first day, codes of actions and devices."""

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    action: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64]


def fill_shelf(items: Items, day: int) -> Shelf:
    """The items published before the day, by cell; the fresh ones stand in front."""
    out = np.flatnonzero(items.published < day * DAY_US)
    order = out[np.argsort(items.cell[out], kind="stable")]
    age = day - items.published[order] / DAY_US
    weight = items.weight[order] * (1.0 + 5.0 * np.exp(-age / 3.0))
    sums = np.concatenate([[0.0], np.cumsum(weight)])
    starts = sums[np.searchsorted(items.cell[order], np.arange(CELLS + 1))]
    return Shelf(order, sums, starts, items.format)


def drift(users: Users, prior: npt.NDArray[np.float64], share: float, random: np.random.Generator) -> None:
    """Some users lose an interest and take up another, in place."""
    changed = np.flatnonzero(random.random(len(users)) < share)
    slot = random.integers(0, INTERESTS, len(changed))
    taken = draw_topics(prior[age_band(users.age[changed]), users.country[changed]], INTERESTS + 1, random)
    fresh = ~(taken[:, :, None] == users.interests[changed][:, None, :]).any(axis=2)
    users.interests[changed, slot] = taken[np.arange(len(changed)), fresh.argmax(axis=1)]


def simulate(users: Users, first: int, last: int, *, shelf: Shelf, day: int, random: np.random.Generator) -> Events:
    """The events of users first … last - 1 on one day; what they saw and where they stopped is kept in `users`."""
    parts: list[Events] = []
    for part in range(len(_PARTS_H)):
        there = first + np.flatnonzero(random.random(last - first) < users.rate[first:last])
        if len(there):
            parts += _visit(users, there, shelf=shelf, day=day, part=part, random=random)
    if not parts:
        empty = np.zeros(0, np.int64)
        return Events(empty, empty, empty, empty, empty)
    events = [
        np.concatenate([getattr(p, name) for p in parts]) for name in ("user", "item", "time", "action", "device")
    ]
    order = np.argsort(events[2], kind="stable")
    return Events(*(column[order] for column in events))


def _visit(
    users: Users,
    user: npt.NDArray[np.int64],
    *,
    shelf: Shelf,
    day: int,
    part: int,
    random: np.random.Generator,
) -> list[Events]:
    count = len(user)
    begin, end = _PARTS_H[part]
    time = ((day * 24 + random.uniform(begin, end - 0.6, count)) * 3.6e9).astype(np.int64)
    device = _draw(np.broadcast_to(_DEVICE_BY_PART[part], (count, len(DEVICES))), random)
    steps = np.minimum(random.geometric(1.0 / _MEAN_STEPS, count), _MOST_STEPS)
    topics = users.interests[user]
    slot = _draw(_INTEREST_WEIGHTS * np.where(topics % 3 == part, _FITS, 1.0), random)
    topic = topics[np.arange(count), slot]
    series = users.position[user, slot]
    events = []
    for step in range(_MOST_STEPS):
        going = np.flatnonzero(steps > step)
        if not len(going):
            break
        chance = random.random(len(going))
        ahead = np.where(chance < 0.6, 1, np.where(chance < 0.85, 0, random.integers(0, SERIES, len(going))))
        series[going] = (series[going] + ahead) % SERIES
        explores = random.random(len(going)) < _EXPLORED
        item = _pick(
            users,
            user[going],
            topic[going] * SERIES + series[going],
            explores=explores,
            device=device[going],
            shelf=shelf,
            random=random,
        )
        time[going] += (random.exponential(45.0, len(going)) * 1e6).astype(np.int64) + 1_000_000
        found = item >= 0
        chosen = going[found]
        action = _actions(explores[found], random)
        events.append(Events(user[chosen], item[found], time[chosen], action, device[chosen]))
    users.position[user, slot] = series
    return events


def _pick(
    users: Users,
    user: npt.NDArray[np.int64],
    cell: npt.NDArray[np.int64],
    *,
    explores: npt.NDArray[np.bool_],
    device: npt.NDArray[np.int64],
    shelf: Shelf,
    random: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """An item that each of the users has not seen yet, -1 where none turned up."""
    low = np.where(explores, 0.0, shelf.starts[cell])
    high = np.where(explores, shelf.sums[-1], shelf.starts[cell + 1])
    picked = np.full(len(user), -1, np.int64)
    left = np.flatnonzero(high > low)
    for attempt in range(_TRIES):
        spot = low[left] + random.random(len(left)) * (high[left] - low[left])
        place = np.searchsorted(shelf.sums, spot, side="right") - 1
        item = shelf.order[np.minimum(place, len(shelf.order) - 1)]
        byte, bit = _seen_place(item)
        unseen = (users.seen[user[left], byte] & bit) == 0
        suits = random.random(len(left)) < _SUITS[device[left], shelf.format[item]]
        taken = unseen & (suits | (attempt >= _TRIES - 2))
        users.seen[user[left[taken]], byte[taken]] |= bit[taken]
        picked[left[taken]] = item[taken]
        left = left[~taken]
        if not len(left):
            break
    return picked


def _seen_place(item: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    place = item % SEEN_BITS
    return place >> 3, np.left_shift(1, place & 7).astype(np.uint8)


def _actions(explores: npt.NDArray[np.bool_], random: np.random.Generator) -> npt.NDArray[np.int64]:
    """What comes of interest is mostly clicked or saved, what was only tried mostly viewed."""
    chance = random.random(len(explores))
    viewed = np.where(explores, 0.8, 0.15)
    return np.where(chance < viewed, 2, np.where(chance > 0.9, 1, 0))


def _draw(weights: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.int64]:
    """One column for each row, by its weight. int64 [n]."""
    sums = np.cumsum(weights, axis=1)
    spot = random.random(len(weights)) * sums[:, -1]
    return np.asarray((sums <= spot[:, None]).sum(axis=1), np.int64)


assert len(FORMATS) == _SUITS.shape[1]
assert TOPICS % len(_PARTS_H) == 0
