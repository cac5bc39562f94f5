"""Running a log's tool calls again, to see whether it says what really came back.

Every episode is driven once more by `armbench.episode`, with the judge's replies taken
from the log and the tools run for real, on the log's own items and pictures and the task's
documents. Whatever then differs from the log (a picture, a text, the prompt, …) was made
by other code, from other data or by somebody's hand. Nothing is written into the run.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, cast

from armbench.drive import run_tool
from armbench.episode import Ask, Plan, Run, episode
from armbench.errors import ArmbenchError, ConfigError, DataError
from armbench.images import ImageStore
from armbench.progress import SlowProgress
from armbench.results.replay_bench import Bench
from armbench.results.replay_diff import (
    Difference,
    Same,
    call_text,
    pictures_of,
    rest_differences,
    result_differences,
    tool_events,
)
from armbench.runlog import RunDir
from armbench.trajectory import Failure, ModelEvent, ToolEvent, Trajectory
from armbench.types import ImagePart, ImageRef, Reply, TextPart, ToolResult

Status = Literal["equal", "different", "not run", "skipped"]

_AHEAD = 64
"""Episodes read before their turn, so that memory holds these and not the log."""


@dataclass(frozen=True)
class Check:
    """What came of one call; or of the rest of an episode, its prompt and turns.

    Attributes:
        where: The episode, in words.
        call: The call, shortened; empty for the rest of the episode.
        status: ``not run`` where it could not be, ``skipped`` where it was not asked for.
        differences: What is not as logged.
        reason: Why it could not be run.
        recoded: True if a picture has the same pixels in another encoding.
    """

    where: str
    call: str
    status: Status
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    recoded: bool = False


@dataclass
class Audit:
    """What came of a whole log.

    Attributes:
        path: The run directory.
        episodes: Episodes gone through.
        calls: How many calls ended how.
        recoded: Calls, of the equal ones, whose picture is encoded differently.
        different: Calls that differ.
        not_run: Calls that could not be run.
        rest: Episodes whose prompt or turns differ, or could not be made again.
        pictures: Pictures that the log names.
        missing: Of these, those whose file is not among the run's pictures (by hash).
        altered: Of these, those whose file holds other bytes than the hash says.
        notes: What may explain differences.
    """

    path: Path
    episodes: int = 0
    calls: dict[Status, int] = field(
        default_factory=lambda: {"equal": 0, "different": 0, "not run": 0, "skipped": 0}
    )
    recoded: int = 0
    different: list[Check] = field(default_factory=list)
    not_run: list[Check] = field(default_factory=list)
    rest: list[Check] = field(default_factory=list)
    pictures: int = 0
    missing: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True if everything could be run and was as logged."""
        return not (self.different or self.not_run or self.rest or self.missing or self.altered)

    def add(self, check: Check) -> None:
        """Count a check."""
        if check.call:
            self.calls[check.status] += 1
            self.recoded += check.recoded and check.status == "equal"
            lists = {"different": self.different, "not run": self.not_run}
        else:
            lists = {"different": self.rest, "not run": self.rest}
        if check.status in lists:
            lists[check.status].append(check)


def replay(path: Path, data: str = "", limit: int | None = None, tool: str = "") -> Audit:
    """Run the tool calls of a log again and compare.

    Args:
        path: Run directory; not written to.
        data: Where the tasks' data lies, for documents; by default where the task files say.
        limit: First episodes only.
        tool: Calls of this tool only; the others are taken as logged.

    Raises:
        ConfigError: If `path` is no run directory, is broken, or holds no episode.
    """
    run, audit = RunDir(path), Audit(path)
    bench = Bench(run, data)
    samples = {sample.hash: sample for sample in run.samples()}
    pictures: set[ImageRef] = set()

    def jobs() -> Iterator[tuple[Trajectory, Callable[[], list[Check]]]]:
        for logged in islice(run.trajectories(), limit):
            try:
                plan = bench.plan(logged, samples.get(logged.sample_hash))
            except ArmbenchError as error:
                yield logged, partial(_unplayable, logged, str(error))
            else:
                yield logged, partial(_checks, plan, logged, tool)

    say, total = SlowProgress("replaying"), _episodes(path, limit)
    for logged, checks in _in_threads(jobs()):
        for check in checks:
            audit.add(check)
        pictures |= _pictures(logged)
        audit.episodes += 1
        say(audit.episodes, total, logged.sample_id)
    if not audit.episodes:
        raise ConfigError(f"{path} holds no finished episode yet")
    audit.notes += bench.notes
    _look_at(pictures, run.images, audit)
    return audit


def _episodes(path: Path, limit: int | None) -> int:
    """How many episodes there are; a few too many where some were run again."""
    lines = 0
    for file in path.glob("trajectories*.jsonl"):
        with file.open("rb") as handle:
            lines += sum(1 for _ in handle)
    return lines if limit is None else min(lines, limit)


def _in_threads(
    jobs: Iterable[tuple[Trajectory, Callable[[], list[Check]]]],
) -> Iterator[tuple[Trajectory, list[Check]]]:
    """Results in the order of the jobs, which are taken lazily."""
    waiting: deque[tuple[Trajectory, Future[list[Check]]]] = deque()
    with ThreadPoolExecutor() as pool:
        for logged, job in jobs:
            waiting.append((logged, pool.submit(job)))
            if len(waiting) > _AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


# --- one episode --------------------------------------------------------------------------


def _checks(plan: Plan, logged: Trajectory, only: str) -> list[Check]:
    """Play an episode and compare it with the log, call by call."""
    player = _Player(plan, logged, only)
    now, same, where = player.play(), Same(plan.store), _where(logged)
    fates = iter(player.fates)
    checks = []
    for old, new in zip_longest(tool_events(logged), tool_events(now)):
        ran = new is not None and new.call.parse_error is None and new.call.name in plan.tools
        fate = next(fates) if ran else _RAN
        event = cast(ToolEvent, old or new)
        if fate.skipped or only not in ("", event.call.name):
            checks.append(Check(where, call_text(event.call), "skipped"))
        elif fate.reason:
            checks.append(Check(where, call_text(event.call), "not run", reason=fate.reason))
        else:
            found = tuple(result_differences(old, new, same))
            recoded = any(ref.sha256 in same.recoded for ref in pictures_of(new))
            status: Status = "different" if found else "equal"
            checks.append(Check(where, call_text(event.call), status, found, recoded=recoded))
    if player.broken is not None:
        checks.append(_broken(where, *player.broken))
    rest = tuple(rest_differences(logged, now))
    checks.append(Check(where, "", "different" if rest else "equal", rest))
    return checks


def _unplayable(logged: Trajectory, reason: str) -> list[Check]:
    where = _where(logged)
    calls = [call_text(event.call) for event in tool_events(logged)]
    return [Check(where, call, "not run", reason=reason) for call in (*calls, "")]


def _broken(where: str, run: Run, logged: Failure, now: ToolResult | Failure) -> Check:
    """The call that an episode broke on: it should break again, in the same way."""
    kind = now.type if isinstance(now, Failure) else "no error"
    if kind == logged.type:
        return Check(where, call_text(run.call), "equal")
    found = Difference("error", f"{logged.type}: {logged.message}", kind)
    return Check(where, call_text(run.call), "different", (found,))


def _where(logged: Trajectory) -> str:
    order = ", order " + "-".join(str(i + 1) for i in logged.order) if logged.order[1:] else ""
    repeat = f", repeat {logged.repeat}" if logged.repeat else ""
    return f"{logged.task} {logged.sample_id}{order}{repeat}"


@dataclass(frozen=True)
class _Fate:
    """What became of a call that the episode wanted to have run."""

    skipped: bool = False
    reason: str = ""


_RAN = _Fate()


class _Player:
    """Feeds an episode: replies from the log, results from the tools.

    Where a tool cannot be run the logged result is sent, so that what comes after it
    can still be checked.
    """

    def __init__(self, plan: Plan, logged: Trajectory, only: str) -> None:
        self.plan, self.logged, self.only = plan, logged, only
        self.fates: list[_Fate] = []
        """Of each call that was answered, less those the episode refused by itself."""
        self.broken: tuple[Run, Failure, ToolResult | Failure] | None = None
        """The call that ended the episode, how it failed then, and what it gives now."""
        self._replies = iter([e.reply for e in logged.events if isinstance(e, ModelEvent)])
        self._results: dict[str, deque[ToolResult]] = defaultdict(deque)
        for event in tool_events(logged):
            self._results[event.call.id].append(event.result)

    def play(self) -> Trajectory:
        generator = episode(self.plan, clock=lambda: 0.0)  # as if no time passed: no time-outs
        action = next(generator)
        while True:
            sent = self._reply() if isinstance(action, Ask) else self._result(action)
            try:
                action = generator.send(sent)
            except StopIteration as end:
                trajectory: Trajectory = end.value
                return trajectory

    def _reply(self) -> Reply | Failure:
        ended = Failure(boundary="harness", type="LogEnds", message="the log has no more replies")
        return next(self._replies, ended)

    def _result(self, run: Run) -> ToolResult | Failure:
        logged = self._logged(run)
        if logged is not None and self.only not in ("", run.call.name):
            return self._as_logged(logged, _Fate(skipped=True))
        now = run_tool(run)
        if isinstance(logged, Failure):
            self.broken = run, logged, now
            return logged
        if isinstance(now, Failure) and logged is not None:
            return self._as_logged(logged, _Fate(reason=f"{now.type}: {now.message}"))
        if isinstance(now, ToolResult):
            self.fates.append(_RAN)
        return now

    def _logged(self, run: Run) -> ToolResult | Failure | None:
        results = self._results[run.call.id]
        if results:
            return results.popleft()
        broke = self.logged.failures[-1] if self.logged.failures else None
        return broke if broke is not None and broke.boundary in ("tool", "task") else None

    def _as_logged(self, logged: ToolResult | Failure, fate: _Fate) -> ToolResult | Failure:
        if isinstance(logged, Failure):
            return logged
        self.fates.append(fate)
        return _unnamed(logged)


def _unnamed(result: ToolResult) -> ToolResult:
    """A logged result as the tool gave it: without the line of names put before its text."""
    images = [part for part in result.parts if isinstance(part, ImagePart)]
    text = "\n".join(part.text for part in result.parts if isinstance(part, TextPart))
    text = text.partition("\n")[2] if images else text
    parts = (*images, TextPart(text=text)) if text else tuple(images)
    return result.model_copy(update={"parts": parts})


# --- pictures -----------------------------------------------------------------------------


def _pictures(logged: Trajectory) -> set[ImageRef]:
    """The pictures that an episode names."""
    messages = [part for message in logged.messages for part in message.parts]
    results = [part for event in tool_events(logged) for part in event.result.parts]
    return {part.image for part in (*messages, *results) if isinstance(part, ImagePart)}


def _look_at(pictures: set[ImageRef], store: ImageStore, audit: Audit) -> None:
    """Whether each picture is there and is what its hash says."""
    say = SlowProgress("reading pictures")
    audit.pictures = len(pictures)
    for n, ref in enumerate(sorted(pictures, key=lambda ref: ref.sha256), 1):
        try:
            content = store.read(ref)
        except DataError:
            audit.missing.append(ref.sha256)
        else:
            if hashlib.sha256(content).hexdigest() != ref.sha256:
                audit.altered.append(ref.sha256)
        say(n, len(pictures), ref.sha256[:12])
