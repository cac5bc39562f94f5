"""What the episodes of a log are played on again: its items and pictures, tools and documents.

They are made as `armbench.evaluate` made them for the run. What is not there any more
(documents, another installation's tool) is stood in for by something that says so when it
is used, so that only the calls that need it cannot be run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from PIL import Image
from pydantic import BaseModel, ValidationError

from armbench.documents import DocumentCollection
from armbench.episode import Ask, LoopConfig, Plan, episode
from armbench.errors import ArmbenchError, ConfigError, DataError, DocumentError, problems
from armbench.evaluate import Setup, offer
from armbench.images import ImageStore
from armbench.judge import Judge
from armbench.runlog import RunDir, differing, read_json, versions
from armbench.task import Task, TaskSpec, ToolEntry, find_tasks
from armbench.tool import Tool, ToolContext
from armbench.trajectory import Trajectory
from armbench.types import ImageRef, Sample, ToolSpec

_EXPLAINING = ("armbench", "pillow")
"""Packages whose versions can change what tools give."""


class Bench:
    """Settings, tools and documents of a run, made as they were for it."""

    def __init__(self, run: RunDir, data: str) -> None:
        config = run.config()
        judge = config.get("judge") or {}
        tools = judge.get("tools")
        self.judge = Judge(
            backend=str(judge.get("backend", "")),
            loop=judge.get("loop") or {},
            tools=None if tools is None else tuple(tools),
        )
        self.notes = [
            f"{package}: {old} when the run was made, {new} here"
            for package, old, new in differing(
                read_json(run.path / "run.json").get("versions"), versions()
            )
            if package in _EXPLAINING
        ]
        self._run, self._data = run, data
        self._tasks, self._seed = config.get("tasks") or {}, int(config.get("seed", 0))
        self._setups: dict[str, Setup] = {}

    def plan(self, logged: Trajectory, sample: Sample | None) -> Plan:
        """The plan of an episode, new pictures kept apart from the run's.

        Raises:
            ArmbenchError: If it cannot be made; says why.
        """
        if sample is None:
            raise ConfigError(f"samples.jsonl lacks the item {logged.sample_id!r}")
        if sample.task not in self._tasks and sample.mode == "open":
            plan = self._foreign(logged, sample)
        else:
            setup = self._setup(sample.task)
            plan = setup.plan(sample, logged.key, self._run, logged.model, self._seed)
        tools = dict(plan.tools)
        if any(spec.name not in tools for spec in logged.tools):
            tools = {s.name: tools.get(s.name) or _unknown(s) for s in logged.tools}
        documents = _found(plan.documents, sample)
        return replace(plan, store=_Aside(self._run.images), tools=tools, documents=documents)

    def _setup(self, name: str) -> Setup:
        if name not in self._setups:
            entry = self._tasks.get(name)
            if not isinstance(entry, dict):
                raise ConfigError(f"run.json does not say how {name} was judged")
            self._setups[name] = self._prepare(name, entry)
        return self._setups[name]

    def _prepare(self, name: str, entry: dict[str, Any]) -> Setup:
        """As `armbench.evaluate.prepare`, but what is not there is named when it is called for."""
        origin = str(find_tasks()[0].get(name, ""))
        try:
            spec = TaskSpec.model_validate({**entry.get("spec", {}), "origin": origin})
        except ValidationError as error:
            raise ConfigError(f"run.json: {name}: {problems(error)}") from None
        loop = self.judge.loop_for(spec.loop)
        tools = _offered(spec.tools if self.judge.tools is None else self.judge.tools, loop)
        task = Task(spec, self._data)
        documents: DocumentCollection | None = None
        if tools and spec.documents:
            try:
                documents = task.documents()
                if task.data_hash() != entry.get("data"):
                    self.notes.append(f"{name}: its data here is not the data of the run")
            except ArmbenchError as error:
                hint = "" if "--data" in str(error) else "; --data PATH says where it is"
                documents = _absent(f"{error}{hint}")
        return Setup(task, self.judge, loop, tools, documents)

    def _foreign(self, logged: Trajectory, sample: Sample) -> Plan:
        """An episode on a host's own messages, which the log alone has."""
        loop = self.judge.loop_for(LoopConfig())
        tools = _offered(self.judge.tools or (), loop)
        store = self._run.images
        plan = Plan(sample, store, logged.order, tools, loop, repeat=logged.repeat, prompt=())
        ours = cast(Ask, next(episode(plan))).messages
        return replace(plan, prompt=logged.messages[len(ours) :], model=logged.model)


def _offered(entries: Iterable[str | ToolEntry], loop: LoopConfig) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    for entry in entries:
        try:
            tools |= offer((entry,), loop)
        except ConfigError:  # another installation's tool: its calls are counted as not run
            continue
    return tools


class _Anything(BaseModel):
    """Arguments of a tool that is not here."""


def _unknown(spec: ToolSpec) -> Tool:
    def run(ctx: ToolContext) -> str:
        raise DataError(f"there is no tool {spec.name!r} among those of this run here")

    return Tool(spec, _Anything, run)


class _Absent:
    """Stands for documents that are not there: says so to whatever looks at it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        raise DataError(self._reason)


def _absent(reason: str) -> DocumentCollection:
    return cast(DocumentCollection, _Absent(reason))


def _found(documents: DocumentCollection | None, sample: Sample) -> DocumentCollection | None:
    """The documents, if the item's are among them."""
    if isinstance(documents, DocumentCollection):
        try:
            for name in sample.documents:
                documents.resolve(name)
        except DocumentError as error:
            return _absent(str(error))
    return documents


class _Aside(ImageStore):
    """Reads the run's pictures; new ones stay in memory, so that the run is left as it is."""

    def __init__(self, run: ImageStore) -> None:
        super().__init__()
        self._run = run

    def read(self, ref: ImageRef) -> bytes:
        return super().read(ref) if ref.sha256 in self._memory else self._run.read(ref)

    def open(self, ref: ImageRef) -> Image.Image:
        return super().open(ref) if ref.sha256 in self._memory else self._run.open(ref)
