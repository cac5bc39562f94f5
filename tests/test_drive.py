"""Both drivers: every episode once, in bounds, and a failure stays where it belongs."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from armbench.drive import AsyncBackend, BatchBackend, drive
from armbench.episode import Ask, Plan
from armbench.errors import BackendError, ConfigError, ContextExceeded, ImageError
from armbench.models.scripted import ScriptedBackend
from armbench.tool import ToolContext, tool
from armbench.trajectory import Failure, ToolEvent, Trajectory
from armbench.types import Reply, TextPart
from tests.driving import (
    VERDICT,
    Batch,
    Served,
    by_number,
    call,
    divide,
    in_turn,
    nap,
    number,
    plans,
    run,
    say,
    turn,
)


@pytest.fixture(params=[Batch, Served], ids=["batched", "async"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    kind: Callable[..., Any] = request.param
    return kind


# --- in both ------------------------------------------------------------------------------


def test_kinds_of_back_end() -> None:
    assert isinstance(Batch(in_turn()), BatchBackend)
    assert not isinstance(Served(in_turn()), BatchBackend)
    assert isinstance(Served(in_turn()), AsyncBackend)
    assert isinstance(ScriptedBackend([""]), BatchBackend)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 50])
def test_every_plan_finishes_once(make: Any, count: int) -> None:
    # Episodes of one, two and three turns, so that they get out of step.
    def script(ask: Ask) -> str:
        return call("say", word="x") if turn(ask) < number(ask) % 3 else VERDICT

    found = run(plans(count, say), make(script))
    assert len(found) == count
    if count:
        turns = {n: len(t.events) // 2 for n, t in by_number(found).items()}
        assert turns == {n: n % 3 + 1 for n in range(count)}
    assert all(t.judgement.verdict == 1 for t in found)


def test_plans_are_taken_lazily(make: Any) -> None:
    done: list[str] = []
    ahead: list[int] = []

    def counted() -> Iterator[Plan]:
        for n, plan in enumerate(plans(40, say)):
            ahead.append(n - len(done))
            yield plan

    backend = make(in_turn(call("say", word="x"), VERDICT))
    drive(counted(), backend, lambda p, t: done.append(t.sample_id), concurrency=6)
    assert len(done) == 40
    assert max(ahead) == 5  # with the one being taken, six


@pytest.mark.parametrize("concurrency", [1, 5])
def test_concurrency_is_kept_and_used(make: Any, concurrency: int) -> None:
    backend = make(in_turn(VERDICT), seconds=0.01)
    assert len(run(plans(20), backend, concurrency)) == 20
    most = backend.most if isinstance(backend, Served) else max(map(len, backend.batches))
    assert most == concurrency


def test_the_first_request_leaves_before_the_last_episode_is_made() -> None:
    asked: list[int] = []
    seen: list[int] = []
    backend = Served(in_turn(VERDICT))

    async def generate(ask: Ask) -> Reply:
        asked.append(number(ask))
        await asyncio.sleep(0.05)
        return Reply(text=VERDICT)

    def counted() -> Iterator[Plan]:
        for plan in plans(50):
            seen.append(len(asked))
            yield plan

    backend.generate = generate  # type: ignore[method-assign]
    run(counted(), backend, concurrency=50)
    assert seen[-1] > 40


def test_garbage_is_collected_as_before_a_run(make: Any) -> None:
    before = gc.get_threshold()
    during: list[tuple[int, int, int]] = []

    def script(ask: Ask) -> str:
        during.append(gc.get_threshold())
        return VERDICT

    run(plans(1), make(script))
    assert during[0][0] > before[0]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("concurrency", [0, -1])
def test_no_concurrency_is_refused(make: Any, concurrency: int) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        run(plans(1), make(in_turn(VERDICT)), concurrency)


def test_tools_run_in_worker_threads(make: Any) -> None:
    (trajectory,) = run(plans(1, say), make(in_turn(call("say", word="hello"), VERDICT)))
    (event,) = [e for e in trajectory.events if isinstance(e, ToolEvent)]
    assert isinstance(event.result.parts[0], TextPart)
    assert event.result.parts[0].text.startswith("hello on tool")
    assert not [t for t in threading.enumerate() if t.name.startswith("tool")]


def test_a_slow_tool_blocks_nobody_else(make: Any) -> None:
    others_done = threading.Event()
    ended: list[str] = []

    @tool
    def wait_for_the_others(ctx: ToolContext) -> str:
        """Wait."""
        return "all done" if others_done.wait(20) else "blocked"

    def script(ask: Ask) -> str:
        if number(ask) == 0 and not turn(ask):
            return call("wait_for_the_others")
        return call("say", word="x") if turn(ask) < 2 else VERDICT

    def on_done(plan: Plan, trajectory: Trajectory) -> None:
        ended.append(plan.sample.id)
        if len(ended) == 11:
            others_done.set()

    todo = plans(12, say, wait_for_the_others)
    drive(todo, make(script), on_done, concurrency=4)
    assert others_done.is_set()
    assert ended[-1] == "0"


def test_time_that_is_over_before_the_first_request_is_a_stop(make: Any) -> None:
    todo = plans(5, say, max_seconds=1e-12)
    found = run(todo, make(lambda ask: VERDICT), concurrency=2)
    assert [t.stop.reason for t in found] == ["max_seconds"] * 5


def test_a_failing_server_fails_its_episode_only(make: Any) -> None:
    errors = {
        2: BackendError("no", "http_500", attempts=5),
        3: ContextExceeded("too much", "context"),
        4: ImageError("gone"),
    }

    def script(ask: Ask) -> str | Exception:
        return errors.get(number(ask), VERDICT)

    found = by_number(run(plans(6), make(script)))
    assert found[2].failures == (
        Failure(boundary="provider", type="http_500", message="no", attempt=5),
    )
    assert found[4].failures == (Failure(boundary="task", type="ImageError", message="gone"),)
    stops = {n: t.stop.reason for n, t in found.items()}
    assert stops == {
        0: "answered",
        1: "answered",
        2: "error",
        3: "context",
        4: "error",
        5: "answered",
    }
    assert found[3].failures == ()


def test_a_failure_in_a_later_turn_keeps_what_was_said(make: Any) -> None:
    def script(ask: Ask) -> str | Exception:
        return BackendError("no") if turn(ask) else call("say", word="x")

    (trajectory,) = run(plans(1, say), make(script))
    assert [event.kind for event in trajectory.events] == ["model", "tool", "stop"]
    assert trajectory.judgement.verdict is None


def test_a_bug_in_a_back_end_crashes(make: Any) -> None:
    taken: list[int] = []

    def counted() -> Iterator[Plan]:
        for n, plan in enumerate(plans(100)):
            taken.append(n)
            yield plan

    def script(ask: Ask) -> str:
        return VERDICT if number(ask) < 10 else str(1 // 0)

    with pytest.raises(ZeroDivisionError):
        run(counted(), make(script), concurrency=4)
    assert len(taken) <= 16


def test_a_crash_cancels_what_is_in_flight() -> None:
    backend = Served(in_turn(VERDICT), seconds=0)

    async def generate(ask: Ask) -> Reply:
        if number(ask) == 3:
            await asyncio.sleep(0.05)
            raise ZeroDivisionError
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            backend.cancelled += 1
            raise
        raise AssertionError

    backend.generate = generate  # type: ignore[method-assign]
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run(plans(8), backend)
    assert time.monotonic() - began < 5
    assert (backend.cancelled, backend.closed) == (7, 1)


def test_a_crash_does_not_wait_for_tools_not_begun(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("armbench.drive._threads", lambda: 2)
    begun: list[float] = []

    @tool
    def linger(ctx: ToolContext) -> str:
        """Linger."""
        begun.append(time.monotonic())
        time.sleep(0.5)
        return ""

    def script(ask: Ask) -> str:
        if number(ask) == 0:
            return VERDICT if turn(ask) > 1 else call("nothing_of_the_kind")
        return call("linger")

    def on_done(plan: Plan, trajectory: Trajectory) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(plans(30, linger), make(script), on_done, concurrency=30)
    assert len(begun) < 10


@pytest.mark.parametrize("where", ["plans", "on_done"])
def test_a_bug_around_the_driver_crashes(make: Any, where: str) -> None:
    def broken() -> Iterator[Plan]:
        yield from plans(3)
        if where == "plans":
            raise ZeroDivisionError

    def on_done(plan: Plan, trajectory: Trajectory) -> None:
        if where == "on_done":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(broken(), make(in_turn(VERDICT)), on_done, concurrency=2)


def test_what_goes_wrong_in_a_tool(make: Any) -> None:
    def script(ask: Ask) -> str:
        return VERDICT if turn(ask) else call("divide", by=number(ask))

    found = by_number(run(plans(4, divide), make(script)))
    assert found[0].failures == (
        Failure(
            boundary="tool",
            type="ZeroDivisionError",
            message="divide: integer division or modulo by zero",
        ),
    )
    assert found[1].failures == ()
    # What the judge can mend is shown to it, and the episode goes on.
    assert (found[2].stop.reason, found[2].failures) == ("answered", ())
    errors = [e.result.error for e in found[2].events if isinstance(e, ToolEvent)]
    assert [error.kind for error in errors if error] == ["bad_number"]
    assert [f.boundary for f in found[3].failures] == ["task"]
    assert [found[n].stop.reason for n in range(4)] == ["error", "answered", "answered", "error"]


def test_an_interrupt_leaves(make: Any) -> None:
    # Workers of pytest-xdist ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _interrupt_leaves(make)
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt_leaves(make: Any) -> None:
    def script(ask: Ask) -> str:
        if number(ask) == 5:
            signal.raise_signal(signal.SIGINT)
        return VERDICT

    done: list[str] = []
    backend = make(script)
    with pytest.raises(KeyboardInterrupt):
        drive(plans(1000), backend, lambda p, t: done.append(t.sample_id), concurrency=2)
    assert len(done) < 20
    if isinstance(backend, Served):
        assert backend.closed == 1
    # The next run starts afresh.
    assert len(run(plans(4), make(in_turn(VERDICT)))) == 4


def test_equal_runs_are_equal(make: Any) -> None:
    def script(ask: Ask) -> str:
        return call("nap", seconds=0.001 * (number(ask) % 4)) if not turn(ask) else VERDICT

    def once() -> list[Any]:
        found = by_number(run(plans(20, nap), make(script), concurrency=7))
        return [found[n].model_dump(exclude={"timing"}) for n in range(20)]

    assert once() == once()
