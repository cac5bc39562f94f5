"""What the judge did in a run: figures from the frames of `armbench.results.frames`.

Each section is a table with its notes and, where a picture says more, a chart. Text, PNG and
HTML are made from the same sections.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from armbench.intervals import clustered_wilson
from armbench.results.formats import Block
from armbench.results.frames import Frames, read_frames


@dataclass(frozen=True)
class Bars:
    """Stacked horizontal bars.

    Attributes:
        unit: What the axis counts.
        labels: Name of each bar.
        parts: Lengths by name of the part, one per bar.
    """

    unit: str
    labels: tuple[str, ...]
    parts: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Points:
    """Estimates with their intervals.

    Attributes:
        unit: What the axis measures.
        labels: Name of each estimate.
        values: The estimates.
        lows: Lower ends.
        highs: Upper ends.
        reference: Where to draw a line: no effect.
        span: Ends of the axis; from the data if None.
    """

    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    reference: float | None = None
    span: tuple[float, float] | None = (0.0, 1.0)


Chart = Bars | Points


@dataclass(frozen=True)
class Section:
    """One part of the analysis.

    Attributes:
        key: File name of its chart, without ending.
        block: Table and notes.
        chart: Its picture.
    """

    key: str
    block: Block
    chart: Chart | None = None


@dataclass(frozen=True)
class Analysis:
    """The analysis of a run.

    Attributes:
        path: The run.
        judge: Name of the judge.
        sections: In reading order.
        frames: What it was worked out from.
    """

    path: Path
    judge: str
    sections: tuple[Section, ...]
    frames: Frames = field(repr=False)


def analyze(path: Path) -> Analysis:
    """Work out every section for a run directory.

    Raises:
        ConfigError: If `path` is no run directory, or holds no finished episode.
    """
    from armbench.results import bias, conduct, evidence_use, failures, labels

    frames = read_frames(path)
    makers: Sequence[Callable[[Frames], Section]] = (
        conduct.outcomes,
        labels.agreement,
        conduct.turns,
        conduct.tools,
        conduct.errors,
        evidence_use.looks,
        evidence_use.accuracy_by_evidence,
        evidence_use.lift,
        bias.position_and_length,
        bias.calibration,
        conduct.spoofs,
        conduct.costs,
        conduct.costs_by_turn,
        failures.clusters,
    )
    judge = str(frames.episodes.model.iloc[0])
    return Analysis(path, judge, tuple(make(frames) for make in makers), frames)


# --- what the sections share --------------------------------------------------------------


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]], *notes: str) -> Block:
    """A block whose cells are worded by `word`."""
    made = tuple(tuple(map(word, row)) for row in rows)
    return Block(title, tuple(head), made, tuple(filter(None, notes)))


def word(value: object) -> str:
    """A cell: shares and seconds with three digits, whole numbers as they are, n/a for nothing."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return "n/a"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def share(part: float, whole: float) -> float | None:
    """A quotient; None of nothing."""
    return float(part) / float(whole) if whole else None


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of some rows of the episode frame.

    Attributes:
        episodes: Rows that count towards it.
        value: Share of correct ones; None of nothing.
        low: Lower end of the clustered 95% interval.
        high: Upper end.
    """

    episodes: int
    value: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "n/a"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def accuracy(episodes: pd.DataFrame) -> Accuracy:
    """Accuracy of rows of the episode frame, as in the run's own report."""
    counted = episodes[episodes.correct.notna()]
    if counted.empty:
        return Accuracy(0)
    rows = counted[["task", "cluster", "item", "correct"]].itertuples(index=False, name=None)
    values: list[tuple[Hashable, Hashable, float]] = [
        ((t, c), (t, i), float(v)) for t, c, i, v in rows
    ]
    low, high = clustered_wilson(values)
    return Accuracy(len(counted), float(counted.correct.mean()), low, high)


def points(unit: str, found: Mapping[str, Accuracy]) -> Points | None:
    """A chart of accuracies; None if there is none to draw."""
    known = {name: a for name, a in found.items() if a.value is not None}
    if not known:
        return None
    return Points(
        unit,
        tuple(known),
        tuple(a.value or 0.0 for a in known.values()),
        tuple(a.low or 0.0 for a in known.values()),
        tuple(a.high or 0.0 for a in known.values()),
    )
