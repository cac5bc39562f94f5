"""The loop's ends: limits are outcomes, failures have names, neither is an answer."""

from __future__ import annotations

from typing import Any

import pytest

from armbench.episode import Ask, Run, episode
from armbench.prompt import LAST_TURN
from armbench.score import score
from armbench.trajectory import Failure, NoteEvent, StopEvent
from armbench.types import Reply, ToolResult, Usage
from tests.helpers import (
    TOOLS,
    Clock,
    answer,
    as_reply,
    call,
    kinds,
    loop,
    make_plan,
    read,
    results,
    run_episode,
    words,
)

# --- limits -------------------------------------------------------------------------------


def test_at_the_last_turn_the_judge_is_told_and_may_still_answer() -> None:
    look_on = call("read", name="text_0")
    asks: list[Ask] = []
    t = run_episode(
        make_plan(read, loop=loop(max_turns=2)), [look_on, look_on, answer(2)], asks=asks
    )
    assert kinds(t) == ["model", "tool", "model", "tool", "note", "model", "stop"]
    assert t.events[4] == NoteEvent(reason="last_turn", text=LAST_TURN)
    assert (asks[2].messages[-1].role, asks[2].messages[-1].text) == ("user", LAST_TURN)
    assert [ask.final for ask in asks] == [False, False, True]
    assert (t.stop.reason, t.judgement.verdict) == ("answered", 2)


def test_a_call_at_the_last_turn_is_not_run_and_holds_no_verdict() -> None:
    look_on = call("read", name="text_0")
    plan = make_plan(read, loop=loop(max_turns=1))
    t = run_episode(plan, [look_on, f"Answer 2 is better. {look_on} {answer(2)}"])
    assert t.stop.reason == "max_turns"
    assert len(results(t)) == 1
    assert t.judgement.parse == "missing"
    assert score(t, plan.sample).value is None


def test_tokens_are_counted_over_the_episode_and_the_rest_is_offered() -> None:
    asks: list[Ask] = []
    limits = loop(max_tokens=20, max_tokens_per_turn=12)
    spent = Usage(output_tokens=10)
    look_on = Reply(text=call("read", name="text_0"), usage=spent)
    plan = make_plan(read, loop=limits)
    t = run_episode(plan, [look_on, look_on], asks=asks)
    assert [ask.max_tokens for ask in asks] == [12, 10]
    assert t.stop == StopEvent(reason="max_tokens", detail="20 tokens written")
    assert kinds(t)[-2:] == ["tool", "stop"]
    assert score(t, plan.sample).counted_as == "truncated"


def test_a_last_turn_that_was_cut_off_is_told_apart() -> None:
    plan = make_plan(read)
    cut = as_reply("Answer 1 has style. But let me", finish_reason="length")
    t = run_episode(plan, [cut])
    assert (t.stop.reason, t.stop.detail) == ("max_tokens", "the last turn was cut off")
    assert t.judgement.parse == "missing"
    assert score(t, plan.sample).counted_as == "truncated"
    # A verdict that was written before the cut counts.
    t = run_episode(plan, [as_reply(f"{answer(1)} and", finish_reason="length")])
    assert (t.stop.reason, t.judgement.verdict) == ("max_tokens", 1)


def test_a_call_that_was_cut_off_is_answered() -> None:
    cut = as_reply('<tool_call>{"name": "read", "argu', finish_reason="length")
    t = run_episode(make_plan(read), [cut, answer(1)])
    assert "cut off before it ended" in words(results(t)[0])
    assert t.judgement.verdict == 1


def test_time_is_checked_before_a_generation_is_paid_for() -> None:
    clock = Clock()

    def slow(run: Run) -> ToolResult:
        clock.now += 61
        return run.execute()

    plan = make_plan(read, loop=loop(max_seconds=60))
    t = run_episode(plan, [call("read", name="text_0")], clock=clock, run_tool=slow)
    assert t.stop == StopEvent(reason="max_seconds", detail="over 60 s")
    assert kinds(t) == ["model", "tool", "stop"]
    assert (t.timing.seconds, t.timing.tool_seconds, t.timing.model_seconds) == (61, 61, 0)
    assert score(t, plan.sample).counted_as == "truncated"


def test_waiting_is_booked_where_it_was_spent() -> None:
    t = run_episode(make_plan(read), [call("read", name="text_0"), answer(1)], clock=Clock(1.0))
    assert t.timing.model_seconds == 2
    assert t.timing.tool_seconds == 1
    assert [e.kind for e in t.events] == ["model", "tool", "model", "stop"]
    assert t.timing.waits == (1, 1, 1, 0)
    assert t.timing.seconds >= 3


# --- failures -----------------------------------------------------------------------------


def test_a_conversation_that_no_longer_fits_is_a_limit_and_not_a_failure() -> None:
    plan = make_plan(read)
    full = Failure(boundary="provider", type="ContextExceeded", message="9000 > 8192 tokens")
    t = run_episode(plan, [call("read", name="text_0"), full])
    assert t.stop == StopEvent(reason="context", detail="9000 > 8192 tokens")
    assert t.failures == ()
    assert score(t, plan.sample).counted_as == "truncated"


def test_a_broken_server_is_an_error_and_never_an_answer() -> None:
    plan = make_plan(read)
    down = Failure(boundary="provider", type="http_500", message="no", attempt=3)
    for script in ([down], [f"{call('read', name='text_0')}{answer(1)}", down]):
        t = run_episode(plan, script)
        assert t.stop == StopEvent(reason="error", detail="provider: http_500: no")
        assert t.failures == (down,)
        assert score(t, plan.sample).counted_as == "infrastructure"
        assert t.judgement.parse == "missing"


def test_a_bug_in_a_tool_is_an_error_of_the_tool() -> None:
    def fail(run: Run) -> Failure:
        with pytest.raises(ZeroDivisionError):
            run.execute()
        return Failure(boundary="tool", type="ContextExceeded", message="crash: inside")

    plan = make_plan(*TOOLS)
    t = run_episode(plan, [call("crash")], run_tool=fail)
    assert t.stop.reason == "error"
    assert [f.boundary for f in t.failures] == ["tool"]
    assert kinds(t) == ["model", "stop"]
    assert score(t, plan.sample).counted_as == "infrastructure"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="", refusal="I cannot help with that."),
        Reply(text=answer(1), finish_reason="content_filter"),
        Reply(text=call("read", name="text_0"), finish_reason="content_filter"),
    ],
)
def test_a_provider_s_refusal_has_its_own_name(reply: Reply) -> None:
    plan = make_plan(read)
    t = run_episode(plan, [reply])
    assert (t.stop.reason, t.stop.detail) == ("refused", reply.refusal)
    assert results(t) == []
    assert score(t, plan.sample).counted_as == "refused"


@pytest.mark.parametrize("wrong", [None, "text", ToolResult()])
def test_sending_the_wrong_thing_is_a_bug_of_the_driver(wrong: Any) -> None:
    generator = episode(make_plan(read))
    next(generator)
    with pytest.raises(TypeError, match=f"was sent {type(wrong).__name__}"):
        generator.send(wrong)
