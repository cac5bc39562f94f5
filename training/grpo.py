"""Group relative policy optimisation of a judge on its own episodes.

``grpo(recipe, folder, out, stage)`` is ``armbench train grpo``. A step: a group of roll-outs for
each of its items, played by the very weights that are trained, through the loop of an
evaluation; rewards from the episodes' events; advantages within each group; clipped updates on
the tokens that the judge wrote (`armbench.training.policy` states the loss).

Own code, since TRL's trainer cannot run these episodes: its ``rollout_func`` has no way for
pictures made during a roll-out to reach the loss, and its ``environment_factory`` brings its
own loop, which parses calls and renders turns by itself; evaluation and training would have
two loops again. transformers, accelerate and peft do the rest.

Left out, and why: a learnt value (the group is the baseline), an entropy bonus and a
learning-rate schedule (the recipe of arXiv 2512.05111 has none), roll-outs that run ahead of
the updates (each step would learn from older weights), sharded models (each process holds the
whole one; what does not fit goes to verl by ``armbench train export``).

Rules: an episode that a server, a tool or the clock broke is left out; one that a limit of
tokens cut off is left out too, or fails, as ``grpo.overlong`` says; neither counts in its
group's mean. Groups without variance teach nothing and are left out. An episode whose tokens
are not known exactly (`Turn.exact`) counts in the mean and is not learnt from. All are counted.

::

    OUT/
        config.json, model.safetensors, tokenizer …   the checkpoint, at the end
        training.json      recipe, stage, versions; written last
        metrics.jsonl      a line for each step
        episodes/NAME/     sample episodes; ``armbench view`` shows them
        curves.png         rewards, accuracy, calls
        resume/            what to go on from; removed at the end

Several devices: ``accelerate launch -m armbench.cli train grpo …``; each process plays its
share of the items with its own copy, and gradients are added up. Not with ``rollouts: vllm``.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from accelerate import PartialState
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file

from armbench.errors import ConfigError, ResumeError
from armbench.models.hf_group import GroupBackend
from armbench.runlog import differing, read_json, versions, write_json
from armbench.training.advantages import Group, describe, summary, why_flat
from armbench.training.books import Books, read_metrics
from armbench.training.curves import Panel, can_draw, draw_curves
from armbench.training.policy import Policy, pieces_of
from armbench.training.recipe import GRPO, Recipe
from armbench.training.rollout_engine import RolloutEngine, require_engine
from armbench.training.rollouts import Items, Player, Shelf, open_tasks, read_plans
from armbench.training.weights import (
    RECORD,
    fingerprint,
    load_start,
    prepare,
    save_checkpoint,
    start_of,
)
from armbench.types import derive_seed

if TYPE_CHECKING:
    from armbench.drive import Backend
    from armbench.episode import Plan

__all__ = ["grpo"]

_SHOWN = (
    "reward",
    "accuracy",
    "format",
    "calls",
    "tool_success",
    "response",
    "entropy",
    "kl_start",
    "sampler_gap",
)
_CPU_ROWS = 32
"""Rows of a forward pass on a CPU; with more, what is kept of their prompts leaves its cache."""
_FLAT_STEPS = 5
"""Steps in a row without any variance before the cause is named."""
_KEPT_EPISODES = 32
"""Most episodes of a step that are kept to be looked at."""
_PANELS = (
    Panel("reward", {"reward": "reward"}),
    Panel("shares", {"accuracy": "accuracy", "form": "format", "tool success": "tool_success"}),
    Panel("calls an item", {"calls": "calls"}),
    Panel("entropy (nats per token)", {"entropy": "entropy"}),
)


def grpo(
    recipe: Recipe,
    folder: Path,
    out: Path,
    stage: int,
    model: str | None = None,
    plans: Sequence[Plan] | None = None,
    resume: bool = False,
) -> Path:
    """Train a checkpoint by reinforcement learning.

    Args:
        recipe: What to do; its ``grpo`` section.
        folder: Where the recipe's paths start.
        out: Folder of the result; see the module.
        stage: Which of the recipe's rewards, from 1.
        model: Start checkpoint instead of the recipe's.
        plans: Episodes to play, one for each item, instead of the recipe's tasks; their
            repeat, seed and temperature are set here.
        resume: Go on with the run in `out`; its metrics are those of an undisturbed run.
            Starts one if there is none, and returns at once if it has ended.

    Returns:
        `out`, by now a checkpoint.

    Raises:
        ConfigError: If something does not fit or is missing, the loss is no number, memory
            runs out, or every episode breaks; the message says what to do. The last good
            checkpoint stays in ``resume/``.
        ResumeError: If the run in `out` is of another recipe, stage or start.
        DataError: If the data is not there.
    """
    settings = _settings(recipe, stage)
    if (out / RECORD).is_file() and resume:
        return out
    if not resume and ((out / RECORD).exists() or (out / "resume").exists()):
        raise ConfigError(f"{out} holds a training run: go on with --resume, or take another --out")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tasks = [] if plans is not None else open_tasks(settings, folder)
    start = start_of(model or recipe.model, folder)
    run = _Run(recipe, settings, stage, start, out)
    items = read_plans(tasks, recipe) if plans is None else plans
    shelf = None
    if run.main:
        run.open()
        shelf = Shelf(out, tasks, items, recipe, run.name, resume)
    try:
        run.train(Items(items, derive_seed(recipe.seed, "stage", stage)), shelf)
    finally:
        run.end()
        if shelf is not None:
            shelf.close()
    run.finish()
    return out


def _settings(recipe: Recipe, stage: int) -> GRPO:
    settings = recipe.grpo
    if settings is None:
        raise ConfigError(f"the recipe {recipe.name} has no grpo section")
    if not 1 <= stage <= len(settings.stages):
        raise ConfigError(f"there is no stage {stage}; grpo.stages has {len(settings.stages)}")
    # Said once for the whole process: without it, torchrun on CPUs would start strangers.
    processes = PartialState(cpu=not torch.cuda.is_available()).num_processes
    if settings.rollouts == "vllm":
        require_engine(processes)
    if settings.batch % processes:
        raise ConfigError(
            f"grpo.batch is {settings.batch}: make it a multiple of the {processes} processes"
        )
    return settings


class _Run:
    """A training run: its model, its books, and where it is."""

    def __init__(
        self,
        recipe: Recipe,
        settings: GRPO,
        stage: int,
        start: str,
        out: Path,
    ) -> None:
        self.recipe, self.settings, self.stage, self.start, self.out = (
            recipe, settings, stage, start, out,
        )  # fmt: skip
        self.state = PartialState()
        self.main = self.state.is_main_process
        self.name = f"{recipe.name}-grpo-{stage}"
        role = str(recipe.loop.get("tool_role", "tool"))
        loaded, processor = load_start(start, dtype=settings.dtype, tool_role=role)
        self.identity = {
            "recipe": recipe.model_dump(mode="json"),
            "stage": stage,
            "start": fingerprint(start, loaded),
        }
        transformers.set_seed(recipe.seed)  # adapters are drawn
        loaded = prepare(loaded, settings.freeze, settings.lora).to(self.state.device)
        self.processor = processor
        pad = processor.tokenizer.pad_token_id
        self.policy = Policy(loaded, settings, 0 if pad is None else pad)
        vllm = settings.rollouts == "vllm"
        self.engine = RolloutEngine(start, settings, self.name) if vllm else None
        backend = self.engine.backend if self.engine else self._own(loaded)
        seed = derive_seed(recipe.seed, "stage", stage)
        self.player = Player(backend, settings, settings.stages[stage - 1], seed)
        self.books = Books(out, _SHOWN, 1)
        self.step = self.place = self.flat = 0

    def _own(self, model: Any) -> Backend:
        """The model itself as what generates."""
        rows = self.settings.concurrency if self.state.device.type != "cpu" else _CPU_ROWS
        return GroupBackend.around(
            model, self.processor, name=self.name, batch_size=rows, logprobs=True
        )

    def open(self) -> None:
        """Note what this run is, or make sure that it is the one to go on with."""
        file = self.out / "resume" / "identity.json"
        if file.exists():
            now = json.loads(json.dumps(self.identity))
            keys = sorted(key for key, _, _ in differing(read_json(file), now))
            if keys:
                raise ResumeError(
                    f"{self.out} was begun with other settings; different: {', '.join(keys)}. "
                    "Use the same ones, or another --out"
                )
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write to {self.out}: {error.strerror}") from error
        write_json(file, self.identity)

    def train(self, items: Items, shelf: Shelf | None) -> None:
        """Make the steps that are left."""
        self.load()
        if self.main:
            self.books.begin(self.step, self.settings.steps)
        while self.step < self.settings.steps:
            torch.manual_seed(derive_seed(self.recipe.seed, "step", self.step))  # dropout
            try:
                row, groups = self._one(items)
            except ConfigError as error:
                saved = self._saved()
                kept = f"the last good checkpoint is {saved}" if saved else "none was saved yet"
                raise ConfigError(f"step {self.step + 1}: {error}; {kept}") from error
            self.step += 1
            if self.main:
                self.books.write({"step": self.step, **row})
                self._warn(row)
                every = self.settings.log_episodes_every
                if shelf is not None and (self.step == 1 or self.step % every == 0):
                    shelf.keep(self.step, [g.rollouts[0] for g in groups[:_KEPT_EPISODES]])
                if self.step % self.settings.save_every == 0:
                    self.save()
            self.state.wait_for_everyone()

    def _one(self, items: Items) -> tuple[dict[str, float], list[Group]]:
        """A step: roll-outs, rewards, updates."""
        clock = _Clock()
        if self.engine is not None:
            self.engine.take(self.policy.model)
            clock.lap("sync")
        groups = self._groups(items, clock)
        pieces, inexact = pieces_of(groups, self.processor)
        parts = -(-self.settings.batch // self.settings.mini_batch)
        size = max(1, -(-len(pieces) // parts))
        kl = self.policy.look_back([piece for group in pieces for piece in group])
        sums: dict[str, float] = {}
        norms, gaps = [], []
        for n in range(parts):
            mini = [piece for group in pieces[n * size : (n + 1) * size] for piece in group]
            done = self.policy.update(mini)
            if done:
                gaps.append(done.pop("sampler_gap") / done["tokens"])
                norms.append(done.pop("grad_norm"))
                sums = {name: sums.get(name, 0.0) + value for name, value in done.items()}
        clock.lap("update")
        row = self._summary(groups) | {"inexact": float(sum(gather_object([inexact])))}
        if sums:
            tokens = sums.pop("tokens")
            row |= {name: value / tokens for name, value in sums.items()}
            row["grad_norm"] = max(norms)
        # Of the first update only: from then on the policy is another. At other temperatures
        # the ratio starts from the trainer's own.
        if gaps and self.engine is not None and self.settings.temperature == 1:
            row["sampler_gap"] = gaps[0]
        if kl is not None:
            row["kl_start"] = kl
        return row | clock.seconds, groups

    def _groups(self, items: Items, clock: _Clock) -> list[Group]:
        """Play a step's items; refill what had no variance as often as the recipe says."""
        settings, count = self.settings, self.state.num_processes
        groups: list[Group] = []
        self.policy.model.eval()
        for _ in range(1 + settings.refill):
            lacking = settings.batch // count - sum(group.varied for group in groups)
            needs = gather_object([lacking])
            if not any(needs):
                break
            first = self.place + sum(needs[: self.state.process_index])
            self.place += sum(needs)
            with self.policy.autocast():
                played = self.player.play(self.step, list(items.take(first, lacking)))
            clock.lap("rollout")
            judged = [self.player.judge(*episode) for episode in played]
            groups += [
                Group.of(judged[n : n + settings.group], settings.advantages)
                for n in range(0, len(judged), settings.group)
            ]
            clock.lap("reward")
        return groups

    def _summary(self, groups: Sequence[Group]) -> dict[str, float]:
        row: dict[str, float] = summary(gather_object(describe(groups)))
        if "reward" not in row:
            failures = [f for g in groups for r in g.rollouts for f in r.trajectory.failures]
            what = failures[0].message if failures else "loop.max_seconds is too short"
            raise ConfigError(f"every episode broke: {what}")
        return row

    def _warn(self, row: dict[str, float]) -> None:
        """Say why nothing is learnt, if nothing has been for some steps."""
        self.flat = self.flat + 1 if row["zero_variance"] == 1 else 0
        if self.flat and self.flat % _FLAT_STEPS == 0:
            self.books.say(
                f"warning: every group had equal rewards for {self.flat} steps, so nothing was "
                f"learnt: {why_flat(row)}"
            )

    def end(self) -> None:
        """Let go of what runs beside the training."""
        self.books.end()
        if self.engine is not None:
            self.engine.close()

    def save(self) -> None:
        """Write what an exact resumption needs; the last such is then removed."""
        folder = self.out / "resume" / f"step-{self.step}"
        making = folder.with_name(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        state = {key: value.contiguous() for key, value in self.policy.state().items()}
        save_file(state, making / "state.safetensors")
        place = {"step": self.step, "place": self.place, "flat": self.flat}
        write_json(making / "place.json", place)
        old = self._saved()
        making.rename(folder)
        if old is not None:
            shutil.rmtree(old)

    def load(self) -> None:
        """Take up the last checkpoint, if there is one."""
        folder = self._saved()
        if folder is None:
            return
        self.policy.load(load_file(folder / "state.safetensors"))
        place = read_json(folder / "place.json")
        self.step, self.place, self.flat = place["step"], place["place"], place["flat"]

    def _saved(self) -> Path | None:
        found = (self.out / "resume").glob("step-*/place.json")
        return max(
            (path.parent for path in found), key=lambda p: int(p.name.split("-")[1]), default=None
        )

    def finish(self) -> None:
        """Write the checkpoint and the curves; what was there to go on from is removed."""
        if not self.main:
            return
        if can_draw():
            rows = list(read_metrics(self.out / "metrics.jsonl"))
            (self.out / "curves.png").write_bytes(draw_curves(rows, _PANELS, self.name))
        record = {"kind": "grpo", **self.identity, "steps": self.step, "versions": versions()}
        save_checkpoint(
            self.policy.model, self.start, self.out, dtype=self.settings.dtype, record=record
        )
        shutil.rmtree(self.out / "resume")


class _Clock:
    """Seconds by what they went to."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Book the time since the last call."""
        now = time.monotonic()
        key = f"seconds_{name}"
        self.seconds[key] = self.seconds.get(key, 0.0) + now - self._last
        self._last = now
