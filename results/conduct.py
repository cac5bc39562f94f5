"""What a judge did: outcomes, turns, tools, errors, spoofs, tokens and seconds."""

from __future__ import annotations

from typing import Any, get_args

import pandas as pd

from armbench.results.analysis import Bars, Section, accuracy, share, table, word
from armbench.results.frames import Frames
from armbench.results.spoof import JUDGE_RULES, MATERIAL_RULES
from armbench.trajectory import CountedAs

_UNREADABLE = "malformed_call"
_QUANTILES = (0.5, 0.9, 0.99)


def outcomes(frames: Frames) -> Section:
    """Episodes by what they count as, by task."""
    episodes = frames.episodes
    counts = pd.crosstab(episodes.task, episodes.counted_as)
    names = [name for name in get_args(CountedAs) if name in counts]
    rows = [
        [task, len(group), str(accuracy(group)), group.drop_duplicates("item").chance.mean()]
        + [int(counts.loc[task, name]) for name in names]
        for task, group in episodes.groupby("task")
    ]
    policy = ", ".join(f"{task}: {rule}" for task, rule in sorted(frames.policies.items()))
    block = table(
        "Outcomes",
        ["task", "episodes", "accuracy [95%]", "chance", *names],
        rows,
        f"Unscored episodes count as: {policy}." if policy else "",
    )
    parts = {name: tuple(float(counts.loc[task, name]) for task in counts.index) for name in names}
    return Section("outcomes", block, Bars("episodes", tuple(counts.index), parts))


def turns(frames: Frames) -> Section:
    """How many turns episodes took, and why they ended."""
    counts = pd.crosstab(frames.episodes.turns, frames.episodes.stop)
    rows = [[int(n), int(row.sum()), *map(int, row)] for n, row in counts.iterrows()]
    block = table("Turns and why episodes ended", ["turns", "episodes", *counts.columns], rows)
    labels = tuple(f"{n} turn{'s' if n != 1 else ''}" for n in counts.index)
    parts = {str(stop): tuple(map(float, counts[stop])) for stop in counts}
    return Section("turns", block, Bars("episodes", labels, parts))


def tools(frames: Frames) -> Section:
    """Calls by tool."""
    calls, episodes = frames.calls, frames.episodes
    rows, good, bad = [], [], []
    grouped = [(str(name) or "(unreadable)", group) for name, group in calls.groupby("tool")]
    grouped.sort(key=lambda pair: (-len(pair[1]), pair[0]))
    for name, group in grouped:
        failed = int((group.error != "").sum())
        good.append(float(len(group) - failed))
        bad.append(float(failed))
        rows.append([
            name, len(group), group.anchor.nunique(), share(len(group), len(episodes)),
            share(len(group) - failed, len(group)), int(group.repeated.sum()),
            int(group.truncated.sum()), _sum(group.seconds), group.seconds.median(),
        ])  # fmt: skip
    head = [
        "tool",
        "calls",
        "episodes",
        "per episode",
        "success",
        "repeated",
        "cut",
        "seconds",
        "median s",
    ]
    note = "" if rows else "No tool was called."
    block = table(
        "Calls by tool", head, rows, note,
        "success: answered without error; repeated: the same call as before; cut: text of the "
        "result was over the limit.",
    )  # fmt: skip
    parts = {"answered": tuple(good), "error": tuple(bad)}
    chart = Bars("calls", tuple(name for name, _ in grouped), parts) if rows else None
    return Section("tools", block, chart)


def errors(frames: Frames) -> Section:
    """Calls that failed by kind, and what came of the next call."""
    calls, events = frames.calls, frames.events
    failed = calls[calls.error != ""]
    following = calls[calls.after_error.fillna(False)]
    rows = []
    for kind, group in sorted(failed.groupby("error"), key=lambda pair: (-len(pair[1]), pair[0])):
        before = following[
            following.set_index(["anchor", "call"]).index.isin(
                list(zip(group.anchor, group.call + 1, strict=True))
            )
        ]
        often = str(group.tool.value_counts().sort_index().idxmax()) or "(unreadable)"
        rows.append([kind, len(group), often, len(before), int((before.error == "").sum())])
    written = int(events[events.kind == "model"].calls.sum())
    unreadable = int((calls.error == _UNREADABLE).sum())
    retries = int(frames.episodes.retries.sum())
    block = table(
        "Errors of calls",
        ["kind", "calls", "most often", "tried again", "then answered"],
        rows,
        "" if rows else "No call was answered with an error.",
        f"Malformed calls: {unreadable} of {len(calls)} answered calls "
        f"({word(share(unreadable, len(calls)))}); {written} were written, those after the first "
        "of a turn are not run unless the loop allows it.",
        f"Requests that had to be sent to the model again: {retries}.",
    )
    bars = Bars("calls", tuple(r[0] for r in rows), {"calls": tuple(float(r[1]) for r in rows)})
    return Section("errors", block, bars if rows else None)


def spoofs(frames: Frames) -> Section:
    """Words passed off as evidence or verdict."""
    rows = []
    sources = (
        ("judge", "spoofs", JUDGE_RULES),
        ("material", "material_spoofs", MATERIAL_RULES),
    )
    for who, column, rules in sources:
        names = frames.episodes[column].str.split("+")
        for rule, meaning in rules.items():
            hits = frames.episodes[[rule in found for found in names]]
            examples = ", ".join(hits.sample_id.drop_duplicates().head(3))
            rows.append([who, meaning, len(hits), str(accuracy(hits)), examples])
    head = ["by", "rule", "episodes", "accuracy [95%]", "examples"]
    note = "Narrow patterns; they count and never score: see results/spoof.py."
    return Section("spoofs", table("Spoof attempts", head, rows, note))


def costs(frames: Frames) -> Section:
    """Seconds and tokens of an episode: means, percentiles, by outcome."""
    episodes = frames.episodes.assign(
        other_seconds=lambda e: (e.seconds - e.model_seconds - e.tool_seconds).clip(lower=0)
    )
    columns = {
        "seconds": "seconds",
        "… waiting for the model": "model_seconds",
        "… waiting for tools": "tool_seconds",
        "… in the harness and in queues": "other_seconds",
        "prompt tokens": "input_tokens",
        "generated tokens": "output_tokens",
    }
    groups = {"all": episodes, **dict(iter(episodes.groupby("counted_as")))}
    rows = [
        [label, word(_sum(episodes[name]))]
        + [_known(episodes[name].quantile(q)) for q in _QUANTILES]
        + [_known(group[name].mean()) for group in groups.values()]
        for label, name in columns.items()
    ]
    head = ["per episode", "total", *(f"p{round(100 * q)}" for q in _QUANTILES)]
    block = table(
        "Where time and tokens went",
        [*head, *(f"mean, {name}" for name in groups)],
        rows,
        "Seconds of episodes that ran side by side overlap: their sum is not the run's length.",
    )
    waits = ("model_seconds", "tool_seconds", "other_seconds")
    parts = {
        label.removeprefix("… "): tuple(float(group[name].mean()) for group in groups.values())
        for label, name in columns.items()
        if name in waits and episodes[name].notna().any()
    }
    bars = Bars("mean seconds per episode", tuple(groups), parts)
    return Section("costs", block, bars if parts else None)


def costs_by_turn(frames: Frames) -> Section:
    """Seconds and tokens of each turn of the judge."""
    said = frames.events[frames.events.kind == "model"]
    rows = [
        [f"turn {turn}", len(group), _sum(group.seconds), group.seconds.mean(),
         group.input_tokens.mean(), group.output_tokens.mean()]
        for turn, group in said.groupby("turn")
    ]  # fmt: skip
    head = ["turn", "times", "seconds", "mean s", "mean prompt tokens", "mean generated tokens"]
    block = table("Time and tokens by turn", head, rows)
    tokens = tuple(float(row[5]) for row in rows if not pd.isna(row[5]))
    turns = tuple(str(row[0]) for row in rows)
    bars = Bars("mean generated tokens", turns, {"generated tokens": tokens})
    return Section("costs_by_turn", block, bars if rows and len(tokens) == len(rows) else None)


def _known(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _sum(values: pd.Series) -> float | None:  # type: ignore[type-arg]
    """Sum of what is known; None of nothing."""
    return float(values.sum()) if values.notna().any() else None
