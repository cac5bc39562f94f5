"""What is learnt from, and when a pair may be shown the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from armbench.episode import judge_events
from armbench.images import ImageStore
from armbench.training.filters import Sieve, solved_items, swapped, well_formed
from armbench.training.recipe import Filters
from armbench.trajectory import ModelEvent, ToolEvent, Trajectory
from armbench.types import Sample
from tests.helpers import answer, call, picture
from tests.training.demos import a_run, play, zoom

VERDICT = answer(1)


@pytest.mark.parametrize(
    ("text", "formed"),
    [
        ("<think>a</think><answer>b</answer>", True),
        (" <think>a\nb</think>\n\n<answer>b</answer>\n", True),
        ("<answer>b</answer>", False),
        ("<think>a</think> so <answer>b</answer>", False),
        ("<think>a</think><answer>b</answer> done", False),
        ("<think>a</think><answer>b</answer><answer>c</answer>", False),
        ("<think>a<think>b</think><answer>c</answer>", False),
        ("<think>a <tool_call></think><answer>c</answer>", False),
        ("", False),
    ],
)
def test_a_last_turn_is_one_thought_and_one_answer(text: str, formed: bool) -> None:
    assert well_formed(text) is formed


def why_not(*turns: str, filters: Filters | None = None, **fields: Any) -> str:
    trajectory, sample, _ = play(*turns, **fields)
    return Sieve(filters or Filters()).why_not(trajectory, sample)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([VERDICT], ""),
        ([zoom(), VERDICT], ""),
        (["<answer>Overall Judgment: Answer 1 is better</answer>"], "format"),
        ([answer(2)], "accuracy"),
        ([zoom(0, 0, 1000, 1000), VERDICT], "tools"),
        ([zoom(5, 5, 5, 5), VERDICT], "tools"),
        ([zoom(image="elsewhere"), VERDICT], "tools"),
        ([zoom(0, 0, 1000, 1000), zoom(0, 0, 1000, 1000), VERDICT], "tools"),
        ([zoom(0, 0, 1000, 1000), zoom(), VERDICT], ""),
        ([call("no_such_tool"), answer(1, "This is the zoom-in image of the crop.")], "tools"),
    ],
)
def test_what_each_filter_leaves_out(turns: list[str], reason: str) -> None:
    """Whether a call brought something is read from what happened, not from what is said."""
    assert why_not(*turns) == reason


def test_filters_can_be_switched_off() -> None:
    off = Filters(format=False, accuracy=False, tools=False)
    assert why_not(zoom(0, 0, 1000, 1000), "Answer 2 is better", filters=off) == ""


def test_what_cannot_be_checked_is_kept_and_counted() -> None:
    trajectory, sample, _ = play(VERDICT, gold=None)
    sieve = Sieve(Filters())
    assert sieve.why_not(trajectory, sample) == ""
    assert sieve.why_not(trajectory, None) == ""
    assert sieve.unchecked == {"accuracy": 2}


def test_items_that_are_always_solved_are_left_out(tmp_path: Path) -> None:
    """Solved in each of at least so many episodes; once wrong is not solved."""

    def repeats(item: str, *verdicts: int) -> Any:
        for n, verdict in enumerate(verdicts):
            trajectory, sample, store = play(answer(verdict), tools=False, id=item)
            yield trajectory.model_copy(update={"repeat": n}), sample, store

    episodes = [*repeats("easy", 1, 1, 1), *repeats("hard", 1, 2, 1), *repeats("rare", 1, 1)]
    solved = solved_items([a_run(tmp_path, episodes)], 3)
    left = [t.sample_id for t, s, _ in episodes if Sieve(Filters(), solved).why_not(t, s) == ""]
    assert set(left) == {"hard", "rare"}
    trajectory, sample, _ = episodes[0]
    assert Sieve(Filters(), solved).why_not(trajectory, sample) == "solved"


# --- the other order


def other_of(*turns: str, **fields: Any) -> tuple[Trajectory, Trajectory | None, Sample]:
    trajectory, sample, _ = play(*turns, **fields)
    return trajectory, swapped(trajectory, sample), sample


def said(trajectory: Trajectory) -> list[str]:
    return [e.reply.text for e in trajectory.events if isinstance(e, ModelEvent)]


def test_a_pair_in_the_other_order_is_the_episode_that_would_have_been() -> None:
    store = ImageStore()
    shown = [picture(store, (300, 200)), "Which?"]
    thought = "I see red. Answer 1 says red. Answer 2 says blue."
    _, other, sample = other_of(zoom(), answer(1, thought), question=shown, store=store)
    assert other is not None
    mirrored = "I see red. Answer 2 says red. Answer 1 says blue."
    assert said(other) == [zoom(), answer(2, mirrored)]
    # What armbench itself would have shown of the item in that order.
    turned = {"candidates": ("blue", "red"), "gold": 2}
    there, _, _ = play(zoom(), answer(2, mirrored), store=store, question=shown, **turned)
    assert other.messages == there.messages
    assert other.order == (1, 0)
    assert judge_events(other.events, sample).verdict == other.judgement.verdict == 2
    assert Sieve(Filters()).why_not(other, sample) == ""


def test_swapping_twice_gives_the_first_episode() -> None:
    first, other, sample = other_of(zoom(), answer(1, "Answer 1 it is, answer 2 is not"))
    assert other is not None
    assert swapped(other, sample) == first


def test_texts_are_exchanged_in_calls_too() -> None:
    look = call("image_zoom_in_tool", image="text_0", bbox_2d=[0, 0, 9, 9])
    _, other, _ = other_of(look, answer(1, "text_0 is so, text_1 is not"))
    assert other is None, "the tool's complaint names the texts that there are"
    trajectory, sample, _ = play(zoom(), answer(1, "text_0 is so, text_1 is not"))
    event = next(e for e in trajectory.events if isinstance(e, ToolEvent))
    named = event.call.model_copy(update={"arguments": {"response": "text_1"}, "raw": "text_1"})
    events = [
        e.model_copy(update={"call": named}) if isinstance(e, ToolEvent) else e
        for e in trajectory.events
    ]
    other = swapped(trajectory.model_copy(update={"events": tuple(events)}), sample)
    assert other is not None
    call_of_other = next(e.call for e in other.events if isinstance(e, ToolEvent))
    assert call_of_other.arguments == {"response": "text_0"}
    assert "text_1 is so, text_0 is not" in said(other)[-1]


@pytest.mark.parametrize(
    "thought",
    [
        "the first is right",
        "the latter is wrong",
        "A is right, B is not",
        "1 is right",
        "Response 1 is right",
        "both answers are good",
        "answer 3 is right",
        "(2) is wrong",
    ],
)
def test_words_that_may_mean_a_place_leave_the_pair_as_it_is(thought: str) -> None:
    assert other_of(answer(1, thought))[1] is None


@pytest.mark.parametrize("thought", ["a red lamp, 12 of them, 1.5 wide", "so it is", "21 or 2.2"])
def test_other_numbers_and_words_do_not(thought: str) -> None:
    assert other_of(answer(1, thought))[1] is not None


def test_only_pairs_of_two_with_a_verdict_and_our_own_prompt_are_turned() -> None:
    assert other_of(answer(1), candidates=("a", "b", "c", "d"))[1] is None
    assert other_of(answer(True), mode="single", candidates=("red",), gold=True)[1] is None
    assert other_of("I cannot say")[1] is None
    trajectory, sample, _ = play(answer(1))
    foreign = trajectory.model_copy(update={"messages": trajectory.messages[:1]})
    assert swapped(foreign, sample) is None
    assert swapped(trajectory, None) is None
