"""``make floors``: the floor judges on a task or group, as a Markdown table.

Examples:
    python -m benchmarks.floors
    python -m benchmarks.floors --task judge_image_qa --data ../shared/data/images
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

from armbench.evaluate import RunOptions, evaluate
from armbench.judge import Judge
from armbench.progress import ProgressListener
from armbench.report import Cell
from armbench.task import Task, resolve

_FLOORS = ("first", "random", "longest", "rules")


def main() -> int:
    """Run the floors and print accuracy by track."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="armbench_mini")
    parser.add_argument("--data", default="")
    parser.add_argument("--out", type=Path, default=None, help="keep the run directories here")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="floors-"))
    tasks = [Task(spec, args.data) for spec in resolve([args.task])]
    rows, chances = [], []
    for name in _FLOORS:
        options = RunOptions(out=out, concurrency=64)
        done = evaluate(tasks, Judge(name), options, listener=ProgressListener(sys.stderr))
        found = [done.report.tasks[task.name] for task in tasks]
        calls = sum(t.calls for t in found) / sum(t.overall.episodes for t in found)
        cells = [_cell(t.overall) for t in found]
        rows.append([name, *cells, _number(done.report.macro), f"{calls:.2f}"])
        chances = [_number(t.overall.chance) for t in found]
    heads = [task.name.removeprefix(f"{args.task}_") for task in tasks]
    rows.insert(0, ["(chance)", *chances, "", ""])
    print(tabulate(rows, headers=["judge", *heads, "macro", "calls/episode"], tablefmt="github",
                   disable_numparse=True))  # fmt: skip
    return 0


def _cell(cell: Cell) -> str:
    if cell.accuracy is None or cell.low is None:
        return "-"
    return f"{cell.accuracy:.3f} [{cell.low:.3f}, {cell.high:.3f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
