"""Whether the judge agrees with the labels of its items: the gold, and what people said."""

from __future__ import annotations

from itertools import product

from armbench.results.agreement import Kappa, cohen_kappa
from armbench.results.analysis import Section, table
from armbench.results.frames import Frames

_RATERS = {"gold": "gold", "human": "people"}
"""Columns of labels in the frame, and what readers call them."""


def agreement(frames: Frames) -> Section:
    """Cohen's kappa of the judge with each kind of label, by task and format.

    By format, since chance is not the same for all: pooled, even a judge that guesses would
    agree with the labels on what can be chosen at all. Answers count by the place they were
    shown in, because many data sets have all right answers in one place.
    """
    episodes = frames.episodes
    # Kappa knows no nearness, which is what ratings are about.
    read = episodes[episodes.shown.notna() | episodes.verdict.isin(["True", "False"])]
    rows: list[list[object]] = []
    for ((task, kind), group), (column, rater) in product(
        read.groupby(["task", "format"]), _RATERS.items()
    ):
        known = group[group[column].notna()]
        if known.empty:
            continue
        found = cohen_kappa(
            list(map(_shown, known.order, known.verdict)),
            list(map(_shown, known.order, known[column])),
            clusters=list(known.cluster),
        )
        figures = (found.pairs, found.agreement, found.expected, _bounded(found))
        rows.append([str(task), str(kind), rater, *figures])
    block = table(
        "Agreement with labels",
        ["task", "format", "label", "verdicts", "agreement", "by chance", "Cohen's kappa [95%]"],
        rows,
        "Verdicts that could be read; ratings are left out. People: labels in the field human."
        if rows
        else "n/a: no verdict could be read on an item with a label that is no rating.",
    )
    return Section("agreement", block)


def _shown(order: str, label: str) -> str:
    """A label in data-set order as it was shown."""
    if label in ("True", "False"):
        return label
    return str(order.split(",").index(label) + 1)


def _bounded(found: Kappa) -> str:
    if found.kappa is None:
        return "n/a"
    return f"{found.kappa:.3f} [{found.low:.3f}, {found.high:.3f}]"
