"""The books of a training run: metrics as JSON lines, on the console and in TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["Books", "read_metrics"]

Row = dict[str, float]


def read_metrics(path: Path) -> Iterator[Row]:
    """The lines of a metrics file; a torn last one is left out."""
    if path.is_file():
        for line in path.read_text("utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


class Books:
    """Writes a line for each step to ``metrics.jsonl``, and now and then one to the console.

    Scalars also go to ``tensorboard/`` if the package is installed.

    Args:
        out: Folder of the run.
        shown: Metrics that the console shows, averaged since its last line.
        every: Steps between lines on the console.
    """

    def __init__(self, out: Path, shown: Sequence[str], every: int) -> None:
        self._out, self._shown, self._every = out, tuple(shown), every
        self._since: list[Row] = []
        self._total = 0
        self._first = 0
        self._board: Any = None
        self._live: Any = None
        self._began = 0.0

    def begin(self, step: int, total: int) -> None:
        """Start, or go on after `step` of `total`: later lines are cut off."""
        self._out.mkdir(parents=True, exist_ok=True)
        file = self._out / "metrics.jsonl"
        kept = [row for row in read_metrics(file) if row["step"] <= step]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
        self._total, self._first, self._began = total, step, time.monotonic()
        self._board = _tensorboard(self._out / "tensorboard", step)
        self._live = _live(total, step) if sys.stdout.isatty() else None
        if step:
            self.say(f"going on after step {step} of {total}")

    def write(self, row: Row) -> None:
        """Note a step; `row` has a ``step``."""
        with (self._out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        step = int(row["step"])
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, step)
        self._since.append(row)
        line = self._line(step)
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=step, state=line)
        if step % self._every == 0 or step == self._total:
            self.say(f"step {step}/{self._total}  {line}{self._left(step)}")
            self._since.clear()

    def say(self, line: str) -> None:
        """Print a line, above the progress bar if there is one."""
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text(line))
        else:
            print(line, flush=True)

    def end(self) -> None:
        """Close what is open."""
        if self._live is not None:
            self._live.stop()
        if self._board is not None:
            self._board.close()

    def _line(self, step: int) -> str:
        parts = []
        for name in self._shown:
            values = [row[name] for row in self._since if name in row]
            if values:
                parts.append(f"{name} {math.fsum(values) / len(values):.4g}")
        return "  ".join(parts)

    def _left(self, step: int) -> str:
        each = (time.monotonic() - self._began) / max(1, step - self._first)
        return f"  {each:.2f} s a step, {(self._total - step) * each / 60:.1f} min left"


def _live(total: int, step: int) -> Any:
    from rich import progress

    columns = [
        progress.BarColumn(bar_width=20),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[state]}", markup=False),
        progress.TimeRemainingColumn(),
    ]
    live = progress.Progress(*columns)
    live.add_task("", total=total, completed=step, state="")
    live.start()
    return live


def _tensorboard(folder: Path, step: int) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
