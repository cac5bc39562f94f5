"""Kappa with gold and with people, by task and format; and where there is none to give."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from armbench.results.agreement import cohen_kappa, human_label
from armbench.results.frames import read_frames
from armbench.results.labels import agreement
from armbench.trajectory import Trajectory
from armbench.types import Sample
from tests.helpers import make_sample
from tests.results.viewing import judged, write_run


def table(tmp_path: Path, episodes: Iterable[tuple[Sample, Trajectory]]) -> list[tuple[str, ...]]:
    return list(agreement(read_frames(write_run(tmp_path, episodes))).block.rows)


def single(n: int, gold: bool | None, verdict: bool | None, **meta: Any) -> Any:
    return judged(make_sample(id=f"s{n}", mode="single", gold=gold, meta=meta), verdict)


def test_the_judge_is_held_against_gold_and_against_people(tmp_path: Path) -> None:
    gold = [n % 2 == 0 for n in range(40)]
    judge = [right != (n % 10 == 0) for n, right in enumerate(gold)]
    people = [right != (n % 8 == 0) for n, right in enumerate(judge)]
    episodes = [single(n, gold[n], judge[n], human=people[n]) for n in range(40)]
    rows = table(tmp_path, episodes)
    assert [row[:4] for row in rows] == [
        ("toy", "single", "gold", "40"),
        ("toy", "single", "people", "40"),
    ]
    for row, labels in zip(rows, (gold, people), strict=True):
        expected = cohen_kappa(judge, labels)
        assert row[4] == f"{expected.agreement:.3f}"
        assert row[6] == f"{expected.kappa:.3f} [{expected.low:.3f}, {expected.high:.3f}]"


def test_answers_count_by_the_place_they_were_shown_in(tmp_path: Path) -> None:
    # Gold is always the first in the data set, so only the places shown tell chance.
    episodes = [
        judged(make_sample(id=f"p{n}", meta={"human": 1}), verdict, order=order)
        for n in range(12)
        for verdict, order in ((1, (0, 1)), (2, (1, 0)))
    ]
    for row in table(tmp_path, episodes):
        assert row[3:6] == ("24", "1.000", "0.500")
        assert row[6].startswith("1.000 [")


def test_formats_are_kept_apart_for_chance_differs(tmp_path: Path) -> None:
    guesses = [single(n, n % 2 == 0, n % 4 < 2) for n in range(16)]
    guesses += [
        judged(make_sample(id=f"p{n}", gold=1 + n % 2), 1 + n // 2 % 2, order=(0, 1))
        for n in range(16)
    ]
    found = {row[1]: row[4:] for row in table(tmp_path, guesses)}
    for figures in (found["pair"], found["single"]):
        assert figures[:2] == ("0.500", "0.500")
        assert figures[2].startswith(("0.000", "-0.000"))


def test_episodes_without_verdict_or_label_and_ratings_are_left_out(tmp_path: Path) -> None:
    episodes = [
        single(0, True, True),
        single(1, None, True, human=True),
        single(2, True, None, human=False),
        judged(make_sample(id="r", mode="rating", meta={"human": 7.0}), None),
    ]
    rows = table(tmp_path, episodes)
    assert [(row[2], row[3]) for row in rows] == [("gold", "1"), ("people", "1")]
    assert {row[6] for row in rows} == {"n/a"}


def test_a_run_without_labels_says_so(tmp_path: Path) -> None:
    block = agreement(read_frames(write_run(tmp_path, [single(0, None, True)]))).block
    assert block.rows == ()
    assert block.notes == (
        "n/a: no verdict could be read on an item with a label that is no rating.",
    )


@pytest.mark.parametrize(
    ("mode", "said", "label"),
    [
        ("pair", 2, 2),
        ("single", False, False),
        ("pair", 3, None),
        ("pair", 0, None),
        ("pair", True, None),
        ("pair", "1", None),
        ("pair", [1, 2], None),
        ("single", 1, None),
        ("single", None, None),
        ("rating", 7, None),
    ],
)
def test_only_a_possible_verdict_is_a_label(mode: str, said: Any, label: bool | int | None) -> None:
    found = human_label(make_sample(mode=mode, meta={"human": said}))
    assert found is label
    assert human_label(make_sample(mode=mode)) is None
