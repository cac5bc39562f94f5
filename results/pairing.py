"""Which episodes two runs have in common.

Episodes of equal task, sample id, repeat and order, whose item has the same content where
both runs keep its hash.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from armbench.report import Episode
from armbench.results.runs import RunTable

Reason = Literal["other content", "other order or repeat", "not judged"]
"""Why the other run has no such episode: its item of that id differs, it judged the item
otherwise, or it did not judge it."""


class Pair(NamedTuple):
    """One episode as judged in both runs."""

    a: Episode
    b: Episode


class Lone(NamedTuple):
    """An episode that the other run lacks."""

    episode: Episode
    reason: Reason


@dataclass(frozen=True)
class Match:
    """What two runs have in common.

    Attributes:
        pairs: Common episodes, sorted by task, sample, repeat and order.
        only_a: Episodes of the first run that the second lacks.
        only_b: Episodes of the second run that the first lacks.
    """

    pairs: tuple[Pair, ...]
    only_a: tuple[Lone, ...]
    only_b: tuple[Lone, ...]


def match(a: Iterable[Episode], b: Iterable[Episode]) -> Match:
    """Pair the episodes of two runs; see the module's docstring."""
    theirs: dict[_Key, list[Episode]] = defaultdict(list)
    for episode in b:
        theirs[_key(episode)].append(episode)
    pairs, lone_a = [], []
    ids_b = {(e.task, e.sample_id) for group in theirs.values() for e in group}
    ids_a, keys_a = set(), set()
    for episode in a:
        key = _key(episode)
        ids_a.add(key[:2])
        keys_a.add(key)
        group = theirs.get(key, [])
        twin = next((e for e in group if _same_content(episode, e)), None)
        if twin is None:
            # What was paired is taken out of its group; a group that is empty had its pair.
            lone_a.append(Lone(episode, _reason(key in theirs, key[:2] in ids_b)))
        else:
            group.remove(twin)
            pairs.append(Pair(episode, twin))
    lone_b = [
        Lone(episode, _reason(key in keys_a, key[:2] in ids_a))
        for key, group in theirs.items()
        for episode in group
    ]
    return Match(
        tuple(sorted(pairs, key=lambda pair: _key(pair.a))),
        tuple(sorted(lone_a, key=lambda lone: _key(lone.episode))),
        tuple(sorted(lone_b, key=lambda lone: _key(lone.episode))),
    )


_Key = tuple[str, str, int, tuple[int, ...]]


def _key(episode: Episode) -> _Key:
    # One candidate or none has but one order, however a source writes it.
    order = episode.order if len(episode.order) > 1 else ()
    return (episode.task, episode.sample_id, episode.repeat, order)


def _same_content(one: Episode, other: Episode) -> bool:
    return one.item == other.item or not (hashed(one) and hashed(other))


def hashed(episode: Episode) -> bool:
    """Whether the source keeps a hash of the item's content."""
    return episode.item != episode.sample_id


def _reason(same_key: bool, same_id: bool) -> Reason:
    if same_key:
        return "other content"
    return "other order or repeat" if same_id else "not judged"


def nothing_in_common(a: RunTable, b: RunTable, found: Match) -> str:
    """Why no episode could be paired, and what to do about it."""
    reasons = Counter(lone.reason for lone in found.only_a)
    of = f"{a.path} and {b.path} have no episode in common"
    if reasons["other content"]:
        return f"{of}: items of the same id differ in content; judge the same data to compare"
    if reasons["other order or repeat"]:
        return (
            f"{of}: the same items were shown in other orders; use the same --seed and "
            "'orders:' to compare"
        )
    tasks = [", ".join(sorted({e.task for e in run.episodes})) for run in (a, b)]
    return f"{of}: A judged items of {tasks[0]}, B of {tasks[1]}"
