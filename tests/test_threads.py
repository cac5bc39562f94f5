"""Episodes brought one by one by a host's threads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from armbench.episode import Ask
from armbench.errors import BackendError
from armbench.models.scripted import ScriptedBackend, as_reply
from armbench.threads import ThreadDriver
from armbench.types import Reply
from tests.helpers import TOOLS, answer, call, kinds, make_plan, make_sample


class Slow:
    """An engine in this process that notes how much it was asked at once."""

    name = "slow"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.inside = 0

    def generate_batch(self, asks: Sequence[Ask]) -> list[Reply]:
        assert self.inside == 0, "two batches at once"
        self.inside += 1
        self.batches.append(len(asks))
        time.sleep(0.02)
        self.inside -= 1
        return [as_reply(answer(1, ask.shown.sample_id)) for ask in asks]


class Server:
    """An asynchronous back-end that only ever sees one event loop."""

    name = "server"

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.closed = 0

    async def generate(self, ask: Ask) -> Reply:
        self.threads.add(threading.get_ident())
        if ask.shown.sample_id == "item-3":
            raise BackendError("busy", "http_503", 2)
        return as_reply(answer(2))

    async def aclose(self) -> None:
        self.closed += 1


def judged(driver: ThreadDriver, count: int):
    plans = [make_plan(sample=make_sample(id=f"item-{n}")) for n in range(count)]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(driver.run, plans))


def test_callers_of_an_engine_share_batches_and_get_their_own_reply():
    backend = Slow()
    found = judged(ThreadDriver(backend), 24)
    assert [t.sample_id for t in found] == [f"item-{n}" for n in range(24)]
    assert all(t.sample_id in t.last_text for t in found)
    assert sum(backend.batches) == 24
    assert max(backend.batches) > 1


def test_a_server_gets_everything_on_one_loop_and_is_closed():
    backend = Server()
    driver = ThreadDriver(backend)
    found = judged(driver, 16)
    driver.close()
    driver.close()
    assert len(backend.threads) == 1
    assert threading.get_ident() not in backend.threads
    assert backend.closed == 1
    assert [t.sample_id for t in found if t.stop.reason == "error"] == ["item-3"]
    (failure,) = found[3].failures
    assert (failure.boundary, failure.type, failure.attempt) == ("provider", "http_503", 2)


def test_tools_run_in_the_callers_thread():
    backend = ScriptedBackend([call("paint", colors=["red"]), answer(1)])
    trajectory = ThreadDriver(backend).run(make_plan(*TOOLS))
    assert kinds(trajectory) == ["model", "tool", "model", "stop"]


def test_one_bad_request_of_a_batch_is_its_own():
    def reply(ask: Ask) -> str | BackendError:
        return BackendError("no", "x") if ask.shown.sample_id == "item-1" else answer(1)

    found = judged(ThreadDriver(ScriptedBackend(reply)), 3)
    assert [t.stop.reason for t in found] == ["answered", "error", "answered"]


def test_a_bug_of_the_engine_is_a_crash_for_its_callers():
    def broken(ask: Ask) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ThreadDriver(ScriptedBackend(broken)).run(make_plan())


def test_connections_are_closed_when_the_process_ends():
    code = """
from tests.test_threads import Server, ThreadDriver, judged
class Loud(Server):
    async def aclose(self):
        print("closed")
judged(ThreadDriver(Loud()), 2)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "closed\n"
