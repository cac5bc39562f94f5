"""Where demonstrations come from: run directories, sharegpt files, functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import JsonValue

from armbench.errors import ConfigError
from armbench.evaluate import read_records
from armbench.images import ImageStore
from armbench.runlog import RunDir
from armbench.training.sharegpt import Unusable, read_sharegpt
from armbench.trajectory import Judgement, ModelEvent, Trajectory
from armbench.types import ImagePart, Message, Reply, Sample, TextPart

__all__ = [
    "Demonstration",
    "MadeSource",
    "RunSource",
    "SharegptSource",
    "Source",
    "Unusable",
    "exercise",
    "open_sources",
]

Demonstration = tuple[Trajectory, Sample | None, ImageStore]
"""An episode to learn from, its item if known, and where its pictures are."""


class Source(Protocol):
    """Where demonstrations come from."""

    name: str
    """Says where, in reports."""

    def loop(self, trajectory: Trajectory) -> Mapping[str, Any]:
        """Settings of the agent loop that an episode was run with, as far as known."""

    def __iter__(self) -> Iterator[Demonstration | Unusable]:
        """The demonstrations, and what could not be read as one; the same at each pass."""


class RunSource:
    """The episodes of a run directory.

    Args:
        path: The run directory.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._run = str(path), RunDir(path)
        config = self._run.config()
        self._tasks: Mapping[str, Any] = config.get("tasks", {})
        self._over: Mapping[str, Any] = config.get("judge", {}).get("loop", {})

    def loop(self, trajectory: Trajectory) -> Mapping[str, Any]:
        """The task's loop with the judge's changes."""
        spec = self._tasks.get(trajectory.task, {}).get("spec", {})
        return {**spec.get("loop", {}), **self._over}

    def __iter__(self) -> Iterator[Demonstration]:
        """The episodes by key; those that broke are no demonstrations.

        Raises:
            ConfigError: If the log is broken.
        """
        for record in read_records(self._run):
            if record.trajectory.stop.reason != "error":
                yield record.trajectory, record.sample, self._run.images


class SharegptSource:
    """A sharegpt file.

    Args:
        path: JSON array or JSON lines; see `armbench.training.sharegpt`.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path, self._store = str(path), path, ImageStore()

    def loop(self, trajectory: Trajectory) -> Mapping[str, Any]:
        """Nothing is known of it."""
        return {}

    def __iter__(self) -> Iterator[Demonstration | Unusable]:
        """The rows.

        Raises:
            DataError: If the file cannot be read.
        """
        for row in read_sharegpt(self._path, self._store):
            yield row if isinstance(row, Unusable) else (*row, self._store)


@dataclass(frozen=True)
class MadeSource:
    """Demonstrations from a function.

    Attributes:
        name: Says where they come from.
        make: Gives them; the same at each call.
        settings: Settings of the loop that they were made with.
    """

    name: str
    make: Callable[[], Iterable[Demonstration]]
    settings: Mapping[str, JsonValue]

    def loop(self, trajectory: Trajectory) -> Mapping[str, Any]:
        """The settings."""
        return self.settings

    def __iter__(self) -> Iterator[Demonstration]:
        """What the function gives."""
        return iter(self.make())


def exercise(task: str, shown: str | ImagePart, said: str, sample_id: str = "") -> Trajectory:
    """An episode of one turn that belongs to no item.

    Args:
        task: Says what it exercises.
        shown: The user's message.
        said: The judge's turn.
        sample_id: Tells it from others.
    """
    part = TextPart(text=shown) if isinstance(shown, str) else shown
    return Trajectory(
        sample_id=sample_id,
        sample_hash="",
        task=task,
        dialect="hermes",
        messages=(Message(role="user", parts=(part,)),),
        events=(ModelEvent(reply=Reply(text=said), kept=len(said)),),
        judgement=Judgement(parse="missing"),
    )


def open_sources(names: Sequence[str], folder: Path) -> list[Source]:
    """Sources as a recipe names them.

    Args:
        names: Run directories and sharegpt files.
        folder: Where their paths start.

    Raises:
        ConfigError: If one is neither.
    """
    if not names:
        raise ConfigError("no training data: name run directories or sharegpt files in sft.data")
    sources: list[Source] = []
    for name in names:
        path = folder / Path(name).expanduser()
        if (path / "run.json").is_file():
            sources.append(RunSource(path))
        elif path.is_file() and path.suffix in (".json", ".jsonl"):
            sources.append(SharegptSource(path))
        else:
            raise ConfigError(
                f"{path} is no training data: give a run directory (with run.json) or a "
                "sharegpt file (.json, .jsonl)"
            )
    return sources
