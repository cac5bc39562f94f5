"""What an episode counts as, worked out by hand."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.score import (
    UNSCORED,
    Record,
    chance,
    chosen,
    is_right,
    mean,
    pick,
    score,
)
from armbench.trajectory import CountedAs
from armbench.types import Sample
from tests.helpers import make_sample, make_trajectory


def counted(sample: Sample, verdict: Any = None, **fields: Any) -> tuple[str, float | None]:
    made = score(make_trajectory(sample, verdict, **fields), sample)
    assert made.metric == "accuracy"
    return made.counted_as, made.value


def record(sample: Sample, verdict: Any = None, **fields: Any) -> Record:
    trajectory = make_trajectory(sample, verdict, **fields)
    return Record(sample, trajectory, score(trajectory, sample))


# --- one episode --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "parse", "verdict", "expected"),
    [
        ("answered", "ok", 1, ("correct", 1.0)),
        ("answered", "ok", 2, ("wrong", 0.0)),
        ("answered", "malformed", None, ("malformed", None)),
        ("answered", "missing", None, ("missing", None)),
        ("answered", "ambiguous", None, ("ambiguous", None)),
        # A limit is the reason only where there is no verdict.
        ("max_tokens", "ok", 1, ("correct", 1.0)),
        ("max_tokens", "missing", None, ("truncated", None)),
        ("max_seconds", "missing", None, ("truncated", None)),
        ("context", "missing", None, ("truncated", None)),
        ("context", "ambiguous", None, ("truncated", None)),
        ("max_turns", "missing", None, ("missing", None)),
        ("max_turns", "malformed", None, ("malformed", None)),
        ("format_errors", "missing", None, ("malformed", None)),
        # What is left of a broken or refused episode is no answer, right or wrong.
        ("error", "ok", 1, ("infrastructure", None)),
        ("error", "missing", None, ("infrastructure", None)),
        ("refused", "ok", 1, ("refused", None)),
        ("refused", "missing", None, ("refused", None)),
    ],
)
def test_every_bucket(
    stop: Any, parse: str, verdict: int | None, expected: tuple[str, float | None]
) -> None:
    assert counted(make_sample(gold=1), verdict, stop=stop, parse=parse) == expected


def test_an_item_without_label_is_neither_right_nor_wrong() -> None:
    assert counted(make_sample(gold=None), 1) == ("unlabelled", None)
    assert counted(make_sample(mode="open"), None, parse="ok") == ("unlabelled", None)
    assert counted(make_sample(gold=None), None, parse="malformed") == ("malformed", None)
    assert not is_right(1, (0, 1), make_sample(gold=None))


def test_every_unscored_name_is_a_bucket() -> None:
    assert set(get_args(CountedAs)) - set(UNSCORED) == {"correct", "wrong", "unlabelled"}


@pytest.mark.parametrize(
    ("order", "shown", "number"),
    [((0, 1), 1, 1), ((1, 0), 1, 2), ((1, 0), 2, 1), ((2, 0, 3, 1), 1, 3), ((2, 0, 3, 1), 4, 2)],
)
def test_a_verdict_in_shown_order_is_led_back_to_the_data_set_s(
    order: tuple[int, ...], shown: int, number: int
) -> None:
    assert chosen(shown, order) == number
    sample = make_sample(candidates=("a", "b", "c", "d")[: len(order)], gold=number)
    assert counted(sample, shown, order=order) == ("correct", 1.0)


@given(st.permutations(range(4)), st.integers(1, 4))
def test_a_judge_that_knows_is_right_in_every_order(order: list[int], gold: int) -> None:
    sample = make_sample(candidates=("a", "b", "c", "d"), gold=gold)
    right = [shown for shown in range(1, 5) if is_right(shown, order, sample)]
    assert right == [order.index(gold - 1) + 1]


@pytest.mark.parametrize(
    ("gold", "verdict", "right"),
    [(True, True, True), (True, False, False), (False, False, True), (False, True, False)],
)
def test_single(gold: bool, verdict: bool, right: bool) -> None:
    assert is_right(verdict, (0,), make_sample(mode="single", gold=gold)) == right


@pytest.mark.parametrize(
    ("gold", "tolerance", "verdict", "right"),
    [
        (7.0, 0.0, 7.0, True),
        (7.0, 0.0, 7.5, False),
        (7.0, 0.5, 7.5, True),
        (7.0, 0.5, 6.5, True),
        (7.0, 0.5, 7.6, False),
        (1.0, 0.1, 1.1, True),  # 1.1 - 1.0 > 0.1 in binary
        (7, 0, 7.0, True),
    ],
)
def test_a_rating_counts_within_the_tolerance(
    gold: float, tolerance: float, verdict: float, right: bool
) -> None:
    sample = make_sample(mode="rating", gold=gold, tolerance=tolerance)
    assert is_right(verdict, (0,), sample) == right


# --- chance -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mode": "single"}, 1 / 2),
        ({"candidates": ("a", "b")}, 1 / 2),
        ({"candidates": ("a", "b", "c", "d")}, 1 / 4),
        ({"mode": "rating", "gold": 7.0}, 1 / 11),
        ({"mode": "rating", "gold": 7.0, "tolerance": 1.0}, 3 / 11),
        ({"mode": "rating", "gold": 10.0, "tolerance": 1.0}, 2 / 11),
        ({"mode": "rating", "gold": 3.5, "tolerance": 0.0}, 0.0),
        ({"mode": "rating", "gold": 5.0, "scale": (0.5, 9.5)}, 1 / 9),
        ({"mode": "rating", "gold": 0.5, "scale": (0.2, 0.8)}, None),
        ({"mode": "rating", "gold": None}, None),
        ({"mode": "rating", "scale": None}, None),
        ({"mode": "open"}, None),
        ({"candidates": ()}, None),
    ],
)
def test_chance(fields: dict[str, Any], expected: float | None) -> None:
    assert chance(make_sample(**fields)) == pytest.approx(expected)


# --- Wilson's interval --------------------------------------------------------------------


def test_the_mean_of_nothing_is_not_zero() -> None:
    assert mean([]) is None
    assert mean([0.0, 1.0]) == 0.5


def test_a_pick_is_plain_data() -> None:
    sample = make_sample(candidates=("a", "b", "c"))
    made = pick(make_trajectory(sample, 2, order=(2, 0, 1), repeat=3), sample)
    assert made == (sample.hash, 3, 3, 2, 1)
