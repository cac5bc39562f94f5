"""Agreement of two raters: a judge with human labels, or two judges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from armbench.intervals import LEVEL, Clustered, normal_quantile, wilson
from armbench.types import Sample


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance of two raters.

    Attributes:
        kappa: Cohen's kappa; None if there is no pair, or if both gave one and the same
            label throughout (chance alone then explains all agreement).
        low: Lower end of the interval; None with `kappa`.
        high: Upper end.
        agreement: Share of equal labels; None of nothing.
        expected: The same by chance; None of nothing.
        clusters: Different clusters.
        pairs: Pairs of labels.
    """

    kappa: float | None
    low: float | None
    high: float | None
    agreement: float | None
    expected: float | None
    clusters: int
    pairs: int


def human_label(sample: Sample) -> bool | int | None:
    """What people said of an item: ``meta.human``, a verdict in data-set order as gold is.

    Returns:
        The label; None if there is none, or if it is no possible verdict on a choice or on
        right and wrong (ratings included).
    """
    said = sample.meta.get("human")
    if isinstance(said, bool):
        return said if sample.mode == "single" else None
    within = isinstance(said, int) and 1 <= said <= len(sample.candidates)
    return said if sample.mode == "pair" and within else None  # type: ignore[return-value]


def cohen_kappa(
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> Kappa:
    """Cohen's kappa of two raters (judge and human labels, or two judges) with its interval.

    Kappa is by Cohen (1960, Educational and Psychological Measurement 20:37-46). Its
    variance is that of the mean of each pair's influence on it, which for independent pairs
    is the formula of Fleiss, Cohen & Everitt (1969, Psychological Bulletin 72:323-327);
    statsmodels has that, but no clusters. The interval is symmetric in the inverse
    hyperbolic tangent of kappa, which keeps it within -1 and 1. A 95% interval holds the
    truth in 93% to 97% of sets with 20 clusters or more of which disagreements would fill
    five; below that it is too narrow.

    Args:
        a: Labels of the first rater; leave out pairs that one of them did not label.
        b: Labels of the second, as many.
        clusters: Cluster of each pair; None if pairs are independent.
        level: Confidence level.

    Returns:
        Kappa. If raters agree throughout, the lower end is that at the lower end of the
        Wilson interval of agreement with clusters for trials, but not below -1; if a rater
        knows one label only, kappa is 0 whatever the other does and the interval is (-1, 1).
    """
    n = len(a)
    if not n:
        return Kappa(None, None, None, None, None, 0, 0)
    names: Sequence[Hashable] = range(n) if clusters is None else clusters
    different = len(set(names))
    of_a, of_b = Counter(a), Counter(b)
    agreement = sum(x == y for x, y in zip(a, b, strict=True)) / n
    expected = sum(of_a[label] * of_b[label] for label in of_a) / n**2
    if expected == 1:
        return Kappa(None, None, None, agreement, expected, different, n)
    kappa = (agreement - expected) / (1 - expected)
    influence = [
        ((x == y) - agreement - (1 - kappa) * ((of_b[x] + of_a[y]) / n - 2 * expected))
        / (1 - expected)
        for x, y in zip(a, b, strict=True)
    ]
    found = Clustered.of(zip(names, range(n), influence, strict=True))
    if found is not None and found.square > 1e-18:
        error = math.sqrt(found.square / found.trials(level)) / (1 - kappa**2)
        reach = normal_quantile(level) * error
        low, high = (math.tanh(math.atanh(kappa) + side) for side in (-reach, reach))
    else:
        least, _ = wilson(agreement, different, normal_quantile(level))
        low = max(-1.0, (least - expected) / (1 - expected)) if agreement == 1 else -1.0
        high = 1.0
    return Kappa(kappa, low, high, agreement, expected, different, n)
