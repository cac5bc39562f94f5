"""Whether place, length or confidence of an answer moves the judge."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from armbench.report import position
from armbench.results.analysis import Points, Section, table, word
from armbench.results.calibration import (
    brier_score,
    expected_calibration_error,
    reliability_bins,
)
from armbench.results.frames import Frames
from armbench.score import Pick

_FEWEST_CLUSTERS = 20
"""Fewer clusters than this make cluster-robust errors far too small (Cameron & Miller 2015)."""
_LARGEST = 12.0
"""A log odds ratio beyond this means that a term separates the choices perfectly."""

_TERMS = {
    "first": "place: first of two",
    "gold": "right answer (first right against second right)",
    "length": "length: each doubling of first over second",
}


@dataclass(frozen=True)
class Fit:
    """A logistic regression of choosing the first of two answers.

    Attributes:
        episodes: Episodes with a readable choice between two answers.
        terms: (log odds ratio, low, high, p) by name of the term in `_TERMS`.
        reason: Why there are no terms; empty if there are.
    """

    episodes: int
    terms: dict[str, tuple[float, float, float, float]]
    reason: str = ""


def position_and_length(frames: Frames) -> Section:
    """First-position rate, order consistency, and the regression of `fit_choice`."""
    episodes = frames.episodes
    found = position(_picks(episodes))
    fit = fit_choice(episodes)
    rows: list[list[object]] = [
        ["verdicts for the first place", found.first_rate, "", ""],
        ["… expected without preference", found.first_expected, "", ""],
        ["items judged alike in every order", found.consistency, "", ""],
    ]
    for name, (effect, low, high, p) in fit.terms.items():
        odds = f"{math.exp(effect):.3f} [{math.exp(low):.3f}, {math.exp(high):.3f}]"
        rows.append([_TERMS[name], effect, odds, f"{p:.2g}"])
    block = table(
        "Place and length",
        ["figure", "value", "odds ratio [95%]", "p"],
        rows,
        f"Regression: n/a, {fit.reason}." if fit.reason else "",
        f"Logistic regression of choosing the first over {fit.episodes} choices between two "
        "answers, errors robust to clusters; a judge that minds neither place nor length has odds "
        "ratios of 1 there.",
    )
    if not fit.terms:
        return Section("bias", block)
    effects = tuple(zip(*(t[:3] for t in fit.terms.values()), strict=True))
    labels = tuple(_TERMS[name] for name in fit.terms)
    return Section("bias", block, Points("log odds ratio", labels, *effects, 0.0, None))


def _picks(episodes: pd.DataFrame) -> list[Pick | None]:
    made = episodes[episodes.shown.notna()]
    columns = (made.item, made.repeat, made.candidates, made.shown, made.verdict)
    return [
        Pick(str(i), int(r), int(c), int(s), int(v)) for i, r, c, s, v in zip(*columns, strict=True)
    ]


def fit_choice(episodes: pd.DataFrame) -> Fit:
    """Fit log odds of choosing the first = place + right answer + log2 of the length ratio.

    The right answer is a term (+1/2 where the first is right, -1/2 where the second is, 0
    without label), since right answers may be longer. Maximum likelihood with cluster-robust
    errors by statsmodels.
    """
    two = episodes[(episodes.candidates == 2) & episodes.shown.notna()]
    if two.cluster.nunique() < _FEWEST_CLUSTERS:
        return Fit(len(two), {}, f"fewer than {_FEWEST_CLUSTERS} clusters of choices between two")
    first = (two.shown == 1).astype(float).to_numpy()
    if first.min() == first.max():
        return Fit(len(two), {}, "every choice was for the same place")
    lengths = two[["length_first", "length_second"]].clip(lower=1).astype(float)
    gold = two.gold_shown.map({1: 0.5, 2: -0.5}).fillna(0.0)
    design = pd.DataFrame(
        {"gold": gold, "length": np.log2(lengths.length_first / lengths.length_second)}
    )
    design = design.loc[:, design.std() > 0].assign(first=1.0)
    if np.linalg.matrix_rank(design.to_numpy(float)) < design.shape[1]:
        return Fit(len(two), {}, "place, right answer and length cannot be told apart here")
    return _fit(first, design, pd.factorize(two.task + "\n" + two.cluster)[0])


def _fit(first: np.ndarray, design: pd.DataFrame, groups: np.ndarray) -> Fit:
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    separated = Fit(len(first), {}, "one of the terms tells the choices apart perfectly")
    with warnings.catch_warnings():
        # Convergence and separation are looked at below.
        warnings.simplefilter("ignore")
        try:
            fit = sm.Logit(first, design.to_numpy(float)).fit(
                disp=0, maxiter=100, cov_type="cluster", cov_kwds={"groups": groups}
            )
        except (PerfectSeparationError, np.linalg.LinAlgError):
            return separated
        rows = np.column_stack([fit.params, fit.conf_int(), fit.pvalues])
    if not fit.mle_retvals["converged"] or not np.isfinite(rows).all():
        return separated
    if np.abs(fit.params).max() > _LARGEST:
        return separated
    terms = dict(zip(design.columns, (tuple(map(float, row)) for row in rows), strict=True))
    return Fit(len(first), {name: terms[name] for name in _TERMS if name in terms})


def calibration(frames: Frames) -> Section:
    """How often the judge is right at each level of its own confidence."""
    known = frames.episodes[
        frames.episodes.confidence.notna() & frames.episodes.counted_as.isin(["correct", "wrong"])
    ]
    claimed = [float(c) for c in known.confidence]
    right = [c == "correct" for c in known.counted_as]
    bins = reliability_bins(claimed, right)
    rows = [[f"{b.low:.1f} to {b.high:.1f}", b.count, b.confidence, b.accuracy] for b in bins]
    figures = (
        f"Expected calibration error {word(expected_calibration_error(claimed, right))} (ten bins "
        f"of equal width), Brier score {word(brier_score(claimed, right))}."
    )
    block = table(
        "Calibration",
        ["confidence", "verdicts", "mean confidence", "accuracy"],
        rows,
        figures if rows else "n/a: the judge gave no scores that are probabilities.",
    )
    return Section("calibration", block)
