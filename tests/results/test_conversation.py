"""A conversation holds what the judge saw and said, each thing once."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.evaluate import read_records
from armbench.images import ImageStore
from armbench.results.conversation import Turn, facts, turns, words
from armbench.runlog import RunDir
from armbench.trajectory import ModelEvent
from armbench.types import ImagePart, Message, NativeCall, Reply, Sample, TextPart
from tests.helpers import (
    TOOLS,
    answer,
    as_reply,
    call,
    loop,
    make_plan,
    make_sample,
    make_trajectory,
    run_episode,
)
from tests.results.viewing import judged, write_run, zoom_episode


def talk(*replies: str | Reply, **limits: Any) -> list[Turn]:
    """The turns of an episode after the opening."""
    plan = make_plan(*TOOLS, loop=loop(**limits))
    found = list(turns(run_episode(plan, replies)))
    assert [turn.role for turn in found[:2]] == ["system", "user"]
    return found[2:]


def test_an_episode_is_told_in_order() -> None:
    _, trajectory = zoom_episode(ImageStore())
    told = list(turns(trajectory))
    speakers = "system user assistant tool assistant tool assistant tool assistant"
    assert [turn.role for turn in told] == speakers.split()
    assert [turn.place for turn in told] == [None, None, 0, 1, 2, 3, 4, 5, 6]
    opening = told[1].parts
    assert opening == trajectory.messages[1].parts
    assert isinstance(opening[0], ImagePart)


def test_a_call_is_taken_out_of_the_text_and_what_was_dropped_is_not_told() -> None:
    _, trajectory = zoom_episode(ImageStore())
    first = list(turns(trajectory))[2]
    assert first.text == "<think>I look closer.</think>"
    assert [(piece.kind, words(piece)) for piece in first.pieces] == [
        ("reasoning", "I look closer.")
    ]
    assert [(c.id, c.name) for c in first.calls] == [("call_1", "image_zoom_in_tool")]
    assert "said too early" not in str(list(turns(trajectory)))


def test_a_tool_turn_names_its_call_and_shows_what_the_judge_saw() -> None:
    made, shown, _ = talk(call("paint", colors=["red"]), answer(1))
    assert shown.call == made.calls[0]
    assert [part.type for part in shown.parts] == ["image", "text"]


def test_the_last_turn_keeps_the_tags_of_its_answer() -> None:
    (last,) = talk(answer(2, "the second"))
    assert last.text == answer(2, "the second")
    assert [piece.kind for piece in last.pieces] == ["reasoning", "answer"]
    assert words(last.pieces[1]) == "<answer>Overall Judgment: Answer 2 is better</answer>"


def test_equal_calls_of_one_turn_are_all_taken_out() -> None:
    once = call("read", name="text_0")
    made, first, second, _ = talk(f"a {once} b {once}", answer(1), parallel_calls=True)
    assert [c.id for c in made.calls] == ["call_1", "call_2"]
    assert made.text.split() == ["a", "b"]
    assert [t.call and t.call.id for t in (first, second)] == ["call_1", "call_2"]


def test_a_call_quoted_in_thoughts_stays_there() -> None:
    once = call("read", name="text_0")
    made, *_ = talk(f"<think>I could write {once}</think>{once}", answer(1))
    assert made.text == f"<think>I could write {once}</think>"
    assert len(made.calls) == 1


def test_a_call_that_cannot_be_read_stays_in_the_text() -> None:
    broken = "<tool_call>\n{not JSON}\n</tool_call>"
    made, refused, _ = talk(f"look: {broken}", answer(1))
    assert made.text == f"look: {broken}"
    assert [c.arguments for c in made.calls] == [None]
    assert words(made.pieces[-1]) == broken
    assert refused.call == made.calls[0]


def test_a_call_that_was_never_answered_stays_in_the_text() -> None:
    once = call("read", name="text_0")
    *_, note, last = talk(once, once, max_turns=1)
    assert (note.role, last.role) == ("user", "assistant")
    assert last.text == once
    assert last.calls == ()


def test_a_note_is_a_turn_of_the_user() -> None:
    told = talk(call("read", name="text_0"), answer(1), max_turns=1)
    assert [turn.role for turn in told] == ["assistant", "tool", "user", "assistant"]
    assert isinstance(told[2].parts[0], TextPart)


def test_calls_that_the_server_read_stand_beside_the_text() -> None:
    good = NativeCall(id="a", name="read", arguments='{"name": "text_0"}')
    bad = NativeCall(id="b", name="read", arguments="{broken")
    replies = [as_reply("I read.", calls=(good,)), as_reply("Again.", calls=(bad,)), answer(1)]
    first, _, second, *_ = talk(*replies, dialect="native")
    assert (first.text, [c.id for c in first.calls]) == ("I read.", ["a"])
    assert (second.text, [c.arguments for c in second.calls]) == ("Again.\nread({broken)", [None])


def test_what_the_server_returned_as_reasoning_is_kept_apart() -> None:
    (last,) = talk(as_reply(answer(1), reasoning="hidden"))
    assert last.reasoning == "hidden"
    assert "hidden" not in last.text


def test_a_conversation_that_began_elsewhere_keeps_its_calls() -> None:
    made = NativeCall(id="x1", name="read", arguments='{"name": "text_0"}')
    prompt = (
        Message(role="user", parts=(TextPart(text="go on"),)),
        Message(role="assistant", parts=(TextPart(text="I read."),), calls=(made,)),
        Message(role="tool", parts=(TextPart(text="a cat"),), call_id="x1"),
    )
    plan = make_plan(sample=make_sample(mode="open"), prompt=prompt)
    _, asked, shown, _ = turns(run_episode(plan, ["fine"]))
    assert [c.arguments for c in asked.calls] == [{"name": "text_0"}]
    assert shown.call is not None
    assert shown.call.id == "x1"


word = st.text(string.ascii_lowercase + "é\u202e ", min_size=1, max_size=8)


@given(st.lists(st.tuples(word, st.sampled_from(["text_0", "text_1", "}</think>", '"<answer>'])),
                min_size=1, max_size=4))  # fmt: skip
def test_words_around_calls_survive_and_no_call_is_told_twice(parts: list[Any]) -> None:
    said = "".join(f"{text}{call('read', name=name)}" for text, name in parts)
    plan = make_plan(*TOOLS, loop=loop(parallel_calls=True))
    made = list(turns(run_episode(plan, [said, answer(1)])))[2]
    assert [c.arguments for c in made.calls] == [{"name": name} for _, name in parts]
    assert "".join(made.text.split()) == "".join("".join(text for text, _ in parts).split())


# --- facts


def told(tmp_path: Any, sample: Sample, verdict: Any, **fields: Any) -> dict[str, Any]:
    run = write_run(tmp_path, [judged(sample, verdict, **fields)])
    (record,) = read_records(RunDir(run))
    return facts(record)


def test_candidates_are_numbered_as_in_the_data_set(tmp_path: Any) -> None:
    found = told(tmp_path, make_sample(gold=2), 2, order=(1, 0), repeat=3)
    assert (found["gold"], found["verdict"], found["counted_as"]) == (2, 1, "wrong")
    assert (found["gold_shown"], found["shown"]) == (1, 2)
    assert (found["order"], found["repeat"]) == ([2, 1], 3)


@pytest.mark.parametrize("mode", ["single", "rating"])
def test_only_pairs_have_places(tmp_path: Any, mode: Any) -> None:
    found = told(tmp_path, make_sample(mode=mode), None)
    assert (found["shown"], found["gold_shown"], found["verdict"]) == (None, None, None)
    assert found["counted_as"] == "missing"


def test_a_turn_without_anything_is_told_too() -> None:
    event = ModelEvent(reply=Reply(text="", refusal="no"), kept=0)
    (turn,) = turns(make_trajectory(make_sample(), events=(event,)))
    assert (turn.role, turn.text, turn.pieces) == ("assistant", "", ())
