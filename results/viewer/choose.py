"""Which items a page of limited size holds: failures first, then a seeded sample."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from armbench.errors import ConfigError
from armbench.progress import SlowProgress
from armbench.results.viewer.book import Book, Item, ItemKey
from armbench.results.viewer.thumbnails import Thumbnail, Thumbnails
from armbench.types import derive_seed

SEED = 0
"""Seed of the sample."""


@dataclass
class Choice:
    """What goes onto a page.

    Attributes:
        keys: The items, each with all of its orders, repeats and runs.
        thumbnails: Their pictures by hash.
        stopped: Why not all items are there, if so: the size or the number of episodes.
    """

    keys: list[ItemKey] = field(default_factory=list)
    thumbnails: dict[str, Thumbnail] = field(default_factory=dict)
    stopped: Literal["", "size", "limit"] = ""


def choose(book: Book, room: int, limit: int | None) -> Choice:
    """Take items until the page is full.

    Items with an unscored episode come first, then those with a wrong one, then the rest;
    within each of the three the order is drawn by `SEED`. It stops at the first item
    that does not fit, so that long items are not passed over for short ones.

    Args:
        book: All there is.
        room: Bytes left for items and pictures.
        limit: Most episodes.

    Raises:
        ConfigError: If not a single item fits.
    """
    choice, episodes, used = Choice(), 0, 0
    ranked = sorted(book.items, key=lambda key: _place(key, book.items[key]))
    progress = SlowProgress("making thumbnails")
    groups = ([*book.items[key].needs.pictures.values()] for key in ranked)
    made = Thumbnails(book.folders).by_group(groups)
    for done, (key, thumbnails) in enumerate(zip(ranked, made, strict=True), 1):
        item = book.items[key]
        episodes += len(item.rows)
        used += cost(item) + sum(encoded(len(t.data)) for t in thumbnails.values())
        if limit is not None and episodes > limit:
            choice.stopped = "limit"
            break
        if used > room:
            choice.stopped = "size"
            break
        choice.keys.append(key)
        choice.thumbnails |= thumbnails
        progress(done, len(ranked), "items")
    made.close()
    if not choice.keys:
        option = f"--limit {limit}" if choice.stopped == "limit" else "--max-mb"
        raise ConfigError(f"{option} is too small for a single item; make it larger")
    choice.keys.sort()
    return choice


def _place(key: ItemKey, item: Item) -> tuple[int, int]:
    return item.rank, derive_seed(SEED, *key)


def cost(item: Item) -> int:
    """Bytes of an item on the page, a little more than it will take."""
    listed = len(json.dumps([item.sample, item.rows]))
    return listed + encoded(len(zlib.compress(item.whole_body(), 1)))


def encoded(size: int) -> int:
    """Bytes of so much data in base64, with the element that holds it."""
    return (size + 2) // 3 * 4 + 160


def blocks(book: Book, keys: list[ItemKey], size: int) -> Iterator[list[ItemKey]]:
    """Neighbouring items, about `size` bytes of JSON together."""
    block: list[ItemKey] = []
    held = 0
    for key in keys:
        block.append(key)
        held += len(book.items[key].whole_body())
        if held >= size:
            yield block
            block, held = [], 0
    if block:
        yield block
