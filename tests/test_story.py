"""How an episode is told: one reading of the log for terminal, notebook and viewer."""

from __future__ import annotations

import re
from importlib.resources import files
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.evidence import Box, Evidence, Sight
from armbench.score import Record
from armbench.story import (
    candidates,
    gold_words,
    last_turn,
    pieces,
    plain,
    sight_words,
    verdict_words,
    visible,
)
from armbench.trajectory import ModelEvent, NoteEvent, Score, StopEvent
from armbench.types import Reply, Sample
from tests.helpers import make_sample, make_trajectory

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]")


def said(text: str, kept: int | None = None) -> ModelEvent:
    return ModelEvent(reply=Reply(text=text), kept=len(text) if kept is None else kept)


def told(text: str, **more: Any) -> list[tuple[str, str]]:
    """The pieces of a turn as (kind, text)."""
    return [(p.kind, p.before + p.verdict + p.after) for p in pieces(said(text, **more))]


# --- a turn


def test_a_turn_is_taken_apart_by_its_tags() -> None:
    text = "<think>hm</think> so <tool_call>{}</tool_call> and <answer>two</answer>"
    assert told(text) == [
        ("reasoning", "hm"), ("text", "so"), ("call", "{}"), ("text", "and"), ("answer", "two")
    ]  # fmt: skip


def test_a_thought_whose_opening_tag_the_template_wrote_is_reasoning() -> None:
    assert told("hm, hm</think>two") == [("reasoning", "hm, hm"), ("text", "two")]


def test_a_tag_that_is_never_closed_is_text() -> None:
    assert told("<think>hm, hm") == [("text", "<think>hm, hm")]


def test_tags_inside_a_piece_are_its_text() -> None:
    assert told("<think>an <answer>1</answer>?</think>no") == [
        ("reasoning", "an <answer>1</answer>?"), ("text", "no")
    ]  # fmt: skip


def test_what_was_taken_out_of_the_conversation_is_dropped_whatever_its_tags() -> None:
    text = "<tool_call>{}</tool_call><answer>1</answer>"
    assert told(text, kept=text.index("<answer>")) == [
        ("call", "{}"), ("dropped", "<answer>1</answer>")
    ]  # fmt: skip


def test_the_words_read_as_the_verdict_are_marked_in_their_place() -> None:
    text = "Answer 2? <answer> it is Answer 1 here </answer>"
    at = text.index("Answer 1")
    [before, where] = pieces(said(text), (at, at + 8))
    assert (before.kind, before.verdict) == ("text", "")
    assert where == ("answer", "it is ", "Answer 1", " here")


def test_the_verdict_is_never_marked_in_what_was_dropped() -> None:
    [_, dropped] = pieces(said("one Answer 1", kept=4), (4, 12))
    assert (dropped.kind, dropped.verdict) == ("dropped", "")


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>",
                         "</answer>", "<THINK>", " ", "a", "b", "\n", "1"]),
        max_size=14,
    ),
    st.integers(0, 60),
)  # fmt: skip
def test_nothing_but_tags_and_blanks_is_lost_or_moved(parts: list[str], kept: int) -> None:
    text = "".join(parts)
    shown = "".join(words for _, words in told(text, kept=min(kept, len(text))))

    assert letters(shown) == letters(text)


def letters(text: str) -> str:
    return "".join(re.sub(r"(?i)</?(think|tool_call|answer)>", " ", text).split())


def test_a_turn_of_a_thousand_open_tags_is_read_at_once() -> None:
    start = perf_counter()
    told("<think>" * 50_000 + "<tool_call>" * 50_000)
    assert perf_counter() - start < 2


def test_the_last_turn_is_the_judge_s_not_the_last_event() -> None:
    events = (
        said("a"),
        NoteEvent(reason="parse", text="?"),
        said("b"),
        StopEvent(reason="answered"),
    )
    assert last_turn(events) == 2
    assert last_turn((StopEvent(reason="answered"),)) is None


# --- characters that act


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nof é 漢 👍", "plain\ttext\nof é 漢 👍"),
        ("\x1b[31mred", "⟨U+001B⟩[31mred"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\r\nb\rc", "a\nb⟨U+000D⟩c"),
        ("\x00\x00\x00\u200b", "⟨U+0000 x3⟩⟨U+200B⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
    ],
)
def test_characters_that_act_are_named_and_all_others_kept(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    assert not ACTING.search(visible(text))


def test_the_viewer_names_the_same_characters() -> None:
    """Its script has a list of its own."""
    script = files("armbench.results.viewer").joinpath("dom.js").read_text("utf-8")
    listed = re.search(r"const UNSEEN =\s+/\[(.+)\]\+/gu;", script)
    assert listed
    source = re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: f"\\U{m[1]:0>8}", listed[1])
    theirs = re.compile(f"[{source}]")
    everything = map(chr, range(0x110000))
    different = [c for c in everything if bool(theirs.match(c)) != (visible(c) != c)]
    assert different == []


# --- what was said, what is right


SCORE = Score(metric="accuracy", value=1.0, counted_as="correct")


def record(sample: Sample, verdict: Any, **more: Any) -> Record:
    trajectory = make_trajectory(sample, verdict, **more)
    return Record(sample, trajectory, SCORE)


def test_candidates_stand_in_the_order_shown_with_gold_and_verdict() -> None:
    sample = make_sample(candidates=("a", "b", "c"), gold=3)
    shown = candidates(sample, make_trajectory(sample, 2, order=(2, 0, 1)))
    assert [(c.shown, c.number, c.text) for c in shown] == [(1, 3, "c"), (2, 1, "a"), (3, 2, "b")]
    assert [c.gold for c in shown] == [True, False, False]
    assert [c.chosen for c in shown] == [False, True, False]


def test_an_order_that_does_not_fit_the_item_is_not_followed() -> None:
    sample = make_sample()
    shown = candidates(sample, make_trajectory(sample, 1, order=(7, 7)))
    assert [c.number for c in shown] == [1, 2]


@pytest.mark.parametrize(
    ("mode", "gold", "verdict", "said_words", "gold_said"),
    [
        ("pair", 1, 2, "Answer 2 (no. 1 in the data set)", "Answer 2 (no. 1 in the data set)"),
        ("pair", 2, None, "none (missing)", "Answer 1 (no. 2 in the data set)"),
        ("pair", None, 1, "Answer 1 (no. 2 in the data set)", "no label"),
        ("single", False, True, "True", "False"),
        ("rating", 7.5, 8.0, "8", "7.5"),
    ],
)
def test_verdict_and_gold_are_said_in_both_numberings(
    mode: str, gold: Any, verdict: Any, said_words: str, gold_said: str
) -> None:
    sample = make_sample(mode=mode, gold=gold)
    order = (1, 0) if mode == "pair" else (0,)
    assert verdict_words(record(sample, verdict, order=order)) == said_words
    assert gold_words(record(sample, verdict, order=order)) == gold_said


def test_a_rating_s_gold_is_told_with_its_tolerance() -> None:
    sample = make_sample(mode="rating", gold=7.0, tolerance=0.5)
    assert gold_words(record(sample, 7.2)) == "7 ± 0.5"


@pytest.mark.parametrize(
    ("verdict", "words"), [(True, "True"), (2, "2"), (7.0, "7"), (7.25, "7.25")]
)
def test_a_verdict_is_written_plainly(verdict: Any, words: str) -> None:
    assert plain(verdict) == words


# --- what a call brought


def evidence(**meta: Any) -> Evidence:
    return Evidence.of(make_sample(meta={"evidence": meta}))


@pytest.mark.parametrize(
    ("box", "coverage", "verdict"),
    [
        ((0, 0, 500, 500), 0.5, "hit"),
        ((0, 0, 500, 500), 0.49, "miss"),
        ((0, 0, 1000, 1000), 1.0, "whole picture"),
    ],
)
def test_a_crop_is_told_by_what_it_covers_of_the_region(
    box: Box, coverage: float, verdict: str
) -> None:
    sight = Sight(event=1, box=box, coverage=coverage, iou=0.25)
    words = sight_words(sight, evidence(region=[250, 250, 750, 750]))
    assert words == f"evidence: {verdict}; covers {coverage:.0%} of the region, IoU 0.250"


def test_checks_are_numbered_and_repeats_named() -> None:
    settle = evidence(checks=[{"tool": "a", "arguments": {}}, {"tool": "b", "arguments": {}}])
    sight = Sight(event=1, check=1, repeated=True)
    assert sight_words(sight, settle) == "check 2 of 2; same call as before"


def test_pages_are_told_with_those_of_the_evidence_among_them() -> None:
    sight = Sight(event=1, pages=(3, 4))
    assert sight_words(sight, evidence(pages=[4, 9])) == (
        "pages 3, 4; evidence: hit (4) of pages 4, 9"
    )
    assert sight_words(sight, evidence(pages=[8])) == "pages 3, 4; evidence: miss of pages 8"
    assert sight_words(sight, evidence()) == "pages 3, 4"


def test_a_call_that_brought_nothing_has_no_words() -> None:
    assert sight_words(Sight(event=1), evidence()) == ""
