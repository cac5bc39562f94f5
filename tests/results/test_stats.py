"""Statistics against published worked examples, other packages, simulation and their limits."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, t
from statsmodels.stats.proportion import power_proportions_2indep, proportion_confint

from armbench.errors import ConfigError
from armbench.intervals import clustered_wilson
from armbench.results.stats import (
    Difference,
    Interval,
    bootstrap_interval,
    design_effect,
    holm,
    macro_interval,
    mcnemar_exact,
    minimum_detectable_effect,
    paired_difference,
)

NOTHING = Interval(None, None, None)

Value = tuple[int, int, float]


def ends(found: Interval | Difference) -> tuple[float, float]:
    """Both ends of an interval that has them."""
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def independent(right: int, n: int) -> list[Value]:
    """Credits of `n` items, each a cluster."""
    return [(i, i, float(i < right)) for i in range(n)]


def correlated(seed: int, clusters: int, size: int, share: float = 0.6) -> list[Value]:
    """Credits of uneven clusters whose members are alike."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(share * 2, (1 - share) * 2, clusters)
    sizes = rng.integers(1, 2 * size, clusters)
    return [
        (c, 100 * c + i, float(rng.random() < chances[c]))
        for c in range(clusters)
        for i in range(sizes[c])
    ]


# --- accuracy -----------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 10), (81, 263), (599, 600)])
def test_accuracy_of_independent_items_has_the_wilson_interval_of_statsmodels(
    right: int, n: int
) -> None:
    expected = proportion_confint(right, n, alpha=0.05, method="wilson")
    assert clustered_wilson(independent(right, n)) == pytest.approx(expected)
    assert ends(macro_interval({"one": independent(right, n)})) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "of_a", "b", "of_b", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10 (square and
        # add) for a/n - b/m. A difference of shares is that of a/n and (m - b)/m added up.
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 20, 0.6791, 1.0000),
        (10, 10, 0, 10, 0.6075, 1.0000),
    ],
)
def test_the_macro_average_of_two_tasks_agrees_with_published_intervals(
    a: int, of_a: int, b: int, of_b: int, low: float, high: float
) -> None:
    found = macro_interval({"a": independent(a, of_a), "b": independent(of_b - b, of_b)})
    assert [2 * end - 1 for end in ends(found)] == pytest.approx((low, high), abs=6e-5)
    assert found.value == pytest.approx((a / of_a + (of_b - b) / of_b) / 2)


def test_one_task_alone_has_its_clustered_interval() -> None:
    values = correlated(1, 25, 4)
    assert ends(macro_interval({"one": values})) == pytest.approx(clustered_wilson(values))


def test_few_clusters_in_many_tasks_widen_the_macro_average_less_than_each_task() -> None:
    tasks = {str(seed): correlated(seed, 10, 5) for seed in range(6)}
    low, high = ends(macro_interval(tasks))
    each = [above - below for below, above in map(clustered_wilson, tasks.values())]
    assert high - low < math.hypot(*each) / len(each)


def test_a_macro_average_of_nothing_or_of_a_task_without_episode_is_none() -> None:
    assert macro_interval({}) == NOTHING
    assert macro_interval({"a": independent(3, 5), "empty": []}) == NOTHING


def test_a_macro_average_stays_within_bounds_where_all_is_right() -> None:
    found = macro_interval({"a": independent(9, 9), "one item": [(0, 0, 1.0)]})
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0 < ends(found)[0] < 1


# --- bootstrap ----------------------------------------------------------------------------


def bca_by_the_book(sums: np.ndarray, sizes: np.ndarray, alpha: float) -> tuple[float, float]:
    """Efron & Tibshirani 1993, An Introduction to the Bootstrap, equations 14.9 to 14.15."""
    rng, n = np.random.default_rng(99), len(sums)
    drawn = rng.integers(0, n, (100_000, n))
    stars = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    theta = sums.sum() / sizes.sum()
    # Ties count half: a share takes few values.
    z0 = norm.ppf(((stars < theta).mean() + (stars <= theta).mean()) / 2)
    left = (sums.sum() - sums) / (sizes.sum() - sizes)
    away = left.mean() - left
    a = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    shifted = [z0 + norm.ppf(alpha), z0 + norm.ppf(1 - alpha)]
    ends = np.quantile(stars, [norm.cdf(z0 + z / (1 - a * z)) for z in shifted])
    return float(ends[0]), float(ends[1])


@pytest.mark.parametrize(("clusters", "power"), [(40, 1), (40, 2), (12, 1)])
def test_the_bootstrap_agrees_with_bca_by_the_book_over_clusters(clusters: int, power: int) -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(clusters), rng.integers(1, 6, clusters))
    values = rng.exponential(10, len(cluster)) ** power + cluster % 4
    drawn = list(zip(cluster.tolist(), values.tolist(), strict=True))
    found = bootstrap_interval(drawn, resamples=100_000)
    assert found.value == pytest.approx(values.mean())
    # Expanded for few clusters: Hesterberg 2015, section 3.2.
    reach = math.sqrt(clusters / (clusters - 1)) * t.ppf(0.975, clusters - 1)
    low, high = bca_by_the_book(
        np.bincount(cluster, values), np.bincount(cluster), norm.cdf(-reach)
    )
    assert ends(found) == pytest.approx((low, high), abs=0.012 * (high - low))


def test_the_bootstrap_draws_clusters_not_values() -> None:
    alone = bootstrap_interval([(n, float(n % 2)) for n in range(200)])
    copies = bootstrap_interval([(n % 20, float(n % 2)) for n in range(200)])
    assert copies.value == alone.value == 0.5
    assert ends(copies)[1] - 0.5 > 2.5 * (ends(alone)[1] - 0.5)


def test_the_bootstrap_depends_on_the_seed_and_not_on_the_order() -> None:
    values = [(c, v) for c, _, v in correlated(2, 30, 3)]
    found = bootstrap_interval(values)
    assert bootstrap_interval(values[::-1]) == found
    assert bootstrap_interval(values, seed=1) != found


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([("a", 3.0)], 3.0),
        ([(n, float(n)) for n in range(4)], 1.5),
        ([(n, 2.5) for n in range(50)], 2.5),
        # Clusters of the same mean: drawing them shows nothing of what is within.
        ([(n // 2, float(n % 2)) for n in range(50)], 0.5),
    ],
)
def test_where_drawing_clusters_shows_no_spread_there_is_no_interval(
    values: list[tuple[Any, float]], mean: float
) -> None:
    assert bootstrap_interval(values) == Interval(mean, None, None)
    assert bootstrap_interval([]) == NOTHING


# --- paired difference --------------------------------------------------------------------


def table(both: int, only_a: int, only_b: int, neither: int) -> list[tuple[int, float, float]]:
    """Independent pairs with these outcomes."""
    kinds = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
    counts = (both, only_a, only_b, neither)
    made = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [(n, *kind) for n, kind in enumerate(made)]


def test_the_difference_of_independent_pairs_agrees_with_statpsych() -> None:
    # Manual of the R package statpsych, ci.prop.ps(.05, 12, 4, 26, 6).
    found = paired_difference(table(both=6, only_a=26, only_b=4, neither=12))
    assert found.difference == pytest.approx(22 / 48)
    assert ends(found) == pytest.approx((0.2548067, 0.6251933), abs=1e-7)
    assert found.p_value == pytest.approx(2 * norm.sf(0.44 / 0.09448809), rel=1e-5)
    assert (found.clusters, found.pairs) == (48, 48)


def test_the_difference_of_clustered_pairs_agrees_with_statsmodels_robust_error() -> None:
    rng = np.random.default_rng(4)
    # In a cluster one of the runs tends to be better; 120 clusters of 4 to 8 pairs.
    lean, sizes = rng.beta(1, 1, 120), rng.integers(4, 9, 120)
    cluster = np.repeat(np.arange(120), sizes)
    a = (rng.random(len(cluster)) < lean[cluster]).astype(float)
    b = (rng.random(len(cluster)) < 0.4).astype(float)
    fit = sm.OLS(a - b, np.ones(len(a))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True
    )
    naive = sm.OLS(a - b, np.ones(len(a))).fit()
    assert fit.bse[0] > 1.3 * naive.bse[0]
    found = paired_difference(list(zip(cluster.tolist(), a.tolist(), b.tolist(), strict=True)))
    assert found.difference == pytest.approx(fit.params[0])
    low, high = fit.conf_int()[0]
    assert ends(found) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_the_difference_of_clustered_pairs_agrees_with_a_bootstrap_of_clusters() -> None:
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(80), 6)
    easy = rng.beta(1, 1, 80)[cluster]
    a, b = ((rng.random(480) < chance).astype(float) for chance in (easy, 0.7 * easy))
    found = paired_difference(list(zip(cluster.tolist(), a.tolist(), b.tolist(), strict=True)))
    means = (a - b).reshape(80, 6).mean(axis=1)
    drawn = means[rng.integers(0, 80, (20_000, 80))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert ends(found) == pytest.approx((low, high), abs=0.08 * (high - low))


PAIRS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from((0.0, 1.0)), st.sampled_from((0.0, 1.0))),
    min_size=1,
    max_size=40,
)


@given(PAIRS)
def test_a_difference_is_significant_just_where_its_interval_leaves_out_zero(
    pairs: list[tuple[int, float, float]],
) -> None:
    found = paired_difference(pairs)
    assert found.difference is not None
    assert found.p_value is not None
    low, high = ends(found)
    assert -1 <= low <= found.difference <= high <= 1
    assert (found.p_value < 0.05) == (low > 0 or high < 0)
    turned = paired_difference([(c, b, a) for c, a, b in pairs])
    assert ends(turned) == pytest.approx((-high, -low), abs=1e-9)
    assert turned.p_value == pytest.approx(found.p_value)


def test_a_difference_of_nothing_of_one_cluster_and_of_equal_runs() -> None:
    assert paired_difference([]) == Difference(None, None, None, None, 0, 0)
    assert paired_difference([("c", 1.0, 0.0)] * 9) == Difference(1.0, -1.0, 1.0, 1.0, 1, 9)
    alike = paired_difference(table(both=20, only_a=0, only_b=0, neither=20))
    assert (alike.difference, alike.p_value) == (0.0, 1.0)
    low, high = ends(alike)
    assert -low == pytest.approx(high)
    assert high > 0


def test_where_all_differences_are_equal_each_cluster_is_worth_one_pair() -> None:
    many = paired_difference([(n % 10, 1.0, 0.0) for n in range(200)])
    once = paired_difference(table(both=0, only_a=10, only_b=0, neither=0))
    assert (many.low, many.high, many.p_value) == (once.low, once.high, once.p_value)


# --- McNemar and Holm ---------------------------------------------------------------------


def test_mcnemar_agrees_with_published_exact_examples() -> None:
    # Vignette of the R package exact2x2 on McNemar's test (Fay): table 21, 9, 2, 12.
    assert mcnemar_exact(2, 9) == pytest.approx(0.06543, abs=5e-6)
    # Agresti 2002, Categorical Data Analysis, section 10.1: 150 against 86 changed their
    # rating of the prime minister; z is -4.17 there.
    assert mcnemar_exact(150, 86) == pytest.approx(2 * norm.cdf(-4.17), rel=0.25)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_scipys_sign_test_of_the_items_that_differ(only_a: int, only_b: int) -> None:
    p = mcnemar_exact(only_a, only_b)
    assert p == mcnemar_exact(only_b, only_a)
    assert p == pytest.approx(binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1)


def test_holm_adjusts_a_worked_example() -> None:
    # Reject at 0.05 just the first and the last: steps 0.05/4, 0.05/3 and 0.05/2 (Holm 1979,
    # section 3, step by step).
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (holm([]), holm([0.2]), holm([0.6, 1.0])) == ([], [0.2], [1.0, 1.0])


@pytest.mark.parametrize(
    "p_values", [[0.001, 0.5, 0.02, 0.02, 0.9], [0.013, 0.012, 0.0, 0.3, 0.04, 0.06], [0.02] * 4]
)
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    # Marcus, Peritz & Gabriel 1976, Biometrika 63:655-660: a hypothesis is rejected if every
    # set that it is in is.
    places = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in combinations(places, size)]
    closed = [
        max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if place in s)
        for place in places
    ]
    assert holm(p_values) == pytest.approx(closed)


@pytest.mark.parametrize(
    ("module", "use"),
    [("contingency_tables", lambda: mcnemar_exact(1, 2)), ("multitest", lambda: holm([0.1]))],
)
def test_without_statsmodels_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, use: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, f"statsmodels.stats.{module}", None)
    with pytest.raises(ConfigError, match=r"pip install 'armbench\[results\]'"):
        use()


# --- power --------------------------------------------------------------------------------


def test_the_design_effect_is_the_number_of_items_worth_one() -> None:
    assert design_effect(independent(3, 10)) == pytest.approx(1.0)
    copies = [(n, (n, copy), value) for n, _, value in independent(20, 60) for copy in range(5)]
    assert design_effect(copies) == pytest.approx(5.0)
    opposed = [(n, n, float(order)) for n in range(30) for order in range(2)]
    assert design_effect(opposed) == pytest.approx(0.5)
    assert design_effect([(n // 4, n, 1.0) for n in range(20)]) == pytest.approx(4.0)
    assert design_effect([]) is None


def test_the_design_effect_agrees_with_the_robust_error_of_statsmodels() -> None:
    values = correlated(6, 400, 5)
    credits = np.array([value for *_, value in values])
    ones, groups = np.ones(len(credits)), np.array([cluster for cluster, *_ in values])
    naive = sm.OLS(credits, ones).fit().bse[0]
    robust = sm.OLS(credits, ones).fit(cov_type="cluster", cov_kwds={"groups": groups}).bse[0]
    assert design_effect(values) == pytest.approx((robust / naive) ** 2, rel=0.1)


@pytest.mark.parametrize(
    ("items", "options", "difference"),
    [
        # Manual of R, power.prop.test: 76.7 in each group for 0.50 against 0.75, power 0.90.
        (77, {"accuracy": 0.5, "power": 0.9}, 0.25),
        # Chow, Shao & Wang 2003, example 6.4.3: 59 pairs for discordant shares 0.5 and 0.2.
        (59, {"discordance": 0.7}, 0.3),
    ],
)
def test_the_detectable_effect_agrees_with_published_sample_sizes(
    items: int, options: dict[str, float], difference: float
) -> None:
    # One item less is not enough.
    found = [minimum_detectable_effect(n, **options) for n in (items, items - 1)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] <= difference < found[1]


@pytest.mark.parametrize(("items", "accuracy"), [(50, 0.5), (300, 0.7), (2000, 0.1)])
def test_the_unpaired_effect_has_that_power_by_statsmodels(items: int, accuracy: float) -> None:
    found = minimum_detectable_effect(items, accuracy=accuracy)
    assert found is not None
    power = power_proportions_2indep(found, accuracy, items, return_results=False)
    assert power == pytest.approx(0.8, abs=0.01)


def test_the_paired_effect_has_that_power_by_simulation() -> None:
    items, discordance = 300, 0.2
    found = minimum_detectable_effect(items, discordance=discordance)
    assert found is not None
    up = (discordance + found) / 2
    rng = np.random.default_rng(7)
    won, lost, _ = rng.multinomial(items, (up, discordance - up, 1 - discordance), 20_000).T
    z = (won - lost) / np.sqrt(won + lost)  # McNemar's test without correction
    assert (abs(z) > 1.959964).mean() == pytest.approx(0.8, abs=0.015)


def test_more_items_show_smaller_effects_and_clusters_take_items_away() -> None:
    sizes = [minimum_detectable_effect(n) or 1.0 for n in (50, 100, 1000, 10_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert minimum_detectable_effect(600, design_effect=3.0) == minimum_detectable_effect(200)


@pytest.mark.parametrize(
    ("items", "options"),
    [(0, {}), (1, {}), (5, {"discordance": 0.1}), (9, {"discordance": 0.0}), (9, {"accuracy": 1})],
)
def test_a_set_too_small_to_show_anything_has_no_detectable_effect(
    items: int, options: dict[str, float]
) -> None:
    assert minimum_detectable_effect(items, **options) is None


def test_a_judge_that_is_never_right_still_needs_a_difference_to_be_told_from() -> None:
    assert 0.02 < (minimum_detectable_effect(100, accuracy=0.0) or 0.0) < 0.15
