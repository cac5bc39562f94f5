"""Small runs for the tests of leaderboards, written as strings of outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armbench.report import Episode
from armbench.results.runs import RunTable
from armbench.runlog import RunDir
from armbench.score import Pick
from armbench.trajectory import CountedAs, ModelEvent
from armbench.types import Reply
from tests.helpers import answer, make_sample, make_trajectory

_MARKS: dict[str, CountedAs] = {
    "+": "correct",
    "-": "wrong",
    "m": "malformed",
    "?": "missing",
    "a": "ambiguous",
    "r": "refused",
    "t": "truncated",
    "!": "infrastructure",
    "u": "unlabelled",
}


def episodes(task: str, outcomes: str, **fields: Any) -> list[Episode]:
    """An episode for each letter of `outcomes`, each on an item of its own."""
    return [
        Episode(
            **{
                "model": "m",
                "task": task,
                "sample_id": f"{task}-{n}",
                "item": f"{task}-{n}",
                "cluster": f"{task}-{n}",
                "format": "pair",
                "category": "-",
                "repeat": 0,
                "order": (0, 1),
                "counted_as": _MARKS[mark],
                "labelled": mark != "u",
                "chance": 0.5,
                "pick": None,
                "calls": 1,
                "call_errors": 0,
                "turns": 2,
                "input_tokens": 100,
                "output_tokens": 10,
                "cached_tokens": 0,
                "seconds": 0.5,
                **fields,
            }
        )
        for n, mark in enumerate(outcomes)
    ]


def run(judge: str = "m", tracks: dict[str, str] | None = None, **fields: Any) -> RunTable:
    """A run; `tracks` maps tasks to outcomes, fields of episodes and of the run may be given."""
    of_run = {key: fields.pop(key) for key in list(fields) if key in RunTable.__annotations__}
    tracks = {"toy_a": "++-", "toy_b": "+--"} if tracks is None else tracks
    made = [e for task, text in tracks.items() for e in episodes(task, text, model=judge, **fields)]
    head = {"path": Path("runs") / judge, "source": "armbench", "judge": judge}
    return RunTable(**{**head, "episodes": tuple(made), **of_run})


def picked(item: str, shown: int, chosen: int) -> Pick:
    """A verdict on a pair."""
    return Pick(item, 0, 2, shown, chosen)


def run_dir(
    parent: Path, name: str, verdicts: str = "11", judge: str = "", task: str = "toy"
) -> Path:
    """A run directory: an item with gold 1 for each of `verdicts`, ``?`` where there is none."""
    config = {"tasks": {task: {"spec": {"version": "1"}, "data": "d0"}}, "judge": {"made": name}}
    made = RunDir.create(parent, name, config)
    for n, verdict in enumerate(verdicts):
        sample = make_sample(id=f"s{n}", task=task)
        made.add_sample(sample)
        text = answer(int(verdict)) if verdict != "?" else "I cannot say."
        said = ModelEvent(reply=Reply(text=text), kept=len(text))
        trajectory = make_trajectory(sample, events=(said,))
        made.append(trajectory.model_copy(update={"model": judge or name}))
    made.close()
    return made.path
