"""Puts the page together."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from armbench.errors import ConfigError
from armbench.results.page import inert_json, page
from armbench.results.viewer.book import Book, read_book
from armbench.results.viewer.choose import SEED, Choice, blocks, choose, encoded
from armbench.results.viewer.thumbnails import LONG_SIDE, PIXELS, Thumbnail
from armbench.story import visible

_BLOCK = 250_000
_STYLES = ("base.css", "layout.css", "episode.css")
_SCRIPTS = (
    "dom.js",
    "store.js",
    "state.js",
    "list.js",
    "filters.js",
    "picture.js",
    "item.js",
    "turns.js",
    "episode.js",
    "overview.js",
    "keys.js",
    "main.js",
)


@dataclass(frozen=True)
class Viewed:
    """What was made.

    Attributes:
        path: The page.
        size: Its bytes.
        episodes: Episodes it holds.
        of: Episodes of the runs.
        missing: Pictures without a file.
        broken: Pictures that cannot be decoded.
    """

    path: Path
    size: int
    episodes: int
    of: int
    missing: int
    broken: int


def view(
    paths: Sequence[Path], out: Path, max_mb: float = 40.0, limit: int | None = None
) -> Viewed:
    """Write runs as one page.

    Args:
        paths: Run directories; with several, episodes of the same item stand side by side.
        out: The file to write.
        max_mb: Most millions of bytes; see `choose` for what is left out beyond it.
        limit: Most episodes.

    Raises:
        ConfigError: If a run cannot be read or is empty, nothing fits, or `out` cannot be written.
    """
    book = read_book(paths)
    code = _code()
    shared = zlib.compress(to_json(book.shared, inf_nan_mode="strings"))
    heads = inert_json(_index(book, Choice(), limit, max_mb))
    fixed = len(heads.encode()) + sum(map(len, code)) + encoded(len(shared)) + 10_000
    choice = choose(book, int(max_mb * 1e6) - fixed, limit)
    index = _index(book, choice, limit, max_mb)
    attachments = {"shared": shared} | _blocks(book, choice)
    attachments |= {f"p-{sha}": t.data for sha, t in choice.thumbnails.items() if t.data}
    text = page(_title(book), _BODY, code[0], code[1], data=index, attachments=attachments)
    data = text.encode()
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from error
    problems = [t.problem for t in choice.thumbnails.values()]
    return Viewed(
        path=out,
        size=len(data),
        episodes=len(index["rows"]),
        of=sum(head["episodes"] for head in book.heads),
        missing=problems.count("missing"),
        broken=problems.count("broken"),
    )


_BODY = '<div id="app"></div><noscript>This page needs its own script.</noscript>'


def _title(book: Book) -> str:
    return " · ".join(visible(head["name"]) for head in book.heads) + " · armbench"


def _code() -> tuple[str, str]:
    """Style and script; the script's files share one scope of their own."""
    folder = Path(__file__).parent
    style, script = (
        "\n".join((folder / name).read_text("utf-8") for name in names)
        for names in (_STYLES, _SCRIPTS)
    )
    return style, f'(() => {{\n"use strict";\n{script}\n}})();'


def _blocks(book: Book, choice: Choice) -> dict[str, bytes]:
    return {
        f"b-{n}": zlib.compress(b"[%s]" % b",".join(book.items[k].whole_body() for k in keys), 9)
        for n, keys in enumerate(blocks(book, choice.keys, _BLOCK))
    }


def _index(book: Book, choice: Choice, limit: int | None, max_mb: float) -> Any:
    """What the script knows from the start: heads, list, and what was left out."""
    items: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for n, keys in enumerate(blocks(book, choice.keys, _BLOCK)):
        for slot, key in enumerate(keys):
            item = book.items[key]
            rows += [{"item": len(items), "at": at} | row for at, row in enumerate(item.rows)]
            items.append({"block": n, "slot": slot} | item.sample)
    shown = [sum(row["run"] == n for row in rows) for n in range(len(book.heads))]
    index = {
        "runs": [head | {"shown": m} for head, m in zip(book.heads, shown, strict=True)],
        "items": items,
        "rows": rows,
        "problems": _problems(choice.thumbnails),
        "pictures": {"pixels": PIXELS, "longSide": LONG_SIDE},
        "left": {
            "items": len(book.items) - len(items),
            "why": choice.stopped,
            "seed": SEED,
            "limit": limit,
            "maxMb": max_mb,
        },
    }
    # A log can hold numbers that JSON cannot.
    return json.loads(to_json(index, inf_nan_mode="strings"))


def _problems(thumbnails: dict[str, Thumbnail]) -> dict[str, str]:
    return {sha: t.problem for sha, t in thumbnails.items() if t.problem}
