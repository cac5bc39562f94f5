"""``armbench train reproduce tiny``: from nothing to a judge on a CPU.

Each step leaves its folder and is not done again; a killed run goes on where it was:

::

    OUT/
        data/, practice/    items of the bundled benchmark's generator, other seeds: for the
                            demonstrations and for the roll-outs
        lessons/            runs of the teacher, with tools wherever a student can learn from it
        demonstrations/     runs of the teacher, with tools in part; and without
        start/              a tokenizer learnt from them, random weights
        copies/             fine-tuned on text to repeat
        seeing/             the vision tower names details
        taught/             fine-tuned on the lessons
        sft/, direct/       then on the demonstrations; without tools (for the table only)
        stage1/, stage2/    after the two stages of reinforcement learning
        accuracy/, bonus/, single/   ablations: other rewards, one stage (with --ablations)
        runs/               every checkpoint on the evaluation set
        checkpoint/         stage 2 as it ships; figures.json, table.md, curves.png: what came out
        minutes.json        what each step took
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from armbench.episode import LoopConfig
from armbench.errors import ConfigError
from armbench.evaluate import evaluate
from armbench.judge import Judge
from armbench.runlog import read_json, write_json
from armbench.runsetup import RunOptions
from armbench.task import load_task
from armbench.training.card import card, figures, pack, stage_curves, table
from armbench.training.copies import LEVELS, copy_source
from armbench.training.curves import can_draw
from armbench.training.recipe import SFT, Recipe
from armbench.training.sources import Demonstration, RunSource, Source
from armbench.training.start import TASKS, demonstrate, make_data, make_start
from armbench.training.teacher import NOTHING
from armbench.trajectory import ToolEvent, Trajectory

__all__ = ["ABLATIONS", "Sizes", "judge", "report", "reproduce"]

SEEDS = {"data": 31415, "practice": 27182, "drills": 16180}
"""Seeds of the training items; the recipe's seed is added."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults make the checkpoint that is shipped.

    Attributes:
        data: Items of each track made for the demonstrations.
        practice: Items of each track made for the roll-outs.
        copies: Texts to repeat, of each of `armbench.training.copies.LEVELS`, at most.
        reminders: Texts to repeat among the lessons, lest copying is forgotten.
        scenes: Pictures whose details are named.
        drills: Pictures asked about among the lessons by where things are, and by what they
            are, reports asked about, tables, and things compared.
        taught: Items of the lessons, by task.
        shown: Items of the demonstrations, by task.
        revised: As `drills`, among the demonstrations with tools, lest they are forgotten.
        judged: Items of each task judged in the end; None for all.
    """

    data: int = 3000
    practice: int = 800
    copies: tuple[int, int, int] = (30000, 24000, 5000)
    reminders: int = 1000
    scenes: int = 140
    drills: tuple[int, int, int, int, int] = (140, 40, 75, 7000, 3500)
    taught: tuple[int, int, int] = (3000, 3000, 3000)
    shown: tuple[int, int, int] = (800, 500, 800)
    revised: tuple[int, int, int, int, int] = (60, 15, 25, 700, 1000)
    judged: int | None = None


DIRECT = 0.45
"""Share of the demonstrations without a call: what reinforcement learning has to lower."""

ABLATIONS = ("accuracy", "bonus", "single")
"""Other ways from `sft`: both stages on accuracy alone, both with a fixed bonus, stage 2 alone."""


ROWS = (
    *("start", "direct", "sft", "stage1", "stage2", "stage2-without-tools"),
    *ABLATIONS,
)
"""Judges in the order of the table."""


class _Steps:
    """Does each step once and keeps what it took."""

    def __init__(self, out: Path) -> None:
        self._path = out / "minutes.json"
        self.minutes: dict[str, float] = read_json(self._path) if self._path.exists() else {}

    def do(self, name: str, work: Callable[[], object]) -> None:
        if name in self.minutes:
            return
        print(f"{name} …", flush=True)
        began = time.monotonic()
        work()
        self.minutes[name] = round((time.monotonic() - began) / 60, 2)
        write_json(self._path, self.minutes)
        print(f"{name}: {self.minutes[name]:.1f} minutes", flush=True)


def reproduce(
    recipe: Recipe, out: Path, ablations: bool = False, sizes: Sizes | None = None
) -> Path:
    """Make the tiny judge; returns the folder of its last checkpoint.

    Args:
        recipe: ``tiny``, with sections ``sft`` and ``grpo``.
        out: Folder for everything; goes on with what is there.
        ablations: Also train and judge the ways of `ABLATIONS`.
        sizes: How much of everything.

    Raises:
        ConfigError: If a step cannot be done; says why.
    """
    import torch

    out.mkdir(parents=True, exist_ok=True)
    # One thread: sums keep their order whatever the number of cores, and matrices this small
    # gain little from more.
    torch.set_num_threads(1)
    steps, sizes = _Steps(out), sizes or Sizes()
    shares = dict(zip(TASKS, sizes.shown, strict=True))
    for name, many in (("data", sizes.data), ("practice", sizes.practice)):
        steps.do(name, partial(make_data, out / name, SEEDS[name] + recipe.seed, many))
    lessons = out / "lessons"
    taught = dict(zip(TASKS, sizes.taught, strict=True))
    steps.do("lessons", lambda: demonstrate(out / "data", lessons, recipe, 0.0, taught))
    shown, plain = out / "demonstrations" / "tools", out / "demonstrations" / "plain"
    steps.do("demonstrations", lambda: demonstrate(out / "data", shown, recipe, DIRECT, shares))
    steps.do(
        "demonstrations without tools",
        lambda: demonstrate(out / "data", plain, recipe, 1.0, shares),
    )
    steps.do("start", lambda: make_start(_runs(shown), out / "start", recipe.seed))
    steps.do("copies", lambda: _copies(recipe, out, sizes.copies))
    steps.do("seeing", lambda: _see(recipe, out, sizes.scenes))
    steps.do("taught", lambda: _teach(recipe, out, sizes))
    steps.do("sft", lambda: _sft(recipe, out, shown, "sft", sizes.revised))
    steps.do("direct", lambda: _sft(recipe, out, plain, "direct"))
    steps.do("stage1", lambda: _grpo(recipe, out, "sft", 1, "stage1"))
    steps.do("stage2", lambda: _grpo(recipe, out, "stage1", 2, "stage2"))
    steps.do("checkpoint", lambda: pack(out / "stage2", out / "checkpoint", recipe))
    judges = ["start", "direct", "sft", "stage1", "stage2"]
    for way in ABLATIONS if ablations else ():
        steps.do(way, partial(_ablation, recipe, out, way))
        judges.append(way)
    for name in judges:
        steps.do(
            f"judging {name}", partial(judge, out, name, recipe, name != "direct", sizes.judged)
        )
    steps.do(
        "judging stage2 without tools", lambda: judge(out, "stage2", recipe, False, sizes.judged)
    )
    return out / "checkpoint"


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _copies(recipe: Recipe, out: Path, many: tuple[int, int, int]) -> None:
    start, copies = "start", recipe.copies
    for level, texts in enumerate(many):
        name = f"copies/{level + 1}"
        section = copies and copies.model_copy(update={"enough": LEVELS[level].enough})
        _tune(recipe, section, start, [_texts(recipe, out, level, texts)], out, name)
        start = name


def _see(recipe: Recipe, out: Path, scenes: int) -> None:
    from armbench.training.drills import what
    from armbench.training.vision import see

    shown = what(scenes, _pixels(recipe), SEEDS["drills"] + recipe.seed)
    see(recipe, str(out / f"copies/{len(LEVELS)}"), shown, out / "seeing")


def _pixels(recipe: Recipe) -> int:
    return LoopConfig.model_validate(recipe.loop).max_pixels


def _teach(recipe: Recipe, out: Path, sizes: Sizes) -> None:
    hardest = _texts(recipe, out, len(LEVELS) - 1, sizes.reminders)
    _tune(
        recipe,
        recipe.lessons,
        "seeing",
        [*_sources(out / "lessons", called=True), hardest, *_drills(recipe, sizes.drills, 0)],
        out,
        "taught",
    )


def _drills(recipe: Recipe, many: Sequence[int], turn: int) -> list[Source]:
    from armbench.training.drills import columns, named, same, where, which

    seed = SEEDS["drills"] + recipe.seed + 2 * turn
    places, details, reports, tables, things = many
    return [
        where(places, seed),
        named(details, _pixels(recipe), seed + 1),
        which(reports, seed),
        columns(tables, seed),
        same(things, seed),
    ]


def _sft(recipe: Recipe, out: Path, runs: Path, name: str, drills: Sequence[int] = ()) -> None:
    revised = _drills(recipe, drills, 1) if drills else []
    _tune(recipe, recipe.sft, "taught", [*_sources(runs), *revised], out, name)


def _texts(recipe: Recipe, out: Path, level: int, many: int) -> Source:
    from armbench.models.hf_load import load_processor

    tokenizer = load_processor(out / "start").tokenizer
    return copy_source(tokenizer, LEVELS[level], many, recipe.seed + level)


def _sources(folder: Path, called: bool = False) -> list[Source]:
    return [_Found(run, called) for run in _runs(folder)]


_KEPT = 5
"""One in so many of the episodes in which nothing was found is learnt from."""


class _Found(RunSource):
    """Episodes, but few of those in which nothing was found: they teach to guess.

    Args:
        path: The run directory.
        called: Nothing was found without a call, either.
    """

    def __init__(self, path: Path, called: bool = False) -> None:
        super().__init__(path)
        self._called = called

    def __iter__(self) -> Iterator[Demonstration]:
        many = 0
        for row in super().__iter__():
            lost = self._lost(row[0])
            many += lost
            if not lost or many % _KEPT == 0:
                yield row

    def _lost(self, played: Trajectory) -> bool:
        without = self._called and not any(isinstance(e, ToolEvent) for e in played.events)
        return without or NOTHING in played.last_text


def _tune(
    recipe: Recipe, section: SFT | None, start: str, sources: list[Source], out: Path, name: str
) -> Path:
    from armbench.training.sft import sft

    if section is None:
        raise ConfigError(f"the recipe {recipe.name} lacks a section that `reproduce` needs")
    here = recipe.model_copy(update={"model": str(out / start), "sft": section})
    return sft(here, out, out / name, sources=sources, resume=True)


def _grpo(recipe: Recipe, out: Path, start: str, stage: int, name: str) -> Path:
    from armbench.training.grpo import grpo

    assert recipe.grpo is not None
    section = recipe.grpo.model_copy(update={"data": str(out / "practice")})
    here = recipe.model_copy(update={"grpo": section})
    return grpo(here, out, out / name, stage, model=str(out / start), resume=True)


def _ablation(recipe: Recipe, out: Path, way: str) -> Path:
    assert recipe.grpo is not None
    if way == "single":  # as many steps as the two stages have together
        section = recipe.grpo.model_copy(update={"steps": 2 * recipe.grpo.steps})
        return _grpo(recipe.model_copy(update={"grpo": section}), out, "sft", 2, way)
    section = recipe.grpo.model_copy(update={"stages": (way, way), "steps": 2 * recipe.grpo.steps})
    return _grpo(recipe.model_copy(update={"grpo": section}), out, "sft", 1, way)


def judge(out: Path, name: str, recipe: Recipe, tools: bool, limit: int | None = None) -> Path:
    """Run a checkpoint on the bundled evaluation set; returns the run directory.

    Stage 2 is judged as it ships.
    """
    label = name if tools or name == "direct" else f"{name}-without-tools"
    folder = out / ("checkpoint" if name == "stage2" else name)
    settings = {"model": str(folder), "name": label, "batch_size": 64}
    chosen = Judge("hf", settings, dict(recipe.loop), None if tools else ())
    options = RunOptions(out=out / "runs", limit=limit, concurrency=64, resume=True)
    path: Path = evaluate([load_task(task) for task in TASKS], chosen, options).path
    return path


def report(out: Path, recipe: Recipe) -> str:
    """Write figures, curves, table and card of all judged under `out`; returns the table."""
    made = figures(out, recipe)
    text = table(made, ROWS)
    (out / "table.md").write_text(text, "utf-8")
    curves = stage_curves(out, ("stage1", "stage2")) if can_draw() else None
    if curves is not None:
        (out / "curves.png").write_bytes(curves)
    card(out, recipe, made, text)
    return text
