"""Calibration against definitions, published examples and torchmetrics' documentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.errors import DataError
from armbench.results.calibration import (
    Bin,
    brier_score,
    confidence,
    expected_calibration_error,
    reliability_bins,
)
from armbench.trajectory import Judgement

# --- whose scores are probabilities -------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "scores", "expected"),
    [
        (1, (0.7, 0.3), 0.7),
        (2, (0.7, 0.3), 0.3),
        (3, (0.1, 0.2, 0.7), 0.7),
        (1, (0.333, 0.333, 0.333), 0.333),  # written with few digits
        (True, (0.8,), 0.8),
        (False, (0.8,), pytest.approx(0.2)),
    ],
)
def test_the_confidence_of_a_verdict_is_its_own_probability(
    verdict: bool | int, scores: tuple[float, ...], expected: float
) -> None:
    assert confidence(Judgement(verdict=verdict, scores=scores, parse="ok")) == expected


@pytest.mark.parametrize(
    ("verdict", "scores"),
    [
        (1, None),
        (None, (0.5, 0.5)),
        (1, (8.0, 3.0)),  # ratings
        (1, (0.9, 0.8)),  # each in its range, but no probabilities together
        (1, (-0.1, 1.1)),
        (1, (math.nan, 0.5)),
        (1, ()),
        (3, (0.5, 0.5)),
        (True, (0.5, 0.5)),
        (0.5, (0.5,)),  # a rating
    ],
)
def test_other_scores_are_not_turned_into_confidence(
    verdict: bool | float | None, scores: tuple[float, ...] | None
) -> None:
    judgement = Judgement.model_construct(verdict=verdict, scores=scores, parse="ok")
    assert confidence(judgement) is None


# --- bins ---------------------------------------------------------------------------------


def test_bins_hold_their_upper_edge_and_the_first_one_its_lower_too() -> None:
    found = reliability_bins([0.0, 0.1, 0.3, 0.30001, 1.0], [False, True, True, False, True])
    assert [(b.low, b.high, b.count) for b in found] == [
        (0.0, 0.1, 2),
        (0.2, 0.3, 1),
        (0.3, 0.4, 1),
        (0.9, 1.0, 1),
    ]
    assert found[0] == Bin(0.0, 0.1, 2, confidence=0.05, accuracy=0.5)


@given(st.integers(1, 20), st.integers(0, 20))
def test_every_edge_is_in_the_bin_below_it(bins: int, edge: int) -> None:
    edge = min(edge, bins)
    (found,) = reliability_bins([edge / bins], [True], bins=bins)
    assert found.high == max(edge, 1) / bins


def test_the_confidence_of_a_no_is_in_the_bin_that_its_digits_say() -> None:
    said_no = confidence(Judgement(verdict=False, scores=(0.7,), parse="ok"))
    assert said_no is not None
    (found,) = reliability_bins([said_no], [True])
    assert (found.low, found.high) == (0.2, 0.3)


# --- expected calibration error -----------------------------------------------------------


@pytest.mark.parametrize(
    ("confidences", "correct", "bins", "expected"),
    [
        # Documentation of torchmetrics, MulticlassCalibrationError, norm="l1".
        ((0.55, 0.55, 0.60, 0.90), (False, False, True, True), 3, 0.2),
        # The same, BinaryCalibrationError.
        ((0.25, 0.25, 0.55, 0.75, 0.75), (False, False, True, True, True), 2, 0.29),
        # By hand: 2/5 * |0.65 - 0.5| + 3/5 * |0.95 - 1/3|.
        ((0.62, 0.68, 0.95, 0.93, 0.97), (True, False, True, False, False), 10, 0.43),
    ],
)
def test_the_calibration_error_agrees_with_worked_examples(
    confidences: Sequence[float], correct: Sequence[bool], bins: int, expected: float
) -> None:
    found = expected_calibration_error(confidences, correct, bins=bins)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_calibration_error_agrees_with_the_definition_of_guo_and_others(bins: int) -> None:
    # Guo, Pleiss, Sun & Weinberger 2017, section 2: B_m holds confidences in ((m-1)/M, m/M],
    # and ECE is the sum of |B_m| / n * |acc(B_m) - conf(B_m)|.
    rng = np.random.default_rng(11)
    conf = rng.random(500)
    right = rng.random(500) < conf**2
    ece = 0.0
    for m in range(1, bins + 1):
        inside = (conf > (m - 1) / bins) & (conf <= m / bins)
        if inside.any():
            ece += inside.sum() / 500 * abs(right[inside].mean() - conf[inside].mean())
    found = expected_calibration_error(conf.tolist(), right.tolist(), bins=bins)
    assert found == pytest.approx(ece)
    assert ece > 0.1


def test_a_calibrated_judge_has_next_to_no_error_and_a_sure_wrong_one_all_of_it() -> None:
    claimed = [0.75] * 400 + [0.6] * 100
    right = [n % 4 > 0 for n in range(400)] + [n % 5 < 3 for n in range(100)]
    assert expected_calibration_error(claimed, right) == pytest.approx(0.0)
    assert expected_calibration_error([1.0] * 3, [False] * 3) == 1.0


# --- Brier score --------------------------------------------------------------------------


def test_the_score_agrees_with_briers_own_example() -> None:
    # Brier 1950: rain forecast on ten occasions scores 0.19, summed over both outcomes; ours
    # is half of that.
    rain = [0.7, 0.9, 0.8, 0.4, 0.2, 0.0, 0.0, 0.0, 0.0, 0.1]
    fell = [False, True, True, True, False, False, False, False, False, False]
    assert brier_score(rain, fell) == pytest.approx(0.19 / 2)


def test_the_score_agrees_with_scikit_learns_documentation() -> None:
    # brier_score_loss([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]) is 0.037.
    found = brier_score([0.1, 0.9, 0.8, 0.3], [False, True, True, False])
    assert found == pytest.approx(0.0375)


def test_the_score_of_the_surest_and_of_the_unsure() -> None:
    assert brier_score([1.0, 0.0], [True, False]) == 0.0
    assert brier_score([1.0], [False]) == 1.0
    assert brier_score([0.5] * 4, [True, False, False, False]) == 0.25


PROBABILITIES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


@given(PROBABILITIES)
def test_scores_stay_within_bounds(rows: list[tuple[float, bool]]) -> None:
    claimed, right = [c for c, _ in rows], [r for _, r in rows]
    error, score = expected_calibration_error(claimed, right), brier_score(claimed, right)
    assert error is not None
    assert score is not None
    assert 0 <= error <= 1
    # The mean gap of a bin is at most its mean absolute gap, which is at most the root of its
    # mean square.
    assert error**2 - 1e-12 <= score <= 1


# --- what cannot be worked out ------------------------------------------------------------


def test_nothing_has_no_calibration() -> None:
    assert reliability_bins([], []) == []
    assert expected_calibration_error([], []) is None
    assert brier_score([], []) is None


@pytest.mark.parametrize("use", [reliability_bins, expected_calibration_error, brier_score])
@pytest.mark.parametrize("value", [-0.1, 1.2, math.nan, math.inf])
def test_a_confidence_that_is_no_probability_is_refused(
    use: Callable[[list[float], list[bool]], object], value: float
) -> None:
    with pytest.raises(DataError, match="probability from 0 to 1"):
        use([0.5, value], [True, False])
