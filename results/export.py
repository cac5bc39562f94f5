"""Runs in the forms of other programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from armbench.errors import ConfigError
from armbench.results.export_pictures import Pictures
from armbench.runlog import RunDir

To = Literal["inspect", "jsonl", "parquet", "csv", "openai"]
Table = Literal["episodes", "events", "calls"]

_NEEDS = {
    "inspect": ("inspect_ai", "inspect-ai", "inspect"),
    "parquet": ("pyarrow", "pyarrow", "results"),
}
"""Module, package and extra."""


@dataclass(frozen=True)
class Exported:
    """What was made.

    Attributes:
        paths: The files.
        rows: Rows or episodes in them.
        unit: What was counted: ``episodes``, ``events`` or ``calls``.
        missing: Pictures without a file.
        broken: Pictures that cannot be decoded.
    """

    paths: tuple[Path, ...]
    rows: int
    unit: str
    missing: int = 0
    broken: int = 0


def export(path: Path, to: To, out: Path | None = None, table: Table | None = None) -> Exported:
    """Write a run in another form; files of the same name are replaced.

    Args:
        path: Run directory.
        to: ``inspect``: a folder of ``.eval`` logs, one for each task; ``openai``: JSON lines of
            chat messages, pictures in a folder beside; the others: a table.
        out: Where to; None for a name after the run in the current folder.
        table: Which table: ``episodes`` (as None), ``events`` or ``calls``.

    Raises:
        ConfigError: If the run cannot be read or is empty, a package is missing, `table` does
            not fit `to`, or `out` cannot be written.
    """
    flat = to in ("jsonl", "parquet", "csv")
    if table is not None and not flat:
        raise ConfigError(f"--table is for jsonl, parquet and csv, not for {to}")
    _check_package(to)
    run = RunDir(path)
    out = out or _named(run, to, table or "episodes")
    try:
        if flat:
            return _flat(run, to, out, table or "episodes")
        return _inspect(run, out) if to == "inspect" else _openai(run, out)
    except OSError as error:
        raise ConfigError(f"cannot export to {out}: {error.strerror or error}") from error


def _check_package(to: str) -> None:
    module, package, extra = _NEEDS.get(to, ("armbench", "", ""))
    if find_spec(module) is None:
        raise ConfigError(f"--to {to} needs {package}: pip install 'armbench[{extra}]'")


def _named(run: RunDir, to: str, table: str) -> Path:
    name = run.path.resolve().name
    ending = {"inspect": "inspect", "openai": "openai.jsonl"}.get(to, f"{table}.{to}")
    return Path(f"{name}-{ending}")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file to write that takes the place of `out` when it is whole."""
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        yield part
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _flat(run: RunDir, to: str, out: Path, table: Table) -> Exported:
    from armbench.results.export_flat import write_flat

    with _whole(out) as part:
        rows = write_flat(run.path, part, to, table)
    return Exported((out,), rows, table)


def _openai(run: RunDir, out: Path) -> Exported:
    from armbench.results.export_openai import write_openai

    pictures = Pictures(run)
    with _whole(out) as part:
        rows = write_openai(run, part, out.with_name(f"{out.stem}-images"), pictures)
    return _made((out,), rows, pictures)


def _inspect(run: RunDir, out: Path) -> Exported:
    from armbench.results.export_inspect import write_inspect

    pictures = Pictures(run)
    paths, rows = write_inspect(run, out, pictures)
    return _made(tuple(paths), rows, pictures)


def _made(paths: tuple[Path, ...], rows: int, pictures: Pictures) -> Exported:
    return Exported(paths, rows, "episodes", len(pictures.missing), len(pictures.broken))
