"""Reading verdicts: what holds for every text, and that no text takes long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.helpers import outcome
from tests.helpers import read_verdict as read

# --- properties ---------------------------------------------------------------------------

TOKENS = st.sampled_from(
    "<think> </think> <answer> </answer> <tool_call> </tool_call> [[A]] [[B]] Answer 1 2 7 A B I "
    "Overall Judgment: Rating: score is better worse than not n't true False True because tie "
    "equally good 8/10 7.5 -1 and , . ** _ \n out of".split(" ")
)
WRITTEN = st.one_of(st.text(), st.lists(TOKENS).map(" ".join), st.lists(TOKENS).map("".join))
MODES = st.sampled_from(["single", "pair", "rating", "open"])
TAGS = ("<think", "</think", "<answer", "</answer", "<tool_call", "</tool_call")
COMMENT = WRITTEN.filter(lambda t: not any(tag in t.lower() for tag in TAGS))
VERDICTS: st.SearchStrategy[tuple[str, object, str]] = st.one_of(
    st.booleans().map(lambda v: ("single", v, f"Overall Judgment: {v}")),
    st.integers(1, 4).map(lambda v: ("pair", v, f"Overall Judgment: Answer {v} is better")),
    st.integers(0, 20).map(lambda v: ("rating", v / 2, f"Rating: {v / 2:g}")),
)


@settings(max_examples=300)
@given(WRITTEN, MODES, st.integers(0, 5))
def test_no_text_can_raise_and_a_verdict_is_always_one_that_exists(
    text: str, mode: str, count: int
) -> None:
    judgement = read(mode, text, count)
    if judgement.span is not None:
        start, end = judgement.span
        assert 0 <= start <= end <= len(text)
    if judgement.parse != "ok" or mode == "open":
        assert judgement.verdict is None
    elif mode == "single":
        assert isinstance(judgement.verdict, bool)
    elif mode == "pair":
        assert judgement.verdict in range(1, count + 1)
    else:
        assert isinstance(judgement.verdict, float)
        assert 0 <= judgement.verdict <= 10


@given(COMMENT, VERDICTS)
def test_reasoning_never_changes_a_verdict(thought: str, verdict: tuple[str, object, str]) -> None:
    mode, value, words = verdict
    for text in (
        f"<think>{thought}</think>\n<answer>{words}</answer>",
        f"<think>{thought}</think>\n{words}",
        f"<think>{thought}</think><answer>{words}",
        f"{thought}<answer>{words}</answer>{thought}",
    ):
        judgement = read(mode, text, 4)
        assert outcome(judgement) == value


@settings(max_examples=300)
@given(COMMENT.filter(lambda t: "\n" not in t), COMMENT, VERDICTS, VERDICTS)
@example(" because ", "", ("pair", 1, "Answer 1 is better"), ("pair", 2, "Answer 2 is better"))
@example(" than ", "", ("pair", 1, "Answer 1 is better"), ("pair", 2, "Answer 2 is better"))
def test_two_different_verdicts_are_never_ok(
    between: str, after: str, one: tuple[str, object, str], two: tuple[str, object, str]
) -> None:
    mode = one[0]
    if two[0] != mode or two[1] == one[1]:
        return
    for text in (
        f"<answer>{one[2]} {between} {two[2]} {after}</answer>",
        f"<answer>{one[2]}</answer>{between}<answer>{two[2]}</answer>",
        f"{one[2]}\n{two[2]}",
    ):
        assert read(mode, text, 4).parse != "ok"


@given(st.lists(TOKENS).map(" ".join))
def test_swapping_the_names_swaps_the_verdict(text: str) -> None:
    swap = str.maketrans("12AB", "21BA")
    text = text.replace("Answer", "answer")  # so that swapping letters leaves the word alone
    assume(not re.search(r"[AB][\W_]+tie", text))  # in "A tie", A is no name
    before, after = read("pair", text), read("pair", text.translate(swap))
    assert before.parse == after.parse
    assert before.span == after.span
    if before.verdict is not None:
        assert after.verdict == 3 - int(before.verdict)


# --- hostile texts ------------------------------------------------------------------------

BOMBS = [
    "<answer>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<think></think>",
    "better than answer 1 and ", " better than answer 1 and answer 2 or", "answer #", "answer ",
    "9", "1,", "1,111", "7 out of ", "7/", "-", " ", "\n", "*", "_", "a", "[[", "[[A]] ",
    "judgment", "judgment ", "judgment: ", "overall ", "rating (", "not ", "not a ", "n't a a ",
    "Answer 1 is a ", "better because ", "equally ", "is a ", "\u0130",
]  # fmt: skip
LEADS = ["answer", "judgment", "rating", "better than", "[[", "call", "Answer 1 is", "not"]
STRETCHES = [" ", "*", "9", "a"]


def seconds_to_read(text: str) -> float:
    """The slowest of the three modes, each at its best of two: the rest is the machine's noise."""

    def once(mode: str) -> float:
        started = time.thread_time()
        read(mode, text, 4)
        return time.thread_time() - started

    return max(min(once(mode), once(mode)) for mode in ("single", "pair", "rating"))


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_hostile_text_is_read_in_linear_time(bomb: str) -> None:
    assert seconds_to_read(bomb * (50_000 // len(bomb))) < 2


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("stretch", STRETCHES)
def test_a_long_stretch_after_a_key_word_is_read_in_linear_time(lead: str, stretch: str) -> None:
    assert seconds_to_read(lead + stretch * 50_000 + "!") < 2


def test_a_very_long_hostile_text_takes_less_than_a_second() -> None:
    for bomb in ("<answer>", "<think>", "better than answer 1 and ", "9", " ", "answer" + " " * 99):
        assert seconds_to_read((bomb * (200_000 // len(bomb) + 1))[:200_000]) < 1
