"""What differs between the configurations of two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from armbench.errors import ConfigError
from armbench.results.formats import plain
from armbench.runlog import differing, read_json

_LONGEST = 60
"""Characters of a value that are shown."""


def diff_config(a: Path, b: Path) -> list[tuple[str, str, str]]:
    """Where two runs were made differently.

    Args:
        a: A run directory.
        b: Another.

    Returns:
        Dotted key in ``run.json``, value in the first, value in the second, both shortened;
        sorted by key, nothing if the runs were made alike.

    Raises:
        ConfigError: If one of them keeps no configuration, or its own cannot be read.
    """
    found = differing(_head(a), _head(b))
    return sorted((key, *_apart(_text(old), _text(new))) for key, old, new in found)


def diff_text(a: Path, b: Path, found: list[tuple[str, str, str]]) -> str:
    """The differences in words, a key with its two values below it."""
    if not found:
        return "same configuration"
    count = "1 key differs" if len(found) == 1 else f"{len(found)} keys differ"
    lines = [f"- {a}", f"+ {b}", f"{count}:"]
    for key, old, new in found:
        lines += [key, f"  - {old}", f"  + {new}"]
    return "\n".join(map(plain, lines))


def _head(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    if not (path / "run.json").is_file():
        raise ConfigError(
            f"{path} is no run directory of armbench, and results of other hosts keep no "
            "configuration that could be compared"
        )
    return read_json(path / "run.json")


def _text(value: Any) -> str:
    if value is None:
        return "(not set)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two different values shortened, so that they still differ."""
    short = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in (old, new)]
    if short[0] != short[1]:
        return short[0], short[1]
    letters = enumerate(zip(old, new, strict=False))
    alike = next((n for n, (a, b) in letters if a != b), min(len(old), len(new)))
    start = max(0, alike - _LONGEST // 2)
    return f"…{old[start : start + _LONGEST]}…", f"…{new[start : start + _LONGEST]}…"
