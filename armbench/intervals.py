"""Intervals of a share when episodes are not independent.

Rows that share a picture or a document, both orders of an item and its repeats
stand or fall together: they are one cluster, and the interval is as wide as the
number of clusters says.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from statistics import NormalDist

LEVEL = 0.95
"""Confidence level of every interval, unless told otherwise."""


def wilson(share: float, n: float, z: float = NormalDist().inv_cdf((1 + LEVEL) / 2)) -> tuple[
    float, float
]:  # fmt: skip
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


def clustered_wilson(values: Iterable[tuple[Hashable, Hashable, float]]) -> tuple[float, float]:
    """Wilson interval of a mean of 0/1 values at the effective number of trials.

    The effective number is p(1-p) over the cluster-robust variance of the mean
    (Korn & Graubard 1998, Survey Methodology 24:193-201; for evaluations Miller 2024,
    arXiv 2411.00640), at most the number of items; where every value is equal, so
    that no variance can be seen, the number of clusters.

    Args:
        values: (cluster, item, value): value is 1 for a correct episode, else 0.

    Returns:
        Lower and upper end; (0, 1) of nothing.
    """
    sums: dict[Hashable, list[float]] = defaultdict(list)
    items: set[Hashable] = set()
    for cluster, item, value in values:
        sums[cluster].append(value)
        items.add(item)
    total = sum(map(len, sums.values()))
    if not total:
        return 0.0, 1.0
    share = sum(map(sum, sums.values())) / total
    return wilson(share, effective_trials(share, list(sums.values()), len(items)))


def effective_trials(share: float, clusters: list[list[float]], items: int) -> float:
    """How many independent trials the clusters are worth for a share; see `clustered_wilson`."""
    count, total = len(clusters), sum(map(len, clusters))
    if count < 2 or share in (0.0, 1.0):
        return count
    squares = sum((sum(values) - share * len(values)) ** 2 for values in clusters)
    variance = squares / total**2 * count / (count - 1)
    # Both variances carry their small-sample factor, so that clusters of one item change nothing.
    plain = share * (1 - share) / (items - 1)
    return items * min(1.0, plain / variance) if variance > 0 else items
