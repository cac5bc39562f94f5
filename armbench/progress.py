"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

from armbench.intervals import wilson
from armbench.score import UNSCORED, Record

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PLAIN_EVERY = 10.0
"""Seconds between plain lines."""

_SLOW = 2.0


class SlowProgress:
    """Says how far something is, at most every two seconds; silent if it takes no longer.

    Args:
        what: What is being done.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = time.monotonic()

    def __call__(self, done: int, total: int, name: str) -> None:
        """Report `done` of `total`, the last being `name`."""
        if time.monotonic() - self._said > _SLOW:
            self._said = time.monotonic()
            of = f" of {total}" if total > done else ""
            print(f"{self._what}: {done}{of} {name}", file=sys.stderr, flush=True)


class ProgressListener:
    """Shows episodes done, failures by name, accuracy with its interval, tokens, rate, time left.

    Args:
        stream: Where to write; a live line if it is a terminal.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._counts: Counter[str] = Counter()
        self._tokens = 0
        self._total = 0
        self._began = self._said = time.monotonic()
        self._live: Progress | None = None
        self._bar: TaskID | None = None

    def start(self, total: int, skipped: int) -> None:
        """Announce how much there is to do."""
        self._total = total
        self._began = self._said = time.monotonic()
        if skipped:
            self._say(f"{skipped} episodes are already in the log, {total} to go")
        if self._stream.isatty():
            self._go_live(total)

    def done(self, record: Record) -> None:
        """Count an episode."""
        self._counts[record.score.counted_as] += 1
        self._tokens += record.trajectory.usage.output_tokens
        if self._live is not None and self._bar is not None:
            self._live.update(self._bar, advance=1, state=self._state())
        elif time.monotonic() - self._said > _PLAIN_EVERY:
            self._said = time.monotonic()
            self._say(self._line())

    def stop(self) -> None:
        """Say where it ended."""
        if self._live is not None:
            self._live.stop()
        elif self._counts:
            self._say(self._line())

    def _line(self) -> str:
        done = self._counts.total()
        seconds = max(1e-9, time.monotonic() - self._began)
        left = (self._total - done) * seconds / max(1, done)
        return f"{done}/{self._total} episodes, {self._state()}, {left:.0f} s left"

    def _state(self) -> str:
        parts = []
        right, wrong = self._counts["correct"], self._counts["wrong"]
        if right + wrong:
            share = right / (right + wrong)
            low, high = wilson(share, right + wrong)
            parts.append(f"accuracy of scored {share:.3f} [{low:.3f}, {high:.3f}]")
        parts += [f"{self._counts[name]} {name}" for name in UNSCORED if self._counts[name]]
        seconds = max(1e-9, time.monotonic() - self._began)
        parts += [f"{self._tokens} tokens", f"{self._counts.total() / seconds:.1f}/s"]
        return ", ".join(parts)

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _go_live(self, total: int) -> None:
        from rich import progress
        from rich.console import Console

        columns: list[Any] = [
            progress.BarColumn(bar_width=20),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[state]}"),
            progress.TimeRemainingColumn(),
        ]
        self._live = progress.Progress(*columns, console=Console(file=self._stream))
        self._bar = self._live.add_task("", total=total, state="")
        self._live.start()
