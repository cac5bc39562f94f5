"""A run as pandas frames for notebooks and for the analysis.

::

    from armbench.results.frames import read_frames
    run = read_frames("runs/NAME")
    run.episodes.groupby("task").correct.mean()
    run.calls.query("error == ''").groupby("tool").size()

One row per episode, per event, per tool call; the log is read once, episode by episode, and
no text longer than a name is kept. Columns are listed with their meaning and unit in
`EPISODES`, `EVENTS` and `CALLS`. What is not known is NA.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from armbench.errors import ConfigError
from armbench.evaluate import policies, read_records
from armbench.evidence import Evidence, Seen, Sight, seen
from armbench.progress import SlowProgress
from armbench.report import Episode
from armbench.results.agreement import human_label
from armbench.results.calibration import confidence
from armbench.results.runs import anchor
from armbench.results.spoof import judge_spoofs, material_spoofs
from armbench.runlog import RunDir
from armbench.score import Record, UnscoredPolicy
from armbench.trajectory import ModelEvent, NoteEvent, StopEvent, ToolEvent, Trajectory
from armbench.types import Sample

Columns = Mapping[str, tuple[str, str]]

_EPISODE: Columns = {
    "anchor": ("string", "name of the episode in links into the viewer"),
    "task": ("string", "task"),
    "sample_id": ("string", "item"),
}
EPISODES: Columns = {
    **_EPISODE,
    "item": ("string", "content hash of the item"),
    "cluster": ("string", "rows on one picture or document share it"),
    "format": ("string", "item format"),
    "category": ("string", "category"),
    "repeat": ("Int64", "repeat number, from 0"),
    "order": ("string", "data-set numbers of the candidates as shown, e.g. 2,1"),
    "model": ("string", "judge"),
    "counted_as": ("string", "correct, wrong, unlabelled, or the name of an unscored episode"),
    "correct": ("Float64", "1 or 0 under the task's unscored policy; NA is left out"),
    "chance": ("Float64", "accuracy of random choice"),
    "gold": ("string", "right verdict in data-set order"),
    "human": ("string", "what people said, in data-set order, where the item keeps it"),
    "verdict": ("string", "verdict in data-set order"),
    "candidates": ("Int64", "number of candidates"),
    "shown": ("Int64", "position chosen, from 1 (pair items)"),
    "gold_shown": ("Int64", "position of the right candidate, from 1 (pair items)"),
    "length_first": ("Int64", "characters of the candidate shown first"),
    "length_second": ("Int64", "characters of the candidate shown second"),
    "confidence": ("Float64", "probability the judge gives its verdict, where it gives any"),
    "parse": ("string", "how reading the verdict went"),
    "detail": ("string", "why it could not be read"),
    "stop": ("string", "why the episode ended"),
    "failures": ("string", "what broke, as boundary:type"),
    "offered": ("string", "tools offered, joined by +"),
    "tools": ("string", "tools called, joined by +"),
    "turns": ("Int64", "generations"),
    "calls": ("Int64", "calls answered"),
    "call_errors": ("Int64", "of these, answered with an error"),
    "retries": ("Int64", "requests sent again to the model's server"),
    "input_tokens": ("Int64", "prompt tokens"),
    "output_tokens": ("Int64", "generated tokens"),
    "seconds": ("Float64", "wall-clock seconds"),
    "model_seconds": ("Float64", "of these, waiting for the model"),
    "tool_seconds": ("Float64", "of these, waiting for tools"),
    "evidence": ("string", "kind of evidence the item names: region, pages, checks"),
    "evidence_share": ("Float64", "share of the evidence brought before the judge"),
    "evidence_seen": ("boolean", "whether that was enough; NA if the item names none"),
    "spoofs": ("string", "spoof attempts of the judge, joined by +"),
    "material_spoofs": ("string", "spoof attempts in the material, joined by +"),
}
EVENTS: Columns = {
    **_EPISODE,
    "event": ("Int64", "place in the trajectory, from 0"),
    "kind": ("string", "model, tool, note, stop"),
    "turn": ("Int64", "generation it belongs to, from 1"),
    "name": ("string", "tool, reason of a note or a stop, finish reason of a generation"),
    "error": ("string", "error kind of a call; empty if it went well"),
    "calls": ("Int64", "calls written in a generation"),
    "characters": ("Int64", "characters written by the judge, or shown to it"),
    "pictures": ("Int64", "pictures that a call brought"),
    "input_tokens": ("Int64", "prompt tokens of a generation"),
    "output_tokens": ("Int64", "tokens of a generation"),
    "retries": ("Int64", "requests sent again"),
    "seconds": ("Float64", "seconds waited for it"),
}
CALLS: Columns = {
    **_EPISODE,
    "counted_as": ("string", "what the episode counts as"),
    "event": ("Int64", "place in the trajectory, from 0"),
    "turn": ("Int64", "generation it was written in, from 1"),
    "call": ("Int64", "number of the call in the episode, from 1"),
    "tool": ("string", "tool; empty if the call could not be read"),
    "error": ("string", "error kind; empty if it went well"),
    "after_error": ("boolean", "whether the call before it was answered with an error"),
    "repeated": ("boolean", "whether an earlier call of the episode was the same"),
    "truncated": ("boolean", "whether the text of the result was cut"),
    "seconds": ("Float64", "seconds waited for it"),
    "iou": ("Float64", "crop against the evidence's box: overlap over union"),
    "coverage": ("Float64", "share of the evidence's box inside the crop"),
    "whole": ("boolean", "whether the crop is nearly the whole picture"),
    "hit": ("boolean", "whether the crop hit the evidence"),
    "pages": ("Int64", "pages shown"),
    "page_recall": ("Float64", "share of the evidence's pages among them"),
    "page_rank": ("Int64", "place of the first evidence page among them, from 1"),
    "check": ("boolean", "outcome of a check"),
    "wanted_check": ("boolean", "whether the check is one that settles the item"),
}


@dataclass(frozen=True)
class Frames:
    """A run as frames.

    Attributes:
        episodes: One row per episode; columns `EPISODES`.
        events: One row per event; columns `EVENTS`.
        calls: One row per answered call; columns `CALLS`.
        policies: Unscored policy by task.
    """

    episodes: pd.DataFrame
    events: pd.DataFrame
    calls: pd.DataFrame
    policies: dict[str, UnscoredPolicy]


def read_frames(path: Path | str) -> Frames:
    """Read a run directory into frames.

    Raises:
        ConfigError: If `path` is no run directory, or holds no finished episode.
    """
    run = RunDir(Path(path))
    rules = policies(run)
    rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    say = SlowProgress(f"reading {run.path.name}")
    for record in read_records(run):
        shown = seen(record.trajectory.events, record.sample)
        head = _head(record)
        rows[0].append(_episode(head, record, shown, rules.get(record.sample.task, "wrong")))
        rows[1].extend(_events(head, record.trajectory))
        rows[2].extend(_calls(head, record, shown))
        say(len(rows[0]), len(rows[0]), "episodes")
    if not rows[0]:
        raise ConfigError(f"{run.path} holds no finished episode yet")
    made = [_frame(r, c) for r, c in zip(rows, (EPISODES, EVENTS, CALLS), strict=True)]
    if run.config().get("imported"):  # no such file holds them: see `results.importing`
        for frame in made:
            for name in frame.columns[frame.columns.str.endswith(("seconds", "put_tokens"))]:
                frame[name] = pd.Series(pd.NA, frame.index, frame[name].dtype)
    return Frames(*made, policies=rules)


def _frame(rows: list[tuple[Any, ...]], columns: Columns) -> pd.DataFrame:
    values: Iterable[Any] = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pd.DataFrame(
        {
            name: pd.array(list(column), dtype=dtype)
            for (name, (dtype, _)), column in zip(columns.items(), values, strict=True)
        }
    )


def _head(record: Record) -> tuple[str, str, str]:
    t = record.trajectory
    return anchor(t.task, t.sample_id, t.repeat, t.order), t.task, t.sample_id


def _episode(head: Any, record: Record, shown: Seen, policy: UnscoredPolicy) -> tuple[Any, ...]:
    t, sample, episode = record.trajectory, record.sample, Episode.of(record)
    pair = sample.mode == "pair"
    lengths = [len(sample.candidates[n]) for n in t.order] if pair else []
    pick, gold = episode.pick, sample.gold if pair else None
    verdict = pick.chosen if pick is not None else t.judgement.verdict
    called = sorted({e.call.name for e in t.events if isinstance(e, ToolEvent) and e.call.name})
    retries = sum(e.reply.retries for e in t.events if isinstance(e, ModelEvent))
    return (
        *head,
        *(sample.hash, episode.cluster, episode.format, episode.category, t.repeat),
        *(",".join(str(n + 1) for n in t.order), t.model, episode.counted_as),
        *(episode.credit(policy), episode.chance),
        *(_word(sample.gold), _word(human_label(sample)), _word(verdict)),
        *(len(sample.candidates), None if pick is None else pick.shown),
        None if gold is None else t.order.index(int(gold) - 1) + 1,
        *(lengths[0] if lengths else None, lengths[1] if lengths else None),
        confidence(t.judgement),
        *(t.judgement.parse, t.judgement.detail, t.stop.reason),
        "+".join(f"{f.boundary}:{f.type}" for f in t.failures),
        *("+".join(sorted(s.name for s in t.tools)), "+".join(called)),
        *(episode.turns, episode.calls, episode.call_errors, retries),
        *(t.usage.input_tokens, t.usage.output_tokens),
        *(t.timing.seconds, t.timing.model_seconds, t.timing.tool_seconds),
        *(_kind(sample), shown.share, shown.enough),
        *("+".join(judge_spoofs(t)), "+".join(material_spoofs(t, sample))),
    )


def _kind(sample: Sample) -> str | None:
    evidence = Evidence.of(sample)
    found = {"region": evidence.region, "pages": evidence.pages, "checks": evidence.checks}
    return next((name for name, value in found.items() if value), None)


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


def _events(head: Any, t: Trajectory) -> Iterator[tuple[Any, ...]]:
    turn = 0
    for place, event in enumerate(t.events):
        start = (*head, place, event.kind)
        waited = t.timing.waits[place] if place < len(t.timing.waits) else None
        if isinstance(event, ModelEvent):
            turn += 1
            reply, usage = event.reply, event.reply.usage
            yield (*start, turn, reply.finish_reason, "", event.calls,
                   len(reply.text) + len(reply.reasoning), None,
                   usage.input_tokens, usage.output_tokens, reply.retries, waited)  # fmt: skip
        elif isinstance(event, ToolEvent):
            parts = event.result.parts
            text = sum(len(p.text) for p in parts if p.type == "text")
            pictures = sum(p.type == "image" for p in parts)
            yield (*start, turn, event.call.name, _error(event), None,
                   text, pictures, None, None, None, waited)  # fmt: skip
        elif isinstance(event, NoteEvent | StopEvent):
            said = event.text if isinstance(event, NoteEvent) else event.detail
            yield (*start, turn, event.reason, "", None, len(said), None, None, None, None, waited)


def _error(event: ToolEvent) -> str:
    return "" if event.result.error is None else event.result.error.kind


def _calls(head: Any, record: Record, shown: Seen) -> Iterator[tuple[Any, ...]]:
    sights = {sight.event: sight for sight in shown.sights}
    evidence = Evidence.of(record.sample)
    turn, number, failed = 0, 0, False
    waits = record.trajectory.timing.waits
    for place, event in enumerate(record.trajectory.events):
        turn += isinstance(event, ModelEvent)
        if not isinstance(event, ToolEvent):
            continue
        number += 1
        error, sight = _error(event), sights.get(place, Sight(place))
        check = event.result.meta.get("check")
        yield (
            *head,
            *(record.score.counted_as, place, turn, number, event.call.name, error, failed),
            *(sight.repeated if not error else None, event.result.truncated),
            waits[place] if place < len(waits) else None,
            *(sight.iou, sight.coverage),
            *((sight.whole, sight.hit) if sight.coverage is not None else (None, None)),
            *_pages(sight, evidence),
            check if isinstance(check, bool) else None,
            sight.check is not None if evidence.checks and not error else None,
        )
        failed = bool(error)


def _pages(sight: Sight, evidence: Evidence) -> tuple[int | None, float | None, int | None]:
    if not sight.pages:
        return None, None, None
    wanted = set(evidence.pages)
    if not wanted:
        return len(sight.pages), None, None
    rank = next((n for n, page in enumerate(sight.pages, 1) if page in wanted), None)
    return len(sight.pages), len(wanted & set(sight.pages)) / len(wanted), rank
