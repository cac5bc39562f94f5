"""Kappa against published tables, statsmodels, and a bootstrap of clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from armbench.intervals import wilson
from armbench.results.agreement import Kappa, cohen_kappa

COHEN = ((88, 14, 18), (10, 40, 10), (2, 6, 12))
"""Psychiatric diagnoses of 200 cases: Cohen 1968, Psychological Bulletin 70:213-220, table 1."""
CARCINOMA = ((22, 2, 2, 0), (5, 7, 14, 0), (0, 2, 36, 0), (0, 1, 17, 10))
"""Pathologists on 118 slides: Agresti 2002, Categorical Data Analysis, section 10.5."""


def ends(found: Kappa) -> tuple[float, float]:
    """Both ends of an interval that has them."""
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def raters(counts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Labels of both raters from a table of counts."""
    pairs = [
        (i, j) for i, row in enumerate(counts) for j, many in enumerate(row) for _ in range(many)
    ]
    return [i for i, _ in pairs], [j for _, j in pairs]


def test_kappa_agrees_with_cohens_example() -> None:
    found = cohen_kappa(*raters(COHEN))
    assert found.agreement == pytest.approx(0.70)
    assert found.expected == pytest.approx(0.41)
    assert found.kappa == pytest.approx(0.492, abs=5e-4)
    assert (found.clusters, found.pairs) == (200, 200)


def test_kappa_and_its_error_agree_with_agrestis_example() -> None:
    found = cohen_kappa(*raters(CARCINOMA))
    assert found.kappa == pytest.approx(0.493, abs=5e-4)
    low, high = ends(found)
    # Agresti's standard error is 0.057, by the formula of Fleiss, Cohen & Everitt.
    error = (math.atanh(high) - math.atanh(low)) / 2 / 1.959964 * (1 - 0.493**2)
    assert error == pytest.approx(0.057, abs=5e-4)


@pytest.mark.parametrize("counts", [COHEN, CARCINOMA, ((40, 9), (6, 45)), ((1, 20), (30, 2))])
def test_kappa_and_its_error_agree_with_statsmodels(counts: Sequence[Sequence[int]]) -> None:
    expected = cohens_kappa(np.array(counts))
    found = cohen_kappa(*raters(counts))
    assert found.kappa == pytest.approx(expected.kappa)
    reach = 1.959964 * math.sqrt(expected.var_kappa) / (1 - expected.kappa**2)
    limits = [math.tanh(math.atanh(expected.kappa) + side) for side in (-reach, reach)]
    assert ends(found) == pytest.approx(limits, abs=1e-6)


def test_the_interval_over_clusters_agrees_with_a_bootstrap_of_clusters() -> None:
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(150), 5)
    first = rng.random(750) < 0.5
    # In one cluster raters differ often, in another hardly ever.
    second = first ^ (rng.random(750) < rng.beta(0.4, 1.2, 150)[cluster])
    found = cohen_kappa(first.tolist(), second.tolist(), clusters=cluster.tolist())
    plain = ends(cohen_kappa(first.tolist(), second.tolist()))
    assert ends(found)[1] - ends(found)[0] > 1.3 * (plain[1] - plain[0])
    rows = [np.flatnonzero(cluster == c) for c in range(150)]
    kappas = []
    for _ in range(2000):
        drawn = np.concatenate([rows[c] for c in rng.integers(0, 150, 150)])
        a, b = first[drawn], second[drawn]
        by_chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        kappas.append(((a == b).mean() - by_chance) / (1 - by_chance))
    low, high = np.quantile(kappas, (0.025, 0.975))
    assert ends(found) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert (found.clusters, found.pairs) == (150, 750)


def test_copies_of_a_pair_add_nothing() -> None:
    a, b = raters(((30, 10), (5, 25)))
    once = cohen_kappa(a, b)
    thrice = cohen_kappa(a * 3, b * 3, clusters=list(range(70)) * 3)
    assert thrice.kappa == pytest.approx(once.kappa)
    assert ends(thrice) == pytest.approx(ends(once), abs=0.01)


def test_kappa_of_nothing_and_of_one_label_is_undefined() -> None:
    assert cohen_kappa([], []) == Kappa(None, None, None, None, None, 0, 0)
    assert cohen_kappa(["x"] * 9, ["x"] * 9) == Kappa(None, None, None, 1.0, 1.0, 9, 9)


def test_a_rater_with_one_label_agrees_by_chance_only() -> None:
    found = cohen_kappa(["x"] * 10, ["x"] * 7 + ["y"] * 3)
    assert (found.kappa, found.low, found.high) == (pytest.approx(0.0), -1.0, 1.0)
    assert found.agreement == found.expected == pytest.approx(0.7)


def test_raters_that_agree_throughout_are_as_sure_as_their_clusters_are_many() -> None:
    labels = [n % 2 for n in range(40)]
    found = cohen_kappa(labels, labels)
    least, _ = wilson(1.0, 40)
    assert (found.kappa, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx((least - 0.5) / 0.5)
    few = cohen_kappa(labels, labels, clusters=[n // 8 for n in range(40)])
    assert ends(few)[0] < ends(found)[0]
    # So rare a second label that the formula would go below the least kappa there is.
    assert cohen_kappa([1] * 8 + [2], [1] * 8 + [2], clusters=[0] * 9).low == -1.0


def test_raters_that_never_agree_have_a_kappa_of_minus_one() -> None:
    found = cohen_kappa(["x", "y"] * 8, ["y", "x"] * 8)
    assert (found.kappa, found.low) == (-1.0, -1.0)


LABELS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 4)), min_size=1
)


@given(LABELS)
def test_kappa_stays_within_its_interval_and_bounds(rows: list[tuple[str, str, int]]) -> None:
    a, b, clusters = map(list, zip(*rows, strict=True))
    found = cohen_kappa(a, b, clusters=clusters)
    turned = cohen_kappa(b, a, clusters=clusters)
    if found.kappa is None:
        assert found.agreement == 1.0
        return
    low, high = ends(found)
    assert -1 <= low <= found.kappa + 1e-9
    assert found.kappa - 1e-9 <= high <= 1
    assert turned.kappa == pytest.approx(found.kappa)
    assert ends(turned) == pytest.approx((low, high))


def test_unequal_numbers_of_labels_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        cohen_kappa(["x", "y"], ["x"])
