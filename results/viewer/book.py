"""The runs of a page, read once: heads, and items with their episodes in every run."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from armbench.errors import ConfigError
from armbench.evaluate import policies, read_records, who
from armbench.progress import SlowProgress
from armbench.report import Episode, report
from armbench.results.runs import anchor
from armbench.results.viewer.payload import Needs, episode_payload, item_payload
from armbench.runlog import RunDir, read_json
from armbench.score import UNSCORED, Record
from armbench.story import candidates, plain
from armbench.trajectory import ToolEvent
from armbench.types import Sample

_TITLE = 120
_BAD_ROWS = 20

ItemKey = tuple[str, str, str]


@dataclass
class Item:
    """An item with its episodes in every run.

    Attributes:
        sample: What the list shows of it.
        body: Its payload, JSON, deflated.
        rows: What the list shows of its episodes.
        bodies: Their payloads, deflated, in the order of `rows`.
        needs: Pictures and shared texts of all of it.
    """

    sample: dict[str, Any]
    body: bytes
    rows: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    needs: Needs = field(default_factory=Needs)

    @property
    def rank(self) -> int:
        """0 if an episode went unscored, 1 if one is wrong, else 2: failures are kept first."""
        counted = {row["counted"] for row in self.rows}
        return 0 if counted & set(UNSCORED) else 1 if "wrong" in counted else 2

    def whole_body(self) -> bytes:
        """``{"item": …, "episodes": […]}`` as JSON."""
        episodes = b",".join(map(zlib.decompress, self.bodies))
        return b'{"item":%s,"episodes":[%s]}' % (zlib.decompress(self.body), episodes)


@dataclass
class Book:
    """What a page is made from.

    Attributes:
        heads: The runs, as the page shows them.
        items: By task, id and hash, in that order.
        folders: The runs' picture folders.
        shared: Texts that payloads name by key.
    """

    heads: list[dict[str, Any]] = field(default_factory=list)
    items: dict[ItemKey, Item] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)


def read_book(paths: Sequence[Path]) -> Book:
    """Read run directories.

    Raises:
        ConfigError: If one is no run directory, is broken, of a newer format or empty.
    """
    book = Book()
    progress = SlowProgress("reading episodes")
    for path in paths:
        run = RunDir(path)
        episodes: list[Episode] = []
        # Flips are known when all episodes of an item are read.
        places: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        picks: dict[tuple[str, int], set[int]] = defaultdict(set)
        for record in read_records(run):
            episodes.append(episode := Episode.of(record))
            row = _add(book, record, episode, len(book.heads))
            places[episode.item, episode.repeat].append(row)
            if episode.pick is not None:
                picks[episode.item, episode.repeat].add(episode.pick.chosen)
            progress(len(episodes), len(episodes), f"of {path.name}")
        if not episodes:
            raise ConfigError(f"{path} holds no finished episode yet")
        for key, chosen in picks.items():
            for row in places[key] if len(chosen) > 1 else ():
                row["flipped"] = True
        book.heads.append(_head(run, episodes))
        book.folders.append(run.images.root or path)
    book.items = dict(sorted(book.items.items()))
    return book


def _add(book: Book, record: Record, episode: Episode, run: int) -> dict[str, Any]:
    sample = record.sample
    key = (sample.task, sample.id, sample.hash)
    item = book.items.get(key)
    if item is None:
        needs = Needs(shared=book.shared)
        body = pack(item_payload(sample, needs))
        item = book.items[key] = Item(_listed(sample), body, needs=needs)
    row = _row(record, episode, run)
    item.rows.append(row)
    item.bodies.append(pack(episode_payload(record, item.needs)))
    return row


def pack(payload: Any) -> bytes:
    """JSON, deflated; numbers that JSON cannot hold become words."""
    return zlib.compress(to_json(payload, inf_nan_mode="strings"), 1)


def _listed(sample: Sample) -> dict[str, Any]:
    return {
        "task": sample.task,
        "id": sample.id,
        "format": sample.format,
        "category": sample.category,
        "title": sample.text[:_TITLE],
    }


def _row(record: Record, episode: Episode, run: int) -> dict[str, Any]:
    trajectory, sample = record.trajectory, record.sample
    said, gold = trajectory.judgement.verdict, sample.gold
    if sample.mode == "pair" and gold is not None:  # as shown, like the verdict
        gold = next((c.shown for c in candidates(sample, trajectory) if c.gold), None)
    return {
        "run": run,
        "anchor": anchor(sample.task, sample.id, trajectory.repeat, trajectory.order),
        "repeat": trajectory.repeat,
        "order": [n + 1 for n in trajectory.order],
        "counted": record.score.counted_as,
        "said": "" if said is None else plain(said),
        "gold": "" if gold is None else plain(gold),
        "tools": sorted({e.call.name for e in trajectory.events if isinstance(e, ToolEvent)}),
        "turns": episode.turns,
        "calls": episode.calls,
        "tokens": episode.output_tokens,
    }


def _head(run: RunDir, episodes: list[Episode]) -> dict[str, Any]:
    bad_path = run.path / "bad_rows.json"
    bad = read_json(bad_path) if bad_path.exists() else {}
    rows = [row for group in bad.values() for row in group]
    head = read_json(run.path / "run.json")
    return {
        # A folder's name need not be text.
        "name": run.path.resolve().name.encode("utf-8", "replace").decode(),
        "judge": who(run, episodes[0].model),
        "model": episodes[0].model,
        "config": run.config(),
        "versions": head.get("versions", {}),
        "report": report(episodes, policies(run)).model_dump(mode="json"),
        "episodes": len(episodes),
        "bad_rows": len(rows),
        "bad_messages": [str(row.get("message", "")) for row in rows[:_BAD_ROWS]],
        "tokens": [sum(e.input_tokens or 0 for e in episodes),
                   sum(e.output_tokens or 0 for e in episodes)],
        "seconds": sum(e.seconds or 0.0 for e in episodes),
    }  # fmt: skip
