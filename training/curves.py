"""Curves of a training run as PNG, by matplotlib's object interface (no global state)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from armbench.errors import ConfigError

__all__ = ["Panel", "can_draw", "draw_curves"]

# Okabe & Ito's colours, which people with any colour vision can tell apart.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f")
_WIDTH, _HEIGHT = 4.2, 3.0
"""Inches of a panel."""


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        title: What it shows, with the unit.
        lines: Names of the lines, and the metric that each draws.
        span: Lowest and highest value of the axis; as the data if None.
    """

    title: str
    lines: Mapping[str, str]
    span: tuple[float, float] | None = None


def can_draw() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw_curves(rows: Sequence[Mapping[str, float]], panels: Sequence[Panel], title: str) -> bytes:
    """Draw metrics over steps: each value pale, and over it the mean of its neighbours.

    Args:
        rows: Metrics by name; ``step`` is in each.
        panels: What to draw; a line without values is left out.
        title: Stands above.

    Returns:
        A PNG; equal rows give equal bytes.

    Raises:
        ConfigError: If matplotlib is missing.
    """
    if not can_draw():
        raise ConfigError("curves need matplotlib: pip install 'armbench[results]'")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "font.family": "DejaVu Sans", "text.parse_math": False}):
        size = (_WIDTH * len(panels), _HEIGHT + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10)
        for number, panel in enumerate(panels):
            _draw(figure.add_subplot(1, len(panels), number + 1), rows, panel)
        out = BytesIO()
        figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


def _draw(axes: Any, rows: Sequence[Mapping[str, float]], panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=9)
    axes.set_xlabel("step")
    for colour, (name, key) in zip(_COLOURS, panel.lines.items(), strict=False):
        points = [(row["step"], row[key]) for row in rows if key in row]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=colour, linewidth=1.6, label=name)
    if panel.span is not None:
        axes.set_ylim(*panel.span)
    if len(panel.lines) > 1 and axes.lines:
        axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def _smooth(values: Sequence[float]) -> list[float]:
    """Means over a window of a twentieth of the run, centred."""
    half = len(values) // 40
    windows = (values[max(0, n - half) : n + half + 1] for n in range(len(values)))
    return [sum(window) / len(window) for window in windows]
