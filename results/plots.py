"""Charts of an analysis as PNG, by matplotlib's object interface (no global state)."""

from __future__ import annotations

import warnings
from io import BytesIO
from textwrap import shorten
from typing import Any
from unicodedata import combining

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from armbench.results.analysis import Bars, Chart, Points
from armbench.results.formats import plain

# Okabe & Ito's colours, which people with any colour vision can tell apart.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")
_NAMED = {"correct": "#009e73", "wrong": "#d55e00", "answered": "#0072b2", "error": "#d55e00"}
_WIDTH, _ROW, _FRAME = 8.0, 0.34, 1.15
_LONGEST, _SHORT = 60, 24
"""Characters of a name at the axis, and in the legend."""


def draw(chart: Chart, title: str) -> bytes:
    """Draw a chart; equal charts give equal bytes.

    Returns:
        A PNG, 8 inches wide at 150 dots per inch.
    """
    # No mathematics in foreign names: a $ is a $.
    with rc_context({"font.size": 9, "font.family": "DejaVu Sans", "text.parse_math": False}):
        height = _FRAME + _ROW * max(2, len(chart.labels)) + 0.25 * _legend_rows(chart)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes: Any = figure.add_subplot()
        axes.set_title(_label(title), loc="left", fontweight="bold", fontsize=10)
        (_bars if isinstance(chart, Bars) else _points)(axes, chart)
        axes.set_yticks(range(len(chart.labels)), [_label(n) for n in chart.labels], fontsize=8)
        axes.set_ylim(len(chart.labels) - 0.4, -0.6)
        axes.set_xlabel(chart.unit)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        out = BytesIO()
        with warnings.catch_warnings():
            # Letters that the font lacks are drawn as boxes; the table has the name.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


def _label(name: str, longest: int = _LONGEST) -> str:
    """A name on one short line; marks that pile up on a letter are left out."""
    flat = "".join(c for c in plain(name) if not combining(c))
    return shorten(flat, longest, placeholder=" …") or flat[:longest]


def _legend_rows(chart: Chart) -> int:
    return -(-len(chart.parts) // 4) if isinstance(chart, Bars) and len(chart.parts) > 1 else 0


def _bars(axes: Any, chart: Bars) -> None:
    left = [0.0] * len(chart.labels)
    rows = range(len(chart.labels))
    named = _NAMED.values() if _NAMED.keys() & chart.parts.keys() else ()
    spare = [c for c in _COLOURS if c not in named] + list(_COLOURS)
    for name, lengths in chart.parts.items():
        colour = _NAMED.get(name) or spare.pop(0)
        axes.barh(rows, lengths, left=left, height=0.68, color=colour, label=_label(name, _SHORT))
        left = [a + b for a, b in zip(left, lengths, strict=True)]
    for row, total in zip(rows, left, strict=True):
        whole = total < 1e9 and float(total).is_integer()
        text = f" {total:.0f}" if whole else f" {total:.3g}"
        axes.text(total, row, text, va="center", fontsize=8, color="#444444")
    axes.set_xlim(0, (max(left, default=0.0) or 1.0) * 1.1)
    if len(chart.parts) > 1:
        axes.figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=8)


def _points(axes: Any, chart: Points) -> None:
    rows = range(len(chart.labels))
    # At 0 and 1 an end may miss the value by a rounding.
    low = [max(0.0, v - a) for v, a in zip(chart.values, chart.lows, strict=True)]
    high = [max(0.0, b - v) for v, b in zip(chart.values, chart.highs, strict=True)]
    axes.errorbar(chart.values, rows, xerr=[low, high], fmt="o", color=_COLOURS[0], capsize=3)
    for row, value in zip(rows, chart.values, strict=True):
        axes.annotate(
            f"{value:.2f}", (value, row), (0, 6), textcoords="offset points", fontsize=8,
            ha="center", color="#444444",
        )  # fmt: skip
    if chart.reference is not None:
        axes.axvline(chart.reference, color="#444444", linewidth=1, linestyle="--")
    if chart.span is not None:
        axes.set_xlim(*chart.span)
