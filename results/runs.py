"""Runs of any source as one table of episodes.

`load` recognises what it is given by content: a run directory of armbench, a
result folder of lmms-eval, an output folder of VLMEvalKit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from armbench.errors import ConfigError
from armbench.evaluate import policies, read_records
from armbench.progress import SlowProgress
from armbench.report import Episode
from armbench.runlog import RunDir
from armbench.score import UnscoredPolicy
from armbench.types import digest

Source = Literal["armbench", "lmms-eval", "VLMEvalKit"]


@dataclass(frozen=True)
class RunTable:
    """A run reduced to its episodes.

    Attributes:
        path: Where it was read.
        source: Who wrote it.
        judge: Name of the judge, for table rows.
        episodes: The scored episodes, sorted by key; at least one.
        policies: Unscored policy by task; ``wrong`` where absent.
        config: The run's configuration, as far as its source keeps one.
        notes: What a reader of its figures should know.
    """

    path: Path
    source: Source
    judge: str
    episodes: tuple[Episode, ...]
    policies: dict[str, UnscoredPolicy] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load(path: Path) -> RunTable:
    """Read a run.

    Raises:
        ConfigError: If `path` is no run of a known source, is of a newer format, is
            broken, or holds no finished episode.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    return load_run(path)


def load_run(path: Path) -> RunTable:
    """Read a run directory of armbench; see `load`."""
    run, say = RunDir(path), SlowProgress(f"reading {path.name}")
    episodes = []
    for record in read_records(run):
        episodes.append(Episode.of(record))
        say(len(episodes), len(episodes), "episodes")
    if not episodes:
        raise ConfigError(f"{path} holds no finished episode yet")
    return RunTable(
        path=path,
        source="armbench",
        judge=episodes[0].model,
        episodes=tuple(episodes),
        policies=policies(run),
        config=run.config(),
    )


def anchor(task: str, sample_id: str, repeat: int, order: Sequence[int]) -> str:
    """Name of an episode in links into the viewer (``report.html#e=NAME``), equal across runs."""
    return digest([task, sample_id, repeat, list(order)], 12)
