"""Episodes run by the threads of a host: every caller waits for its own.

`armbench.drive` asks for plans; a harness that calls one shared model from a pool of
threads brings one at a time instead. The loop is the same `episode`. A server gets its
requests on one event loop, as vLLM's engine does; transformers gets, as one batch, whatever
its callers have asked for while it was busy.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from armbench.drive import AsyncBackend, Backend, BatchBackend, as_failure, run_tool
from armbench.episode import Ask, Plan, Run, episode
from armbench.errors import BackendError, DataError
from armbench.trajectory import Failure, Trajectory
from armbench.types import Reply, ToolResult

T = TypeVar("T")

_CLOSING_SECONDS = 10.0
"""What a loop's last work may take before its thread is left behind."""


class LoopThread:
    """An event loop in a thread of its own, for work that has to stay on one loop.

    Args:
        name: Names the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=name)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin work on the loop; cancelling the future cancels it.

        Raises:
            RuntimeError: If the loop has been closed.
        """
        if self._loop.is_closed():
            work.close()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what is left, and end the thread; one that hangs is left behind."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop)
        self._thread.join(_CLOSING_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_others() -> None:
    """Cancel the other tasks of the running loop, then stop it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    asyncio.get_running_loop().stop()


class ThreadDriver:
    """Runs episodes for many threads at once.

    Args:
        backend: Where replies come from; shared by all callers.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._engine = threading.Lock()
        self._waiting: list[tuple[Ask, Future[Reply | BackendError | DataError]]] = []
        self._requests: LoopThread | None = None

    def run(self, plan: Plan) -> Trajectory:
        """Run one episode to its end in the calling thread, tools included."""
        generator = episode(plan)
        outcome: Reply | ToolResult | Failure | None = None
        while True:
            try:
                action = generator.send(outcome)  # type: ignore[arg-type]
            except StopIteration as end:
                finished: Trajectory = end.value
                return finished
            outcome = run_tool(action) if isinstance(action, Run) else self._reply(action)

    def close(self) -> None:
        """Close connections. Nothing may be running."""
        with self._lock:
            requests, self._requests = self._requests, None
        atexit.unregister(self.close)
        if requests is None or isinstance(self._backend, BatchBackend):
            return
        requests.submit(self._backend.aclose()).result()
        requests.close()

    def _reply(self, ask: Ask) -> Reply | Failure:
        try:
            if isinstance(self._backend, BatchBackend):
                reply = self._batched(ask, self._backend)
            else:
                reply = self._served(ask, self._backend)
        except (BackendError, DataError) as error:
            return as_failure(error)
        return reply if isinstance(reply, Reply) else as_failure(reply)

    def _served(self, ask: Ask, backend: AsyncBackend) -> Reply:
        with self._lock:
            if self._requests is None:
                self._requests = LoopThread("requests")
                # Hosts end without a word; connections would be let go with a complaint.
                atexit.register(self.close)
            requests = self._requests
        return requests.submit(backend.generate(ask)).result()

    def _batched(self, ask: Ask, backend: BatchBackend) -> Reply | BackendError | DataError:
        mine: Future[Reply | BackendError | DataError] = Future()
        with self._lock:
            self._waiting.append((ask, mine))
        with self._engine:  # whoever comes first generates for all who wait
            with self._lock:
                batch, self._waiting = self._waiting, []
            if batch:
                self._generate(batch, backend)
        return mine.result()

    def _generate(
        self,
        batch: list[tuple[Ask, Future[Reply | BackendError | DataError]]],
        backend: BatchBackend,
    ) -> None:
        try:
            replies = backend.generate_batch([ask for ask, _ in batch])
            for (_, future), reply in zip(batch, replies, strict=True):
                future.set_result(reply)
        except Exception as error:  # a bug, or a failure of all: it is every caller's
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
