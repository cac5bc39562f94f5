"""Whether two runs are one judge with tools and without, and nothing else."""

from __future__ import annotations

from typing import Any

from armbench.results.runs import RunTable
from armbench.runlog import differing


def with_and_without(a: RunTable, b: RunTable) -> tuple[RunTable, RunTable, list[str]]:
    """The run with tools first; and what stands against reading the difference as theirs."""
    offered = [_offered(run) for run in (a, b)]
    notes = []
    if offered[0] == set() and offered[1]:
        a, b = b, a
        notes.append("the second run given is the one with tools: it comes first here")
    elif None in offered:
        notes.append(
            "warning: which tools were offered cannot be checked, since not both runs keep a "
            "configuration; the first is taken for the one with tools"
        )
    elif not offered[0] or offered[1]:
        names = [", ".join(sorted(tools or ())) or "none" for tools in offered]
        notes.append(
            "warning: this is no pair of a run with tools and one without: the first was "
            f"offered {names[0]}, the second {names[1]}"
        )
    known = None not in offered
    other = [key for key, *_ in differing(_bare(a, b), _bare(b, a))] if known else []
    if a.judge != b.judge:
        other.insert(0, f"judge ({a.judge} and {b.judge})")
    if other:
        notes.append(
            f"warning: more than the tools differs ({', '.join(other)}), so the difference is "
            "not theirs alone"
        )
    return a, b, notes


def _offered(run: RunTable) -> set[str] | None:
    """Names of the tools offered; None if the source does not say."""
    judge = run.config.get("judge")
    if not isinstance(judge, dict):
        return None
    entries: list[Any] = judge.get("tools") or []
    if judge.get("tools") is None:
        tasks = run.config.get("tasks", {}).values()
        entries = [tool for task in tasks for tool in task.get("spec", {}).get("tools", [])]
    return {entry["name"] if isinstance(entry, dict) else str(entry) for entry in entries}


def _bare(run: RunTable, other: RunTable) -> dict[str, Any]:
    """The configuration without its tools, and without tasks that are not compared."""
    tasks = other.config.get("tasks", {})
    common = {name: entry for name, entry in run.config.get("tasks", {}).items() if name in tasks}
    return {
        **run.config,
        "judge": {k: v for k, v in run.config.get("judge", {}).items() if k != "tools"},
        "tasks": {
            name: {**entry, "spec": {k: v for k, v in entry["spec"].items() if k != "tools"}}
            for name, entry in common.items()
        },
    }
