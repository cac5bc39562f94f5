"""Intervals and tests on episodes that are not independent.

Every function takes plain values with the name of their cluster: rows that share a picture
or a document, both orders of an item and its repeats are one cluster (`Episode.cluster`).
How often the intervals hold the truth is measured by `python -m benchmarks.coverage`.
"""

from __future__ import annotations

import importlib
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armbench.errors import ConfigError
from armbench.intervals import LEVEL, Clustered, normal_quantile, t_quantile, wilson
from armbench.types import derive_seed

_FEWEST = 5
"""Clusters below which resampling them says nothing."""
_SMALLEST = 1e-9
"""Differences of accuracy below this are not looked for."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Attributes:
        value: The estimate; None if there is nothing to estimate it from.
        low: Lower end; None if the data cannot tell.
        high: Upper end; None with `low`.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """Paired difference of two runs; the first four are None if they have no pair in common.

    Attributes:
        difference: Mean of a less mean of b, over the pairs.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided p of no difference; below 0.05 just where the 95% interval leaves
            out zero.
        clusters: Different clusters.
        pairs: Pairs of episodes.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    clusters: int
    pairs: int


def macro_interval(
    by_task: Mapping[str, Sequence[tuple[Hashable, Hashable, float]]], *, level: float = LEVEL
) -> Interval:
    """Interval of the unweighted mean of the tasks' accuracies.

    The distances from the tasks' accuracies to the ends of their clustered Wilson intervals
    are added up in squares, each side for itself (MOVER: Zou, Huang & Zhang 2009, CSDA
    53:1080-1085). The tasks share the degrees of freedom of their mean (Satterthwaite 1946,
    Biometrics Bulletin 2:110-114), so that one task gets its clustered Wilson interval and
    many are not widened for each anew. A 95% interval holds the truth in 93% to 97% of
    sets whose tasks have ten clusters or more of which the rarer outcome would fill five.

    Args:
        by_task: By task (cluster, item, credit) of every counted episode, as for
            `armbench.intervals.clustered_wilson`. Clusters of different tasks are different.
        level: Confidence level.

    Returns:
        The macro average; nothing if there is no task or one of them has no episode.
    """
    tasks = [Clustered.of(values) for values in by_task.values()]
    known = [task for task in tasks if task is not None]
    if not known or len(known) < len(tasks):
        return Interval(None, None, None)
    freedom = _shared_freedom(known, level)
    below = above = 0.0
    for task in known:
        low, high = wilson(task.mean, task.trials(level, freedom), normal_quantile(level))
        below += (task.mean - low) ** 2
        above += (high - task.mean) ** 2
    value = sum(task.mean for task in known) / len(known)
    return Interval(
        value,
        max(0.0, value - math.sqrt(below) / len(known)),
        min(1.0, value + math.sqrt(above) / len(known)),
    )


def _shared_freedom(tasks: Sequence[Clustered], level: float) -> float:
    variances = [(task.square - task.mean**2) / task.trials(level, math.inf) for task in tasks]
    spent = sum(v**2 / task.freedom for v, task in zip(variances, tasks, strict=True))
    return sum(variances) ** 2 / spent if spent > 0 else math.inf


def bootstrap_interval(
    values: Sequence[tuple[Hashable, float]],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = LEVEL,
) -> Interval:
    """Interval of a mean of any values, from resampled clusters.

    Whole clusters are drawn, as many as there are, and the mean is over the values in them.
    The interval is BCa (Efron 1987, JASA 82:171-185; `scipy.stats.bootstrap`) at a level
    raised for few clusters (Hesterberg 2015, American Statistician 69:371-386, section
    3.2: expanded percentiles). A 95% interval of accuracies holds the truth in 93% to 97%
    of sets with 30 clusters or more of which the rarer outcome would fill five; means of very
    skewed values (seconds, tokens) need some hundred.

    Args:
        values: (cluster, value) of every episode, in any order.
        seed: Same seed and values, same interval.
        resamples: How often to draw.
        level: Confidence level.

    Returns:
        The mean; no interval if there are fewer than five clusters or if all have the same
        mean, for then drawing clusters shows no spread.
    """
    parts: dict[Hashable, list[float]] = defaultdict(list)
    for cluster, value in values:
        parts[cluster].append(value)
    if not parts:
        return Interval(None, None, None)
    # Sorted, so that the order of the values does not matter.
    totals = sorted((math.fsum(part), len(part)) for part in parts.values())
    mean = math.fsum(total for total, _ in totals) / sum(size for _, size in totals)
    means = [total / size for total, size in totals]
    if len(totals) < _FEWEST or math.isclose(min(means), max(means), rel_tol=1e-9):
        return Interval(mean, None, None)
    low, high = _bca(totals, resamples, derive_seed(seed, "bootstrap"), level)
    return Interval(mean, low, high)


def _bca(
    totals: Sequence[tuple[float, int]], resamples: int, seed: int, level: float
) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import bootstrap  # type: ignore[import-untyped]

    count = len(totals)
    reach = math.sqrt(count / (count - 1)) * t_quantile(level, count - 1)
    found = bootstrap(
        tuple(zip(*totals, strict=True)),
        lambda sums, sizes, axis=-1: sums.sum(axis=axis) / sizes.sum(axis=axis),
        n_resamples=resamples,
        batch=max(1, 2_000_000 // count),  # bounds memory: 16 MB an array
        vectorized=True,
        paired=True,
        confidence_level=math.erf(reach / math.sqrt(2)),
        method="BCa",
        random_state=np.random.default_rng(seed),  # named rng from scipy 1.15 on
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_difference(
    pairs: Sequence[tuple[Hashable, float, float]], *, level: float = LEVEL
) -> Difference:
    """Difference of the means of two runs over the same episodes.

    Of every episode the difference a - b is taken; these are clustered values like any
    other. The interval is the adjusted Wald interval of Bonett & Price (2012, Journal of
    Educational and Behavioral Statistics 37:479-488), which adds a pair of each
    discordant kind, so that no differences seen are not taken for none. It is worked out at
    the number of pairs and at their effective number with a t quantile
    (`armbench.intervals.Clustered`), and reaches as far as the wider of the two. If no
    variance can be seen, each cluster is worth one pair. A 95% interval holds the truth in
    93% to 97% of sets with 20 clusters or more of which the pairs that differ would fill
    twelve (clusters times share of differing pairs); below that it is too wide rather than too
    narrow, unless all differences go one way.

    Args:
        pairs: (cluster, a, b) of every episode both runs have: a and b are what the first
            and the second run earned for it, 0 to 1.
        level: Confidence level.

    Returns:
        The difference. One cluster alone gives the interval (-1, 1) and a p of 1.
    """
    found = Clustered.of((cluster, n, a - b) for n, (cluster, a, b) in enumerate(pairs))
    if found is None:
        return Difference(None, None, None, None, 0, 0)
    low, high, p_value = -1.0, 1.0, 1.0
    if found.clusters > 1:
        looks = [_adjusted_wald(found, *look, level) for look in _looks(found)]
        low = max(-1.0, min(low for low, _, _ in looks))
        high = min(1.0, max(high for _, high, _ in looks))
        p_value = max(p for _, _, p in looks)
    return Difference(found.mean, low, high, p_value, found.clusters, found.values)


def _looks(found: Clustered) -> list[tuple[float, float]]:
    """(number of pairs, degrees of freedom) to work an interval out at."""
    if found.design_effect is None:
        return [(found.clusters, math.inf)]
    looks: list[tuple[float, float]] = [(found.values, math.inf)]
    if found.design_effect > 0:
        looks.append((found.values / found.design_effect, found.freedom))
    return looks


def _adjusted_wald(
    found: Clustered, pairs: float, freedom: float, level: float
) -> tuple[float, float, float]:
    from scipy.special import stdtr  # type: ignore[import-untyped]

    centre = pairs * found.mean / (pairs + 2)
    variance = (pairs * found.square + 2) / (pairs + 2) - centre**2
    error = math.sqrt(variance / (pairs + 2))
    reach = t_quantile(level, freedom) * error
    return centre - reach, centre + reach, float(2 * stdtr(freedom, -abs(centre) / error))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test (1947, Psychometrika 12:153-157; statsmodels).

    Takes items for independent: where they share clusters, `paired_difference` is the one to
    believe.

    Args:
        only_a: Items that only the first run got right.
        only_b: Items that only the second run got right.

    Returns:
        Twice the binomial tail of the smaller number, at most 1; 1 if the runs differ on no
        item.

    Raises:
        ConfigError: If statsmodels is not installed.
    """
    tables = _statsmodels("contingency_tables")
    return float(tables.mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979, Scand. J. Statist. 6:65-70; statsmodels).

    Args:
        p_values: Of all comparisons that are made together.

    Returns:
        Adjusted values in the order given; nothing of nothing.

    Raises:
        ConfigError: If statsmodels is not installed.
    """
    if not p_values:
        return []
    adjusted = _statsmodels("multitest").multipletests(p_values, method="holm")[1]
    return [float(p) for p in adjusted]


def design_effect(values: Iterable[tuple[Hashable, Hashable, float]]) -> float | None:
    """Items of a set for each independent episode that they are worth (Kish 1965, chapter 8).

    Above 1 where items share clusters; below 1 where items judged in several orders tell
    more than one look at each would.

    Args:
        values: (cluster, item, credit) of every counted episode; or, for a paired
            comparison, (cluster, item, difference of credits).

    Returns:
        The ratio; None of nothing.
    """
    found = Clustered.of(values)
    return found.items / found.trials(freedom=math.inf) if found is not None else None


def minimum_detectable_effect(
    items: int,
    *,
    accuracy: float = 0.5,
    discordance: float | None = None,
    design_effect: float = 1.0,
    power: float = 0.8,
    level: float = LEVEL,
) -> float | None:
    """Smallest true difference of accuracy that a set of this size is likely to show.

    Solves, for the difference, the usual formula of sample size: for two sets Fleiss, Levin &
    Paik 2003 (Statistical Methods for Rates and Proportions, equation 4.14), for the same
    items twice Connor 1987 (Biometrics 43:207-211); statsmodels has the first only.

    Args:
        items: Items in the set.
        accuracy: Accuracy of the worse judge (unpaired).
        discordance: None for two judges on different sets of that size; else both on the same
            items, and this is the share of items that just one of them gets right.
        design_effect: Items it takes to be worth an independent one; see `design_effect`.
        power: Probability of a significant result if the difference is real.
        level: One less the level of significance of the two-sided test.

    Returns:
        A difference of accuracy; None if the set is too small to show even the largest
        possible.
    """
    from scipy.optimize import brentq  # type: ignore[import-untyped]

    def excess(difference: float) -> float:
        if discordance is not None:
            same, apart = discordance, discordance - difference**2
        else:
            better = accuracy + difference
            middle = (accuracy + better) / 2
            same = 2 * middle * (1 - middle)
            apart = accuracy * (1 - accuracy) + better * (1 - better)
        needed = normal_quantile(level) * math.sqrt(same)
        needed += normal_quantile(2 * power - 1) * math.sqrt(max(0.0, apart))
        return difference * math.sqrt(items / design_effect) - needed

    largest = 1 - accuracy if discordance is None else discordance
    if items < 1 or largest <= 0 or excess(largest) < 0:
        return None
    # Not from 0: at an accuracy of 0 that is a root too, for nothing varies there.
    return float(brentq(excess, _SMALLEST, largest))


def _statsmodels(module: str) -> Any:
    try:
        return importlib.import_module(f"statsmodels.stats.{module}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "tests of significance need statsmodels: pip install 'armbench[results]'"
        ) from error
