"""The regression finds the bias that was put in, and says so where it cannot tell."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from armbench.results.bias import fit_choice
from armbench.results.frames import read_frames
from armbench.types import derive_seed
from tests.helpers import make_sample
from tests.results.viewing import judged, write_run


def choices(
    tmp_path: Path, choose: Callable[[random.Random, int, int, int], int], items: int = 400
) -> pd.DataFrame:
    """Episodes of a judge that is given: random, both lengths, the place of the right one."""
    rng = random.Random(derive_seed(0, "bias"))
    episodes = []
    for n in range(items):
        lengths, gold = [rng.randint(4, 64) for _ in range(2)], rng.randint(1, 2)
        sample = make_sample(id=f"i{n}", candidates=tuple("x" * k for k in lengths), gold=gold)
        episodes.append(judged(sample, choose(rng, *lengths, gold)))
    return read_frames(write_run(tmp_path, episodes)).episodes


def chance_of(odds: float, rng: random.Random) -> int:
    return 1 if rng.random() < 1 / (1 + math.exp(-odds)) else 2


def test_a_taste_for_the_first_place_is_measured(tmp_path: Path) -> None:
    fit = fit_choice(choices(tmp_path, lambda rng, a, b, gold: chance_of(1.0, rng)))
    _, low, high, p = fit.terms["first"]
    assert low < 1.0 < high
    assert p < 0.001
    assert abs(fit.terms["length"][0]) < 0.3
    assert fit.episodes == 400


def test_a_taste_for_length_is_told_from_one_for_right_answers(tmp_path: Path) -> None:
    def longer(rng: random.Random, a: int, b: int, gold: int) -> int:
        return chance_of(0.8 * math.log2(a / b) + (1.0 if gold == 1 else -1.0), rng)

    fit = fit_choice(choices(tmp_path, longer))
    for name, truth in {"length": 0.8, "gold": 2.0, "first": 0.0}.items():
        _, low, high, _ = fit.terms[name]
        assert low < truth < high, name


@pytest.mark.parametrize(
    ("choose", "reason"),
    [
        (lambda rng, a, b, gold: 1, "same place"),
        (lambda rng, a, b, gold: gold, "apart perfectly"),
        (lambda rng, a, b, gold: 1 if a > b else 2, "apart perfectly"),
    ],
)
def test_what_cannot_be_estimated_is_named(
    tmp_path: Path, choose: Callable[..., int], reason: str
) -> None:
    fit = fit_choice(choices(tmp_path, choose, items=60))
    assert fit.terms == {}
    assert reason in fit.reason


def test_few_clusters_say_nothing(tmp_path: Path) -> None:
    fit = fit_choice(choices(tmp_path, lambda rng, a, b, gold: rng.randint(1, 2), items=12))
    assert (fit.terms, fit.episodes) == ({}, 12)
    assert "clusters" in fit.reason
