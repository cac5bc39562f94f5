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
from armbench.evaluate import policies, read_episodes
from armbench.progress import SlowProgress
from armbench.report import Episode
from armbench.runlog import RunDir
from armbench.score import UNSCORED, UnscoredPolicy
from armbench.trajectory import CountedAs
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
        unscored_kinds: The kinds of unscored that the source tells apart from wrong.
    """

    path: Path
    source: Source
    judge: str
    episodes: tuple[Episode, ...]
    policies: dict[str, UnscoredPolicy] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unscored_kinds: tuple[CountedAs, ...] = UNSCORED


def load(path: Path) -> RunTable:
    """Read a run.

    Raises:
        ConfigError: If `path` is no run of a known source, is of a newer format, is
            broken, or holds no finished episode.
    """
    from armbench.results.hosts_lmms import load_lmms, result_files
    from armbench.results.hosts_vlmeval import load_vlmeval, prediction_folders

    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    if (path / "run.json").exists():
        return load_run(path)
    if result_files(path):
        return load_lmms(path)
    if prediction_folders(path):
        return load_vlmeval(path)
    return load_run(path)


def load_run(path: Path) -> RunTable:
    """Read a run directory of armbench; see `load`."""
    run, say = RunDir(path), SlowProgress(f"reading {path.name}")
    episodes = []
    for episode in read_episodes(run):
        episodes.append(episode)
        say(len(episodes), len(episodes), "episodes")
    if not episodes:
        raise ConfigError(f"{path} holds no finished episode yet")
    config = run.config()
    unknown = config.get("imported", {}).get("unknown", [])
    return RunTable(
        path=path,
        source="armbench",
        judge=episodes[0].model,
        episodes=tuple(episodes),
        policies=policies(run),
        config=config,
        notes=(f"imported; not in its file: {', '.join(unknown)}",) if unknown else (),
    )


def anchor(task: str, sample_id: str, repeat: int, order: Sequence[int]) -> str:
    """Name of an episode in links into the viewer (``report.html#e=NAME``), equal across runs."""
    return digest([task, sample_id, repeat, list(order)], 12)
