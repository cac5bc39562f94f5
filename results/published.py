"""Published figures, to be read beside measured ones and never mixed with them.

``published.csv`` holds a number a line with its source and table. The values are those of
the source, in percent as printed there, rounding and all.
"""

from __future__ import annotations

import csv
from importlib.resources import files

from armbench.types import Frozen


class Published(Frozen):
    """One published number."""

    source: str
    """Where it was published."""
    table: str
    """Which table there."""
    benchmark: str
    """What was measured; ``mean of benchmarks`` for means over several."""
    model: str
    """Whose figure, as named there."""
    setting: str
    """What else the figure depends on; may be empty."""
    metric: str
    """Part of the benchmark, or kind of mean."""
    value: float
    """In percent."""

    @property
    def label(self) -> str:
        """The model with its setting."""
        return f"{self.model}, {self.setting}" if self.setting else self.model


def published() -> tuple[Published, ...]:
    """Every number of ``published.csv``, in its order."""
    text = files("armbench.results").joinpath("published.csv").read_text("utf-8")
    return tuple(map(Published.model_validate, csv.DictReader(text.splitlines())))
