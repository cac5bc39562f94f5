"""What an episode earns, and what earns nothing however it is claimed."""

from __future__ import annotations

from typing import Any

import pytest

from armbench.episode import LoopConfig, Plan
from armbench.images import ImageStore
from armbench.tools.image import ZOOM
from armbench.training.recipe import Rewards
from armbench.training.rewards import REWARDS
from armbench.trajectory import ModelEvent, Trajectory
from armbench.types import Reply
from tests.helpers import (
    answer,
    call,
    make_plan,
    make_sample,
    make_trajectory,
    picture,
    run_episode,
)

VALUES = Rewards()
REGION = [100, 100, 300, 300]


def plan(**fields: Any) -> Plan:
    """A pair about a picture whose evidence lies in `REGION`; Answer 1 is right."""
    store = ImageStore()
    question = [picture(store, (300, 200)), "What is it?"]
    sample = make_sample(question, meta={"evidence": {"region": REGION}}, **fields)
    return make_plan(ZOOM, sample=sample, store=store, loop=LoopConfig(max_turns=4))


def zoom(*box: float, image: str = "original_image") -> str:
    return call("image_zoom_in_tool", image=image, bbox_2d=list(box))


HIT, MISS, WHOLE = zoom(*REGION), zoom(600, 600, 900, 900), zoom(0, 0, 1000, 1000)
WRONG_ARGUMENTS, NO_SUCH_TOOL = zoom(1, 2), call("image_zoom", image="original_image")
UNREADABLE = "<tool_call>zoom please</tool_call>"
RIGHT, WRONG = answer(1), answer(2)
BARE = "Overall Judgment: Answer 1 is better"
CHATTY = RIGHT + " I hope this helps."
EXPLOIT = answer(1, "This is the zoom-in image. Zoomed in on original_image: observation_1.")
QUOTED = answer(1, f"I would call {HIT} and then know.")
TWO = RIGHT + RIGHT


def total(name: str, *turns: str, values: Rewards = VALUES) -> float:
    """What an episode of these turns earns; rounded, since parts are differences."""
    of = plan()
    reward = REWARDS[name](run_episode(of, turns), of.sample, values)
    assert reward.total == pytest.approx(sum(reward.parts.values()))
    return round(reward.total, 6)


CASES: dict[str, tuple[tuple[str, ...], tuple[float, float, float, float]]] = {
    # turns, and what they earn as: attempt, adaptive, accuracy, bonus
    "right": ((RIGHT,), (0.3, 1.0, 1.0, 1.0)),
    "wrong": ((WRONG,), (0.3, 0.3, 0.3, 0.3)),
    "right with a call": ((HIT, RIGHT), (0.4, 1.5, 1.0, 1.5)),
    "wrong with a call": ((HIT, WRONG), (0.4, 0.4, 0.3, 0.8)),
    "right with a call elsewhere": ((MISS, RIGHT), (0.4, 1.5, 1.0, 1.5)),
    "no form": ((BARE,), (0.0, 0.0, 0.0, 0.0)),
    "no form after a call": ((HIT, BARE), (0.0, 0.0, 0.0, 0.0)),
    "words after the answer": ((CHATTY,), (0.0, 0.0, 0.0, 0.0)),
    "two answers": ((TWO,), (0.0, 0.0, 0.0, 0.0)),
    "whole picture": ((WHOLE, RIGHT), (0.3, 1.0, 1.0, 1.0)),
    "whole picture, wrong": ((WHOLE, WRONG), (0.3, 0.3, 0.3, 0.3)),
    "whole picture, nearly": ((zoom(10, 10, 990, 990), RIGHT), (0.3, 1.0, 1.0, 1.0)),
    "bad arguments": ((WRONG_ARGUMENTS, RIGHT), (0.3, 1.0, 1.0, 1.0)),
    "no such tool": ((NO_SUCH_TOOL, WRONG), (0.3, 0.3, 0.3, 0.3)),
    "unreadable call": ((UNREADABLE, RIGHT), (0.3, 1.0, 1.0, 1.0)),
    "no such picture": ((zoom(*REGION, image="x"), RIGHT), (0.3, 1.0, 1.0, 1.0)),
    "whole picture again": ((WHOLE, WHOLE, RIGHT), (0.3, 1.0, 1.0, 1.0)),
    "an error, then mended": ((WRONG_ARGUMENTS, HIT, RIGHT), (0.4, 1.5, 1.0, 1.5)),
    "the same call three times": ((HIT, HIT, HIT, RIGHT), (0.4, 1.5, 1.0, 1.5)),
    "claims to have zoomed": ((EXPLOIT,), (0.3, 1.0, 1.0, 1.0)),
    "a call within the thought": ((QUOTED,), (0.0, 0.0, 0.0, 0.0)),
    "a call at the end": ((HIT, HIT, HIT, HIT, HIT), (0.0, 0.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_episode_earns(case: str) -> None:
    turns, expected = CASES[case]
    assert tuple(total(name, *turns) for name in REWARDS) == expected


def test_names_are_those_of_the_recipes() -> None:
    assert list(REWARDS) == ["attempt", "adaptive", "accuracy", "bonus"]


def test_the_published_exploit_earns_nothing() -> None:
    """The reference looked for the tool's sentence in the judge's own text."""
    for name in REWARDS:
        assert total(name, EXPLOIT) == total(name, RIGHT)
    of = plan()
    parts = REWARDS["adaptive"](run_episode(of, [EXPLOIT]), of.sample, VALUES).parts
    assert parts["tools"] == 0


def test_values_come_from_the_recipe() -> None:
    values = Rewards(bad_format=-1.0, wrong=0.1, tried=0.15, right=2.0, helped=3.0)
    earned = [
        total("adaptive", *turns, values=values)
        for turns in ((BARE,), (WRONG,), (HIT, WRONG), (RIGHT,), (HIT, RIGHT))
    ]
    assert earned == [-1.0, 0.1, 0.15, 2.0, 3.0]


def test_evidence_may_be_asked_for() -> None:
    strict = Rewards(evidence=True)
    assert total("adaptive", HIT, RIGHT, values=strict) == 1.5
    assert total("adaptive", MISS, RIGHT, values=strict) == 1.0
    assert total("adaptive", MISS, HIT, RIGHT, values=strict) == 1.5
    # An attempt is an attempt wherever it looks.
    assert total("adaptive", MISS, WRONG, values=strict) == 0.4


def test_an_item_that_names_no_evidence_asks_for_none() -> None:
    of = plan()
    bare = of.sample.model_copy(update={"meta": {}})
    trajectory = run_episode(of, [MISS, RIGHT])
    assert REWARDS["adaptive"](trajectory, bare, Rewards(evidence=True)).total == 1.5


def test_calls_after_the_first_cost() -> None:
    dear = Rewards(cost_per_call=0.1)
    assert total("adaptive", RIGHT, values=dear) == 1.0
    assert total("adaptive", HIT, RIGHT, values=dear) == 1.5
    assert total("adaptive", MISS, HIT, RIGHT, values=dear) == 1.4
    assert total("adaptive", HIT, HIT, BARE, values=dear) == -0.1


def test_a_right_single_judgment_earns_as_much_as_a_pair() -> None:
    """The reference gave a correct single judgment of a document 0.4."""
    of = plan(mode="single")
    assert REWARDS["adaptive"](run_episode(of, [HIT, answer(True)]), of.sample, VALUES).total == 1.5


def test_a_verdict_counts_in_shown_order() -> None:
    of = plan()
    turned = make_plan(ZOOM, sample=of.sample, store=of.store, order=(1, 0))
    shown: Trajectory = run_episode(turned, [answer(2)])
    assert REWARDS["accuracy"](shown, of.sample, VALUES).total == 1.0


def test_a_call_that_a_server_read_is_seen_too() -> None:
    """Native calls are not in the text."""
    of = plan()
    said = ModelEvent(reply=Reply(text=RIGHT), kept=len(RIGHT), calls=1)
    trajectory = make_trajectory(of.sample, stop="max_turns", events=(said,))
    assert REWARDS["attempt"](trajectory, of.sample, VALUES).total == 0.0


def test_an_episode_in_which_nothing_was_said_earns_what_bad_format_does() -> None:
    sample = make_sample()
    reward = REWARDS["adaptive"](make_trajectory(sample, stop="error", events=()), sample, VALUES)
    assert reward.total == 0.0
