"""Clusters of failures: episodes that went wrong in the same way."""

from __future__ import annotations

import re

import pandas as pd

from armbench.results.analysis import Bars, Section, table
from armbench.results.frames import Frames

_MOST = 12
"""Clusters shown; the rest is counted."""
_EXAMPLES = 3
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


def clusters(frames: Frames) -> Section:
    """Group episodes that are not correct by what happened in them, largest group first."""
    failed = frames.episodes[~frames.episodes.counted_as.isin(["correct", "unlabelled"])]
    if failed.empty:
        return Section("failures", table("Clusters of failures", [], [], "Nothing failed."))
    last = frames.calls.groupby("anchor").tail(1).set_index("anchor").error
    described = failed.assign(
        signature=[_signature(row, str(last.get(row.anchor, ""))) for row in failed.itertuples()]
    )
    groups = [(str(name), group) for name, group in described.groupby("signature")]
    groups.sort(key=lambda pair: (-len(pair[1]), pair[0]))
    rows = [[len(group), name, _examples(group)] for name, group in groups[:_MOST]]
    left = sum(len(group) for _, group in groups[_MOST:])
    heads = ["episodes", "what happened", "examples"]
    note = f"… and {len(groups) - _MOST} smaller clusters with {left} episodes." if left else ""
    more = "An example's name in brackets opens it in a report of armbench view: REPORT.html#e=NAME"
    block = table("Clusters of failures", heads, rows, note, more)
    bars = {"episodes": tuple(float(len(group)) for _, group in groups[:_MOST])}
    return Section("failures", block, Bars("episodes", tuple(n for n, _ in groups[:_MOST]), bars))


def _signature(row: object, last_error: str) -> str:
    """What happened, in words; equal words are one cluster."""
    get = row.__getattribute__
    said = [str(get("counted_as"))]
    if get("counted_as") not in ("wrong", "infrastructure", "refused"):
        detail = _VARIABLE.sub("…", str(get("detail"))).strip()
        said.append(detail or f"stopped: {get('stop')}")
    if get("failures"):
        said.append(str(get("failures")))
    tools = [_short(name) for name in str(get("tools")).split("+") if name]
    said.append(f"called {', '.join(dict.fromkeys(tools))}" if tools else "called no tool")
    if last_error:
        said.append(f"last call failed: {last_error}")
    if not pd.isna(get("evidence_seen")):
        said.append("evidence seen" if get("evidence_seen") else "evidence not seen")
    return "; ".join(said)


def _short(tool: str) -> str:
    return "a checker" if tool.startswith("check_") else tool


def _examples(group: pd.DataFrame) -> str:
    first = group.drop_duplicates("item").head(_EXAMPLES)
    return ", ".join(f"{row.sample_id} [{row.anchor}]" for row in first.itertuples())
