"""Intervals of a share when episodes are not independent.

Rows that share a picture or a document, both orders of an item and its repeats
stand or fall together: they are one cluster, and the interval is as wide as the
likeness of their members says. `benchmarks/coverage.py` measures how often the
intervals hold the truth.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

LEVEL = 0.95
"""Confidence level of every interval, unless told otherwise."""


def normal_quantile(level: float) -> float:
    """How many standard errors the normal interval of this level reaches to each side."""
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(share: float, n: float, z: float = normal_quantile(LEVEL)) -> tuple[float, float]:
    """Wilson score interval of a share of n trials (Wilson 1927, JASA 22:209-212).

    Args:
        share: Observed share, 0 to 1.
        n: Trials; an effective number need not be whole.
        z: Normal quantile of the level.
    """
    if n <= 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - spread), min(1.0, centre + spread)


@dataclass(frozen=True, slots=True)
class Clustered:
    """A mean of values in clusters, and how alike the values of a cluster are.

    Attributes:
        mean: Mean of all values.
        square: Mean of their squares.
        values: How many values.
        items: Different items.
        clusters: Different clusters.
        design_effect: Variance of the mean over what it would be if values were
            independent; None if no variance can be seen (one cluster, or all values equal).
    """

    mean: float
    square: float
    values: int
    items: int
    clusters: int
    design_effect: float | None

    @classmethod
    def of(cls, values: Iterable[tuple[Hashable, Hashable, float]]) -> Clustered | None:
        """Work it out from (cluster, item, value); None of nothing.

        The design effect is 1 + (m - 1) r, where m is the mean size of the cluster that a
        value is in and r the intra-cluster correlation by analysis of variance with n0 for
        the size of unequal clusters (Donner & Klar 2000, Design and Analysis of Cluster
        Randomization Trials, sections 1.3 and 7.3; Snedecor & Cochran 1989, section 13.5).
        It is below 1 where members of a cluster oppose each other, as both orders do for a
        judge that always takes the first.
        """
        sums: dict[Hashable, list[float]] = defaultdict(list)
        items: set[Hashable] = set()
        for cluster, item, value in values:
            sums[cluster].append(value)
            items.add((cluster, item))
        if not sums:
            return None
        total = sum(map(len, sums.values()))
        mean = sum(map(sum, sums.values())) / total
        square = sum(value * value for part in sums.values() for value in part) / total
        first = next(iter(sums.values()))[0]
        alike = all(value == first for part in sums.values() for value in part)
        effect = None if alike else _design_effect(list(sums.values()), mean, square)
        return cls(mean, square, total, len(items), len(sums), effect)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the t distribution; infinite if every item is a cluster.

        Korn & Graubard (1998, Survey Methodology 24:193-201) widen an interval by the
        quantile of t with clusters - 1 degrees of freedom over that with items - 1. The t
        with 1 / (1 / (clusters - 1) - 1 / (items - 1)) has the same quantile to first order.
        """
        if self.clusters in (1, self.items):
            return math.inf
        return (self.clusters - 1) * (self.items - 1) / (self.items - self.clusters)

    def trials(self, level: float = LEVEL, freedom: float | None = None) -> float:
        """How many independent values these are worth for an interval with a normal quantile.

        The variance is known from few clusters only, so it counts by the square of
        t over normal quantile; together with that it is never taken for smaller than that of
        independent values. Where no variance can be seen, clusters are taken for wholly
        alike: each is worth one value.

        Args:
            level: Confidence level of the interval.
            freedom: Degrees of freedom of the variance, if other clusters add to it.
        """
        if self.design_effect is None:
            return self.clusters
        widening = t_quantile(level, self.freedom if freedom is None else freedom)
        widening /= normal_quantile(level)
        return self.values / max(1.0, self.design_effect * widening**2)


def _design_effect(clusters: list[list[float]], mean: float, square: float) -> float | None:
    count, total = len(clusters), sum(map(len, clusters))
    if count < 2:
        return None
    of_means = sum(sum(part) ** 2 / len(part) for part in clusters)
    between = (of_means - total * mean**2) / (count - 1)
    within = (total * square - of_means) / (total - count) if total > count else 0.0
    met = sum(len(part) ** 2 for part in clusters) / total
    typical = (total - met) / (count - 1)
    alike = (between - within) / (between + (typical - 1) * within)
    return max(0.0, 1 + (met - 1) * alike)


@lru_cache(maxsize=1024)
def t_quantile(level: float, freedom: float) -> float:
    """Two-sided quantile of Student's t; `freedom` may be infinite."""
    if math.isinf(freedom):
        return normal_quantile(level)
    # Loading scipy takes longer than starting a command does.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(freedom, (1 + level) / 2))


def clustered_wilson(
    values: Iterable[tuple[Hashable, Hashable, float]], level: float = LEVEL
) -> tuple[float, float]:
    """Wilson interval of a mean of 0/1 values at the effective number of trials.

    That number is by `Clustered.trials`, in the way of Korn & Graubard (1998, Survey
    Methodology 24:193-201); for evaluations see Miller 2024, arXiv 2411.00640. Independent
    items of one episode get the plain Wilson interval.

    A 95% interval holds the truth in 93% to 97% of sets with 15 clusters or more of which the
    rarer outcome would fill five (clusters times the smaller of share and 1 - share). With
    ten clusters it is a little too wide where clusters do not matter; with a rarer outcome it
    is too narrow where they matter much (89% for ten clusters, accuracy 0.9 and an
    intra-cluster correlation of 0.5).

    Args:
        values: (cluster, item, value): value is 1 for a correct episode, else 0.
        level: Confidence level.

    Returns:
        Lower and upper end; (0, 1) of nothing.
    """
    found = Clustered.of(values)
    if found is None:
        return 0.0, 1.0
    return wilson(found.mean, found.trials(level), normal_quantile(level))
