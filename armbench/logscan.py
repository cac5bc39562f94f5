"""Which lines of a log count, found without building what they hold.

A line of a hundred thousand is thirteen kilobytes of JSON, and to resume a run only its key
and the reason of its end are wanted. Both stand where the writer puts them: the key at the
start of the line, the end behind everything that a judge or a tool can write. A line that does
not look as the writer makes it is read whole.
"""

from __future__ import annotations

import json
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from armbench.errors import ConfigError, problems
from armbench.trajectory import EpisodeKey, Trajectory
from armbench.types import Sample

__all__ = ["Items", "Place", "Scan", "known_hashes", "parse_line", "read_places", "whole_lines"]

M = TypeVar("M", bound=BaseModel)
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_BEGIN = b'{"schema_version":'
_HEAD = re.compile(
    rb'\{"schema_version":\d+,"sample_id":(' + _TEXT + rb'),"sample_hash":"([0-9a-f]*)",'
    rb'"task":' + _TEXT + rb',"repeat":(\d{1,9}),"order":\[((?:\d{1,9}(?:,\d{1,9})*)?)\],'
)
# A quote inside a text is escaped, so that this is never part of one. Objects as free as a call's
# arguments may hold it, but the stop comes after all of them: its place is the last.
_STOP = b'{"kind":"stop","reason":"'
_ERROR = _STOP + b'error"'
_SAMPLE = re.compile(rb'\{"id":(' + _TEXT + rb"),")
_BLOCK = 1 << 20
_KEPT = 64


class Place(NamedTuple):
    """Where a line is, and whether its episode broke."""

    file: Path
    offset: int
    broke: bool


def whole_lines(file: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from an offset on, with theirs; one without its end is left out."""
    with file.open("rb", buffering=_BLOCK) as handle:
        handle.seek(offset)
        for line in handle:
            if line.endswith(b"\n"):
                yield offset, line
            offset += len(line)


def parse_line(line: bytes, file: Path, model: type[M]) -> M:
    """A line as a record.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        raise ConfigError(f"{file} holds a line that cannot be read: {problems(error)}") from None


def ended(trajectory: Trajectory, file: Path) -> Trajectory:
    """The same, if it has an end, which only a line from elsewhere can lack.

    Raises:
        ConfigError: If it has none.
    """
    try:
        _ = trajectory.stop
    except ValueError as error:
        raise ConfigError(f"{file} holds a line that cannot be read: {error}") from None
    return trajectory


class Scan:
    """The line that counts of each episode, over the files of all writers.

    Of one writer's lines the last counts; of several writers' one that did not break beats one
    that did, and the later file counts where that does not decide. Looking again reads only
    what was added meanwhile.
    """

    def __init__(self) -> None:
        self._places: dict[EpisodeKey, Place] = {}
        self._read: dict[Path, int] = {}

    def look(self, files: Iterable[Path]) -> Mapping[EpisodeKey, Place]:
        """Places by key; valid until the next look.

        Raises:
            ConfigError: If a line cannot be read.
        """
        given = list(files)
        sizes = {file: file.stat().st_size for file in given}
        if not all(sizes.get(f, 0) >= end and _ends_line(f, end) for f, end in self._read.items()):
            self._places, self._read = {}, {}  # logs only grow: this is another one
        for file in given:
            for offset, line in whole_lines(file, self._read.get(file, 0)):
                self._read[file] = offset + len(line)
                key, broke = _head(line, file)
                old = self._places.get(key)
                if old is None or _beats(file, broke, old):
                    self._places[key] = Place(file, offset, broke)
        return self._places


def _ends_line(file: Path, end: int) -> bool:
    with file.open("rb") as handle:
        handle.seek(end - 1)
        return handle.read(1) == b"\n"


def _beats(file: Path, broke: bool, old: Place) -> bool:
    if old.file == file:
        return True
    return file > old.file if broke == old.broke else old.broke


def _head(line: bytes, file: Path) -> tuple[EpisodeKey, bool]:
    head = _HEAD.match(line)
    sample_id = _text(head)
    stop = line.rfind(_STOP)
    whole = stop >= 0 and line.endswith(b"}}\n")
    # Two lines run into one, as a disk may leave them, begin twice.
    if head is None or sample_id is None or not whole or line.find(_BEGIN, 1) >= 0:
        trajectory = ended(parse_line(line, file, Trajectory), file)
        return trajectory.key, trajectory.stop.reason == "error"
    order = tuple(map(int, head[4].split(b","))) if head[4] else ()
    key = (sample_id, head[2].decode(), int(head[3]), order)
    return key, line.startswith(_ERROR, stop)


def _text(head: re.Match[bytes] | None) -> str | None:
    """The text that a line begins with; None if it does not begin so, or with what is no text."""
    if head is None:
        return None
    quoted = head[1]
    try:
        text: str = json.loads(quoted) if b"\\" in quoted else quoted[1:-1].decode()
    except ValueError:
        return None
    return text


def read_places(places: Iterable[tuple[Path, int]], model: type[M]) -> Iterator[M]:
    """Records at their places, one after the other.

    Raises:
        ConfigError: If a line cannot be read.
    """
    handles: dict[Path, IO[bytes]] = {}
    with ExitStack() as stack:
        for file, offset in places:
            if file not in handles:
                handles[file] = stack.enter_context(file.open("rb"))
            handles[file].seek(offset)
            yield parse_line(handles[file].readline(), file, model)


def known_hashes(files: Iterable[Path], keys: Iterable[EpisodeKey]) -> set[str]:
    """Hashes of the items that are kept, worked out only where the log does not tell.

    An item is written before its episodes, so that those of a finished episode are there; the
    others are read.

    Raises:
        ConfigError: If a line cannot be read.
    """
    logged = {(sample_id, sample_hash) for sample_id, sample_hash, _, _ in keys}
    hashes = Counter(sample_id for sample_id, _ in logged)
    lines: Counter[str] = Counter()
    places: list[tuple[Path, int, str]] = []
    for file in files:
        for offset, line in whole_lines(file):
            name = _text(_SAMPLE.match(line)) or ""
            lines[name] += 1
            places.append((file, offset, name))
    # As many lines as hashes of an id: these are they.
    rest = [(file, at) for file, at, name in places if not name or lines[name] != hashes[name]]
    known = {
        sample_hash for sample_id, sample_hash in logged if lines[sample_id] == hashes[sample_id]
    }
    return known | {sample.hash for sample in read_places(rest, Sample)}


class Items(Mapping[str, Sample]):
    """The items of a run by hash, read when asked for; a few are kept.

    Memory holds a place for each and not the item: a run of a hundred thousand has items of
    several hundred megabytes.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        self._kept: OrderedDict[str, Sample] = OrderedDict()
        for file in files:
            for offset, line in whole_lines(file):
                sample = parse_line(line, file, Sample)
                self._places.setdefault(sample.hash, (file, offset))

    def __getitem__(self, key: str) -> Sample:
        if key not in self._kept:
            (self._kept[key],) = read_places([self._places[key]], Sample)
            self._kept[key].__dict__["hash"] = key  # worked out already
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
