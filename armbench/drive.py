"""Drivers: feed episodes with replies and tool results.

Two kinds of back-end, one loop: an asynchronous one (a server, or vLLM's engine: requests
join and leave at any time) and a batched one (transformers: all ready episodes generate
together). Tools run in worker threads in both, for a limited time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, runtime_checkable

from armbench.episode import Ask, Episode, Plan, Run, episode
from armbench.errors import BackendError, ConfigError, DataError, WriteError
from armbench.toolpool import TOOL_SECONDS, ToolPool
from armbench.trajectory import Failure, Trajectory
from armbench.types import Reply, ToolResult

_TOOL_PATIENCE = 0.2
"""Seconds a batch waits for tools just begun, so that episodes stay in step."""

_OBJECTS = 10_000
"""Objects made between two looks for garbage in cycles."""

OnDone = Callable[[Plan, Trajectory], None]


@runtime_checkable
class BatchBackend(Protocol):
    """A model in this process that generates for a whole batch at a time."""

    name: str

    def generate_batch(self, asks: Sequence[Ask]) -> Sequence[Reply | BackendError | DataError]:
        """One reply (or what went wrong with that request alone) for each, in order."""
        ...


@runtime_checkable
class AsyncBackend(Protocol):
    """A server, or an engine that requests join and leave at any time."""

    name: str

    async def generate(self, ask: Ask) -> Reply:
        """One reply.

        Raises:
            BackendError: After the back-end's own retries.
        """
        ...

    async def aclose(self) -> None:
        """Close what belongs to the running event loop (connections); more drives may follow."""
        ...


Backend = BatchBackend | AsyncBackend


def drive(
    plans: Iterable[Plan],
    backend: Backend,
    on_done: OnDone,
    *,
    concurrency: int = 16,
    patience: float | None = None,
    tool_seconds: float = TOOL_SECONDS,
) -> None:
    """Run episodes to their end.

    Args:
        plans: What to run; taken lazily, so a large run is never held in memory.
        backend: Where replies come from.
        on_done: Called with each finished episode, never by two threads at once.
        concurrency: Episodes in flight.
        patience: Seconds that a batched back-end waits for tools just begun before it goes on
            without their episodes (0.2); where equal runs must make equal batches, take many.
        tool_seconds: What a call of a tool may take; the episode of a longer one breaks.

    Raises:
        ConfigError: If `concurrency` is under 1.
    """
    if concurrency < 1:
        raise ConfigError(f"concurrency has to be 1 or more, not {concurrency}")
    wait_for = _TOOL_PATIENCE if patience is None else patience
    pool = ToolPool(run_tool, _threads(), tool_seconds)
    often = gc.get_threshold()
    # Requests allocate thousands of objects and leave no cycles: looking for those every 700
    # costs more than reading the replies.
    gc.set_threshold(max(often[0], _OBJECTS) if often[0] else 0, *often[1:])
    try:
        if isinstance(backend, BatchBackend):
            _Batched(backend, pool, on_done, wait_for).run(iter(plans), concurrency)
        else:
            _run(_drive_async(iter(plans), backend, on_done, concurrency, pool))
    finally:
        gc.set_threshold(*often)
        pool.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also inside a running event loop, such as a notebook's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(max_workers=1) as apart:
        apart.submit(asyncio.run, work).result()


def _threads() -> int:
    return min(32, (os.cpu_count() or 1) + 4)


def as_failure(error: Exception) -> Failure:
    """Name the side an exception of a back-end broke on.

    Raises:
        Exception: The same one, if it is no armbench error: a bug is a crash, not data.
    """
    kind = getattr(error, "kind", type(error).__name__)
    if isinstance(error, BackendError):
        name = type(error).__name__ if type(error) is not BackendError else kind
        return Failure(
            boundary="provider", type=name, message=str(error), attempt=max(1, error.attempts)
        )
    if isinstance(error, DataError):
        return Failure(boundary="task", type=type(error).__name__, message=str(error))
    raise error


def run_tool(run: Run) -> ToolResult | Failure:
    """Run a tool; what is not a `ToolError` becomes a failure of the tool's own code.

    Raises:
        WriteError: If a picture cannot be kept, since no other could be either.
    """
    try:
        return run.execute()
    except WriteError:
        raise
    except DataError as error:
        return as_failure(error)
    except Exception as error:
        message = f"{run.call.name}: {error}"
        return Failure(boundary="tool", type=type(error).__name__, message=message)


async def _drive_async(
    plans: Iterator[Plan],
    backend: AsyncBackend,
    on_done: OnDone,
    concurrency: int,
    pool: ToolPool,
) -> None:
    def clock() -> float:
        # While a server is away, no episode's time runs out.
        return time.monotonic() - float(getattr(backend, "paused", 0.0))

    async def one(plan: Plan) -> Trajectory:
        generator = episode(plan, clock)
        try:
            action = next(generator)
        except StopIteration as end:  # a limit was over before the first request
            spent: Trajectory = end.value
            return spent
        while True:
            outcome: Reply | ToolResult | Failure
            if isinstance(action, Run):
                outcome = await asyncio.wrap_future(pool.submit(action))
            else:
                try:
                    outcome = await backend.generate(action)
                except (BackendError, DataError) as error:
                    outcome = as_failure(error)
            try:
                action = generator.send(outcome)
            except StopIteration as end:
                finished: Trajectory = end.value
                return finished

    async def worker() -> None:
        for plan in plans:
            on_done(plan, await one(plan))

    tasks: list[asyncio.Task[None]] = []
    try:
        for _ in range(concurrency):
            tasks.append(asyncio.create_task(worker()))
            # Else no request would leave before all had been put together, and from then on
            # all replies would come at once, to wait for each other.
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await backend.aclose()


@dataclass(frozen=True)
class _Running:
    """An episode in flight; its number, in order of starting, orders every batch."""

    number: int
    plan: Plan
    generator: Episode


@dataclass
class _Batched:
    backend: BatchBackend
    pool: ToolPool
    on_done: OnDone
    patience: float

    def run(self, plans: Iterator[Plan], concurrency: int) -> None:
        self.ready: list[tuple[_Running, Ask]] = []
        self.tools: dict[Future[ToolResult | Failure], _Running] = {}
        self.patient_until = 0.0
        numbers = count()
        while True:
            while len(self.ready) + len(self.tools) < concurrency:
                plan = next(plans, None)
                if plan is None:
                    break
                self._advance(_Running(next(numbers), plan, episode(plan)), None)
            if not self.ready and not self.tools:
                return
            self._collect_tools()
            self._generate()

    def _act(self, running: _Running, action: Ask | Run) -> None:
        if isinstance(action, Run):
            self.tools[self.pool.submit(action)] = running
            self.patient_until = time.monotonic() + self.patience
        else:
            self.ready.append((running, action))

    def _advance(self, running: _Running, outcome: Reply | ToolResult | Failure | None) -> None:
        """Send an outcome, or start an episode with None; it may end before its first request."""
        try:
            action = running.generator.send(outcome)  # type: ignore[arg-type]
        except StopIteration as end:
            self.on_done(running.plan, end.value)
        else:
            self._act(running, action)

    def _collect_tools(self) -> None:
        """Take what tools have found, until none runs or patience ends."""
        while self.tools:
            patience = max(0.0, self.patient_until - time.monotonic()) if self.ready else None
            done, _ = wait(self.tools, timeout=patience, return_when=FIRST_COMPLETED)
            if not done:
                return
            for future in [f for f in self.tools if f in done]:
                self._advance(self.tools.pop(future), future.result())

    def _generate(self) -> None:
        # Sorted, so that equal runs make equal batches whichever tool was quicker.
        batch, self.ready = sorted(self.ready, key=lambda pair: pair[0].number), []
        if not batch:
            return
        replies = self.backend.generate_batch([ask for _, ask in batch])
        for (running, _), reply in zip(batch, replies, strict=True):
            self._advance(running, reply if isinstance(reply, Reply) else as_failure(reply))
