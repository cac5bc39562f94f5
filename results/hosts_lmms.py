"""Result folders of lmms-eval: what ``--log_samples --output_path DIR`` left.

lmms-eval writes ``DATE_results.json`` and one ``DATE_samples_TASK.jsonl`` for each task. Rows of
our tasks carry their scored episodes (see `armbench.models.lmms_task`), so that every figure of
a table is the one that the run directory gives. Of other tasks the folder does not say what
counts as right; they are left out by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from armbench.errors import ConfigError, problems
from armbench.progress import SlowProgress
from armbench.report import Episode
from armbench.results.runs import RunTable
from armbench.trajectory import EpisodeKey

_RESULTS = "_results.json"


class _Judged(BaseModel):
    """What our tasks add to a row."""

    made: dict[str, Any]
    episodes: list[Episode]


class _Row(BaseModel):
    """The fields of a row that are read; the rest is skipped, not built."""

    episodes: _Judged
    token_counts: list[dict[str, Any] | None] = Field(default_factory=list)


def result_files(path: Path) -> list[Path]:
    """The results files of lmms-eval that `path` names or holds, oldest first.

    lmms-eval puts them into the folder it is given or into one below it, named by the model.
    """
    if path.is_file():
        return [path] if path.name.endswith(_RESULTS) else []
    found = [*path.glob(f"*{_RESULTS}"), *path.glob(f"*/*{_RESULTS}")]
    return sorted(found, key=lambda file: (file.name, file))


def load_lmms(path: Path) -> RunTable:
    """Read what one run of lmms-eval left.

    Args:
        path: The results file, or a folder that holds exactly one.

    Raises:
        ConfigError: If it holds none or several, or a file is missing or broken, or no task
            is one of ours.
    """
    file = _one(path)
    head = _read_head(file)
    tasks, foreign = _tasks(head)
    notes = [f"{task} left out: its rows do not say what they count as" for task in foreign]
    episodes: dict[EpisodeKey, Episode] = {}
    made: dict[str, Any] = {}
    say = SlowProgress(f"reading {path.name}")
    for task in tasks:
        rows = 0
        for row in _rows(_log_of(file, task)):
            rows += 1
            say(rows, rows, f"rows of {task}")
            made = made or row.episodes.made
            for episode in row.episodes.episodes:
                known = _completed(episode, row, head)
                # Ranks may be padded with a row that another one has as well.
                episodes[known.sample_id, known.item, known.repeat, known.order] = known
        notes += _short(task, rows, head)
    if not episodes:
        raise ConfigError(
            f"{path} holds no scored episode of a judge task: {'; '.join(notes) or 'no task'}"
        )
    # In the order of a run directory: sums of floats depend on it.
    ordered = tuple(episodes[key] for key in sorted(episodes))
    if any(episode.calls is None for episode in ordered):
        notes.append("lmms-eval keeps neither calls nor seconds of its own models")
    return RunTable(
        path=path,
        source="lmms-eval",
        judge=ordered[0].model,
        episodes=ordered,
        policies={name: entry["spec"].get("unscored", "wrong") for name, entry in tasks.items()},
        config={"tasks": tasks, **(made or _settings(head))},
        notes=tuple(notes),
    )


def _one(path: Path) -> Path:
    files = result_files(path)
    if not files:
        raise ConfigError(f"{path} holds no results of lmms-eval")
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in files)
        raise ConfigError(f"{path} holds several runs of lmms-eval; name one of: {names}")
    return files[0]


def _read_head(file: Path) -> dict[str, Any]:
    try:
        head = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    if not isinstance(head, dict) or not isinstance(head.get("configs"), dict):
        raise ConfigError(f"{file} is no results file of lmms-eval: it lacks 'configs'")
    return head


def _tasks(head: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Our tasks with what a run directory says of them, and the names of the others."""
    ours, foreign = {}, []
    for name, config in sorted(head["configs"].items()):
        metadata = config.get("metadata")
        if isinstance(metadata, dict) and "armbench" in metadata:
            ours[name] = metadata["armbench"]
        else:
            foreign.append(name)
    return ours, foreign


def _log_of(file: Path, task: str) -> Path:
    log = file.with_name(f"{file.name.removesuffix(_RESULTS)}_samples_{task}.jsonl")
    if not log.is_file():
        raise ConfigError(f"{log} is missing; run lmms-eval with --log_samples")
    return log


def _rows(log: Path) -> Iterator[_Row]:
    with log.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):  # torn by a kill; `_short` tells
                return
            try:
                yield _Row.model_validate_json(line)
            except ValidationError as error:
                raise ConfigError(f"{log}, line {number}: {problems(error)}") from None


def _completed(episode: Episode, row: _Row, head: dict[str, Any]) -> Episode:
    """With what lmms-eval itself knows of a model that is not ours."""
    if episode.calls is not None:
        return episode
    counts = (row.token_counts[0] if row.token_counts else None) or {}
    return replace(
        episode,
        model=episode.model or str(head.get("model_name") or head.get("model_source") or "-"),
        input_tokens=counts.get("input_tokens"),
        output_tokens=counts.get("output_tokens"),
    )


def _short(task: str, rows: int, head: dict[str, Any]) -> list[str]:
    """A note if lmms-eval says that it judged another number of rows than its log holds."""
    said = head.get("n-samples", {}).get(task, {}).get("effective", rows)
    return [] if said == rows else [f"{task}: {rows} rows in the log, but {said} were judged"]


def _settings(head: dict[str, Any]) -> dict[str, Any]:
    """How a model that is not ours was made, as far as lmms-eval tells."""
    config = head.get("config", {})
    return {"judge": {"backend": config.get("model"), "args": config.get("model_args")}}
