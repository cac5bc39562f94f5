"""Intervals against published values and by their properties."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.intervals import clustered_wilson, wilson


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


def test_a_judge_that_always_takes_the_first_is_no_surer_than_its_items() -> None:
    both_orders = [(n, n, float(order)) for n in range(30) for order in (0, 1)]
    assert clustered_wilson(both_orders) == wilson(0.5, 30)


def test_no_interval_from_nothing() -> None:
    assert clustered_wilson([]) == (0.0, 1.0)
    assert clustered_wilson([("a", "a", 1.0)]) == wilson(1.0, 1)
