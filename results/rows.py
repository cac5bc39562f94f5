"""The runs that stand beside each other: found, read, and told apart by name."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from armbench.errors import ArmbenchError, ConfigError
from armbench.results.hosts_lmms import result_files
from armbench.results.hosts_vlmeval import prediction_folders
from armbench.results.runs import RunTable, load

_MOST_SETTINGS = 3
"""Settings that a name may carry; where more differ, the run's own name says which it is."""
_LONGEST_VALUE = 32


def expand(paths: Sequence[Path]) -> list[Path]:
    """The runs named by `paths`, each once.

    A folder of run directories stands for all in it, and not for results of hosts beside
    them: those were made from the same episodes. A folder of results of hosts stands for these.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for run in _named(path):
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _named(path: Path) -> list[Path]:
    if (path / "run.json").exists():
        return [path]
    if inside := sorted(head.parent for head in path.glob("*/run.json")):
        return inside
    files = result_files(path)
    hosts = [*(files if len(files) > 1 else [path] if files else []), *prediction_folders(path)]
    return hosts or [path]


def read(paths: Sequence[Path]) -> tuple[list[RunTable], list[str]]:
    """Read runs; see `expand`.

    Returns:
        The runs, and what was wrong with those that could not be read.

    Raises:
        ConfigError: If none could be read.
    """
    tables, problems = [], []
    for path in expand(paths):
        try:
            tables.append(load(path))
        except ArmbenchError as error:
            problems.append(str(error))
    if not tables:
        raise ConfigError("; ".join(problems) or "no run given")
    return tables, problems


def together(tables: Sequence[RunTable]) -> list[list[RunTable]]:
    """Runs apart where no task joins them, neither directly nor through other runs."""
    sets: list[set[str]] = []
    for table in tables:
        tasks = {episode.task for episode in table.episodes}
        joined = [others for others in sets if others & tasks]
        sets = [others for others in sets if not others & tasks] + [tasks.union(*joined)]
    return [
        [table for table in tables if table.episodes[0].task in tasks]
        for tasks in sorted(sets, key=min)
    ]


def labels(tables: Sequence[RunTable]) -> list[str]:
    """A name for each run: its judge's, told apart where several runs have the same.

    What differs in the configuration is added where it is little, else the name of the run's
    folder, else its path.
    """
    tried = [
        [table.judge for table in tables],
        _with_settings(tables),
        [f"{table.judge} ({table.path.name})" for table in tables],
        [f"{table.judge} ({table.path})" for table in tables],
    ]
    chosen: list[str] = []
    for names in zip(*tried, strict=True):
        unique = (name for n, name in enumerate(names) if name and tried[n].count(name) == 1)
        chosen.append(next(unique, names[-1]))
    return [name if chosen.count(name) == 1 else tried[-1][n] for n, name in enumerate(chosen)]


def find(wanted: str, tables: Sequence[RunTable], names: Sequence[str]) -> int:
    """Which run the user means by its label (of `names`), its path, its judge or its folder.

    Raises:
        ConfigError: If there is none, or several.
    """
    path = Path(wanted).resolve()
    tests: list[Callable[[int], bool]] = [
        lambda n: names[n] == wanted,
        lambda n: tables[n].path.resolve() == path,
        lambda n: wanted in (tables[n].judge, tables[n].path.name),
    ]
    hits = [[n for n in range(len(tables)) if test(n)] for test in tests]
    for found in hits:
        if len(found) == 1:
            return found[0]
    what = "several runs are" if any(hits) else "no run is"
    raise ConfigError(f"{what} called {wanted!r}; name one of: {', '.join(names)}")


def _with_settings(tables: Sequence[RunTable]) -> list[str]:
    """Judges with the settings in which they differ from others of their name; "" if too many."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    flat = [dict(_flat(table.config)) for table in tables]
    for table, settings in zip(tables, flat, strict=True):
        groups[table.judge].append(settings)
    names = []
    for table, settings in zip(tables, flat, strict=True):
        group = groups[table.judge]
        keys = [key for one in group for key in one]
        differing = [k for k in dict.fromkeys(keys) if len({one.get(k) for one in group}) > 1]
        own = [f"{k.rpartition('.')[2]}={settings[k]}" for k in differing if k in settings]
        if not differing or len(differing) > _MOST_SETTINGS:
            names.append("")
        else:
            names.append(f"{table.judge} ({', '.join(own)})" if own else table.judge)
    return names


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a configuration by dotted key, as short text; what is not set is left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif value is not None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield prefix, text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
