"""The tables that a run prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from armbench.evaluate import Outcome
from armbench.report import Cell, Report, TaskReport
from armbench.score import UNSCORED

_POLICY = {"wrong": "unscored episodes count as wrong", "exclude": "unscored episodes are left out"}


def outcome_text(outcome: Outcome) -> str:
    """The tables of a run, what went wrong with it, and where it is."""
    blocks = [f"judge: {outcome.judge}", report_text(outcome.report)]
    if outcome.policy is not None:
        blocks.append(
            f"policy overridden: {_POLICY[outcome.policy]} in every task, in these tables and in "
            "scores.json; what the run's tasks say is unchanged"
        )
    for task, rows in outcome.bad_rows.items():
        shown = "\n".join(f"  {row.message}" for row in rows[:5])
        more = f"\n  … and {len(rows) - 5} more" if len(rows) > 5 else ""
        blocks.append(f"{task}: {len(rows)} rows could not be judged:\n{shown}{more}")
    if outcome.broken:
        blocks.append(
            f"{outcome.broken} episodes broke (infrastructure); --resume runs just these again"
        )
    blocks.append(f"run: {outcome.path}")
    return "\n\n".join(blocks)


def report_text(report: Report) -> str:
    """Tables by task, by format, and of what went unscored."""
    tasks = list(report.tasks.values())
    rows = [_task_row(t) for t in tasks]
    if len(tasks) > 1:
        rows.append(["macro (mean of tasks)", "", "", _share(report.macro)])
        rows.append(["micro (all episodes)", "", "", _share(report.micro)])
    notes = [f"{task.task}: {_POLICY[task.policy]}" for task in tasks]
    notes.append(_LEGEND)
    blocks = [_table(_TASK_HEAD, rows), "\n".join(notes)]
    blocks.append(_table(["task", "format", *_CELL_HEAD], _cell_rows(tasks, "formats")))
    if any(len(task.categories) > 1 for task in tasks):
        head = ["task", "category", *_CELL_HEAD]
        blocks.append(_table(head, _cell_rows(tasks, "categories")))
    return "\n\n".join(blocks)


_LEGEND = """\
accuracy: Wilson interval, episodes on one picture, document or item counted as a cluster;
consistency: items judged alike in every order; first: verdicts for the first position
(and what no preference would give); calls: tool calls per episode; errors: calls answered with
an error; tokens: generated"""
_CELL_HEAD = ["items", "episodes", "accuracy [95%]", "chance"]
_TASK_HEAD = [
    "task",
    "items",
    "episodes",
    "accuracy [95%]",
    "chance",
    "unscored",
    "consistency",
    "first (even)",
    "calls",
    "errors",
    "tokens",
]


def _task_row(task: TaskReport) -> list[str]:
    cell, position = task.overall, task.position
    episodes = max(1, cell.episodes)
    kinds = ", ".join(f"{task.counts[k]} {k}" for k in UNSCORED if task.counts.get(k))
    unlabelled = task.counts.get("unlabelled")
    if unlabelled:
        kinds = ", ".join(filter(None, [kinds, f"({unlabelled} unlabelled)"]))
    first = f"{_share(position.first_rate)} ({_share(position.first_expected)})"
    return [
        task.task,
        str(cell.items),
        str(cell.episodes),
        _accuracy(cell),
        _share(cell.chance),
        kinds or "0",
        _share(position.consistency),
        first if position.first_rate is not None else "-",
        "-" if task.calls is None else f"{task.calls / episodes:.2f}",
        _count(task.call_errors),
        _count(task.output_tokens),
    ]


def _cell_rows(tasks: Iterable[TaskReport], attribute: str) -> list[list[str]]:
    return [
        [
            task.task,
            name,
            str(cell.items),
            str(cell.episodes),
            _accuracy(cell),
            _share(cell.chance),
        ]
        for task in tasks
        for name, cell in getattr(task, attribute).items()
    ]


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _accuracy(cell: Cell) -> str:
    if cell.accuracy is None or cell.low is None or cell.high is None:
        return "-"
    return f"{cell.accuracy:.3f} [{cell.low:.3f}, {cell.high:.3f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, headers=head, tablefmt="simple", disable_numparse=True)
