"""Intervals against published values and by their properties."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway, t

from armbench.intervals import Clustered, clustered_wilson, normal_quantile, t_quantile, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_published_values(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits / n, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_the_share_and_stays_within_bounds(hits: int, n: int) -> None:
    share = min(hits, n) / n
    low, high = wilson(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    mirrored = wilson(1 - share, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


def test_wilson_narrows_with_more_trials_and_says_nothing_without() -> None:
    widths = [wilson(0.5, n)[1] - wilson(0.5, n)[0] for n in (1, 10, 100, 1000)]
    assert all(a > b for a, b in pairwise(widths))
    assert wilson(0.5, 0) == (0.0, 1.0)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_independent_items_get_the_plain_interval(right: list[bool]) -> None:
    values = [(n, n, float(r)) for n, r in enumerate(right)]
    plain = wilson(sum(right) / len(right), len(right))
    assert clustered_wilson(values) == pytest.approx(plain)


def test_items_that_stand_or_fall_together_count_once() -> None:
    together = [(c, (c, n), float(c < 10)) for c in range(20) for n in range(5)]
    low, high = clustered_wilson(together)
    assert high - low > 2 * (wilson(0.5, 100)[1] - wilson(0.5, 100)[0])
    assert (low, high) == pytest.approx(wilson(0.5, 20), abs=0.01)


def test_a_judge_that_always_takes_the_first_is_no_surer_than_of_independent_episodes() -> None:
    both_orders = [(n, n, float(order)) for n in range(30) for order in (0, 1)]
    assert clustered_wilson(both_orders) == wilson(0.5, 60)


def test_both_orders_of_independent_items_count_as_far_as_they_differ() -> None:
    # The second order repeats the first on 20 items of 30, and half of those are right.
    same = [(n, n, float(n % 2)) for n in range(20) for _ in range(2)]
    other = [(n, n, float(order)) for n in range(20, 30) for order in range(2)]
    low, high = clustered_wilson(same + other)
    widths = [wilson(0.5, trials) for trials in (30, 60)]
    assert widths[0][0] < low < widths[1][0]
    assert widths[1][1] < high < widths[0][1]


def test_few_clusters_are_less_certain_than_many() -> None:
    def width(clusters: int) -> float:
        # Two of five are right in every other cluster, three of five in the rest.
        values = [(c, (c, n), float(n < 2 + c % 2)) for c in range(clusters) for n in range(5)]
        mixed = [(c // 2, i, v) for c, i, v in values]
        low, high = clustered_wilson([(c, i, float(v) if c else 1.0) for c, i, v in mixed])
        return (high - low) * clusters**0.5

    assert width(6) > 1.2 * width(600)


def test_no_interval_from_nothing() -> None:
    assert clustered_wilson([]) == (0.0, 1.0)
    assert clustered_wilson([("a", "a", 1.0)]) == wilson(1.0, 1)


def test_where_all_is_right_each_cluster_counts_once() -> None:
    values = [(c, (c, n), 1.0) for c in range(12) for n in range(8)]
    assert clustered_wilson(values) == wilson(1.0, 12)
    assert clustered_wilson(values[:8]) == wilson(1.0, 1)
    one_cluster = [(0, n, float(n % 2)) for n in range(50)]
    assert clustered_wilson(one_cluster) == wilson(0.5, 1)


Values = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8), st.sampled_from((0.0, 1.0))), min_size=1
)


@given(Values)
def test_an_interval_holds_the_share_and_is_no_narrower_than_that_of_independent_values(
    values: list[tuple[int, int, float]],
) -> None:
    share = sum(value for *_, value in values) / len(values)
    low, high = clustered_wilson(values)
    plain = wilson(share, len(values))
    assert 0 <= low <= plain[0] + 1e-12
    assert plain[1] - 1e-12 <= high <= 1


@given(Values, st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_matter(values: list[Any], random: Any) -> None:
    mixed = values.copy()
    random.shuffle(mixed)
    assert clustered_wilson(mixed) == pytest.approx(clustered_wilson(values), abs=1e-9)


def test_a_higher_level_is_wider() -> None:
    values = [(c, (c, n), float((c * n) % 3 > 0)) for c in range(15) for n in range(4)]
    low, high = clustered_wilson(values, level=0.99)
    assert low < clustered_wilson(values)[0]
    assert high > clustered_wilson(values)[1]


# --- likeness within clusters -------------------------------------------------------------


def test_the_design_effect_of_a_published_example() -> None:
    # Shrout & Fleiss 1979, Psychological Bulletin 86:420-428, table 2: ICC(1,1) is 0.17.
    ratings = ((9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7))
    found = Clustered.of((c, n, v) for c, row in enumerate(ratings) for n, v in enumerate(row))
    assert found is not None
    assert found.design_effect == pytest.approx(1 + (4 - 1) * 0.17, abs=0.02)
    assert (found.values, found.items, found.clusters) == (24, 24, 6)


def test_the_design_effect_of_uneven_clusters_agrees_with_scipys_analysis_of_variance() -> None:
    parts = [[0.0, 1.0, 1.0], [1.0, 1.0], [0.0, 0.0, 0.0, 1.0, 0.0], [1.0], [0.0, 1.0]]
    f = f_oneway(*parts).statistic
    sizes = np.array([len(part) for part in parts])
    n0 = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(parts) - 1)
    alike = (f - 1) / (f - 1 + n0)
    expected = 1 + ((sizes**2).sum() / sizes.sum() - 1) * alike
    found = Clustered.of((c, n, v) for c, part in enumerate(parts) for n, v in enumerate(part))
    assert found is not None
    assert found.design_effect == pytest.approx(expected)


def test_copies_of_an_answer_add_nothing() -> None:
    once = [(n, n, float(n % 3 == 0)) for n in range(60)]
    copies = [(n, (n, copy), value) for n, _, value in once for copy in range(5)]
    found = Clustered.of(copies)
    assert found is not None
    assert found.design_effect == pytest.approx(5)
    assert found.trials(freedom=math.inf) == pytest.approx(60)


def test_the_freedom_is_that_of_korn_and_graubard_to_first_order() -> None:
    for clusters, size in ((12, 3), (12, 20), (40, 5)):
        found = Clustered.of(
            (c, (c, n), float((c + n) % 3 > 0)) for c in range(clusters) for n in range(size)
        )
        assert found is not None
        ratio = t.ppf(0.975, clusters - 1) / t.ppf(0.975, clusters * size - 1)
        ours = t_quantile(0.95, found.freedom) / normal_quantile(0.95)
        assert ours == pytest.approx(ratio, rel=5e-3)


def test_the_core_starts_without_scipy() -> None:
    code = "import sys, armbench.report, armbench.progress; print('scipy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
