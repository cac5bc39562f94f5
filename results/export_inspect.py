"""A run as logs of inspect (``inspect view``), one for each of its tasks.

Everything is made from the run alone: ids are hashes, times are those of the episodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalScore,
    EvalSpec,
    EvalStats,
)
from inspect_ai.model import GenerateConfig

from armbench.errors import ConfigError
from armbench.evaluate import policies, read_records
from armbench.progress import SlowProgress
from armbench.report import Episode, TaskReport, report
from armbench.results.export_inspect_file import LogFile
from armbench.results.export_inspect_sample import SCORER, moment, sample_name, to_sample, usage
from armbench.results.export_pictures import Pictures, loop_of
from armbench.runlog import RunDir, read_json
from armbench.score import UNSCORED, Record
from armbench.types import Usage, digest


def write_inspect(run: RunDir, folder: Path, pictures: Pictures) -> tuple[list[Path], int]:
    """Write a run.

    Returns:
        The files, and how many episodes are in them.

    Raises:
        ConfigError: If the run cannot be read, or holds no finished episode.
        OSError: If something cannot be written.
    """
    say = SlowProgress(f"exporting {run.path.name}")
    folder.mkdir(parents=True, exist_ok=True)
    logs: dict[str, _TaskLog] = {}
    count = 0
    try:
        for count, record in enumerate(read_records(run), 1):
            task = record.sample.task
            if task not in logs:
                logs[task] = _TaskLog(run, task, record.trajectory.model, folder)
            logs[task].add(record, pictures)
            say(count, count, "episodes")
        if not count:
            raise ConfigError(f"{run.path} holds no finished episode yet")
        return [logs[task].close() for task in sorted(logs)], count
    finally:
        for log in logs.values():
            log.file.abandon()


@dataclass
class _TaskLog:
    """The log of one task while it is written."""

    run: RunDir
    task: str
    model: str
    folder: Path
    episodes: list[Episode] = field(default_factory=list)
    names: set[tuple[str, int]] = field(default_factory=set)
    spent: Usage = field(default_factory=Usage)
    errors: int = 0
    began: float = float("inf")
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.config = self.run.config()
        entry = (self.config.get("tasks") or {}).get(self.task) or {}
        self.about: dict[str, Any] = entry.get("spec") or {}
        self.loop = loop_of(self.config, self.task)
        self.id = digest([self.config, self.task, self.model], 22)
        self.file = LogFile(self.folder, self.spec(moment(0.0)))

    def add(self, record: Record, pictures: Pictures) -> None:
        """Write an episode."""
        t = record.trajectory
        name = sample_name(t)
        if (name, t.repeat) in self.names:  # an item that was changed under the same id
            name = f"{name} {t.sample_hash}"
        self.names.add((name, t.repeat))
        self.file.add(to_sample(record, name, self.loop, pictures))
        self.episodes.append(Episode.of(record))
        self.spent += t.usage
        self.errors += t.stop.reason == "error"
        self.began = min(self.began, t.timing.started)
        self.ended = max(self.ended, t.timing.started + t.timing.seconds)

    def close(self) -> Path:
        """Write the head; returns the file."""
        created = moment(self.began)
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.task).strip("-")[:80] or "task"
        target = self.folder / f"{created:%Y-%m-%dT%H-%M-%S}+00-00_{name}_{self.id}.eval"
        log = EvalLog(
            status="success",
            eval=self.spec(created),
            results=self.results(),
            stats=EvalStats(
                started_at=created.isoformat(),
                completed_at=moment(self.ended).isoformat(),
                model_usage={self.model: usage(self.spent)},
            ),
            samples=[],
        )
        self.file.close(log, target)
        return target

    def spec(self, created: datetime) -> EvalSpec:
        """What was run, and on what."""
        judge = self.config.get("judge") or {}
        return EvalSpec(
            eval_id=self.id,
            run_id=digest(self.config, 22),
            task_id=digest([self.config, self.task], 22),
            created=created.isoformat(),
            task=self.task,
            task_version=str(self.about.get("version", 0)),
            task_args={"judge": judge, "task": self.about},
            solver="armbench",
            model=self.model,
            model_generate_config=GenerateConfig(
                temperature=self.loop.temperature, max_tokens=self.loop.max_tokens_per_turn
            ),
            dataset=EvalDataset(
                name=self.about.get("file") or self.task,
                samples=len({name for name, _ in self.names}),
                sample_ids=sorted({name for name, _ in self.names}),
            ),
            config=EvalConfig(
                epochs=max((repeat for _, repeat in self.names), default=0) + 1,
                token_limit=self.loop.max_tokens,
                time_limit=int(self.loop.max_seconds),
            ),
            packages=read_json(self.run.path / "run.json").get("versions") or {},
            metadata={"seed": self.config.get("seed"), "prompt": self.config.get("prompt")},
        )

    def results(self) -> EvalResults:
        """The figures of the task, worked out by armbench."""
        figures = report(self.episodes, policies(self.run)).tasks[self.task]
        return EvalResults(
            total_samples=len(self.episodes),
            completed_samples=len(self.episodes) - self.errors,
            scores=[
                EvalScore(
                    name=SCORER,
                    scorer=SCORER,
                    scored_samples=len(self.episodes) - figures.unscored,
                    unscored_samples=figures.unscored,
                    metrics={n: EvalMetric(name=n, value=v) for n, v in _metrics(figures)},
                    metadata={"unscored": figures.policy, "interval": "95%, clustered"},
                )
            ],
        )


def _metrics(figures: TaskReport) -> list[tuple[str, float]]:
    """Figures by name; what is not known is left out."""
    cell, position = figures.overall, figures.position
    found: dict[str, float | None] = {
        "accuracy": cell.accuracy,
        "accuracy_low": cell.low,
        "accuracy_high": cell.high,
        "chance": cell.chance,
        "first_rate": position.first_rate,
        "consistency": position.consistency,
        "items": cell.items,
        "unscored": figures.unscored,
        **{name: figures.counts.get(name, 0) for name in UNSCORED},
    }
    return [(name, value) for name, value in found.items() if value is not None]
