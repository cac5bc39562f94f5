"""Demonstrations for the tests of training: played by a script, with the real zoom tool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from armbench.episode import LoopConfig
from armbench.images import ImageStore
from armbench.runlog import RunDir
from armbench.tools.image import ZOOM
from armbench.training.recipe import SFT, Recipe
from armbench.training.sources import Demonstration, MadeSource
from armbench.trajectory import Trajectory
from armbench.types import Sample
from tests.helpers import answer, call, make_plan, make_sample, picture, run_episode

SEES = "I see red. Answer 1 says red. Answer 2 says blue."


def zoom(*box: int, image: str = "original_image") -> str:
    return call("image_zoom_in_tool", image=image, bbox_2d=list(box or (100, 100, 400, 400)))


def play(
    *turns: str, store: ImageStore | None = None, tools: bool = True, **fields: Any
) -> tuple[Trajectory, Sample, ImageStore]:
    """An episode in which the judge says `turns`; a picture of 300 x 200, two answers."""
    store = store or ImageStore()
    shown = fields.pop("question", None) or [picture(store, (300, 200)), "What colour is it?"]
    fields = {"candidates": ("red", "blue"), "gold": 1} | fields
    sample = make_sample(shown, **fields)
    offered = [ZOOM] if tools else []
    plan = make_plan(*offered, sample=sample, store=store, loop=LoopConfig(max_turns=3))
    return run_episode(plan, turns), sample, store


def several(count: int) -> Iterator[Demonstration]:
    """Right episodes of different lengths; every fourth offers a tool, and calls it."""
    for n in range(count):
        turns = [answer(1, f"{SEES} {'Sure. ' * n}")]
        if n % 4 == 0:
            turns.insert(0, f"<think>I look.</think>\n{zoom(n, n, 300 + n, 400)}")
        yield play(*turns, tools=n % 4 == 0, id=f"item-{n}")


def made(episodes: Iterable[Demonstration], **settings: Any) -> MadeSource:
    kept = list(episodes)
    return MadeSource("test", lambda: kept, settings)


def a_run(folder: Path, episodes: Iterable[Demonstration], **loop: Any) -> Path:
    """The episodes as a run directory."""
    config = {"tasks": {"toy": {"spec": {"loop": loop}}}, "judge": {"loop": {}}}
    run = RunDir.create(folder, "toy", config)
    for trajectory, sample, store in episodes:
        assert sample is not None
        for message in trajectory.messages:
            adopt(run, message.parts, store)
        for event in trajectory.events:
            if event.kind == "tool":
                adopt(run, event.result.parts, store)
        run.add_sample(sample)
        run.append(trajectory)
    run.close()
    return run.path


def adopt(run: RunDir, parts: Any, store: ImageStore) -> None:
    for part in parts:
        if part.type == "image":
            run.images.adopt(part.image, store)


def recipe(model: Path | str, seed: int = 0, **settings: Any) -> Recipe:
    """A recipe of a few steps in float32 on small pictures; everything learns."""
    small = {"dtype": "float32", "freeze": (), "batch": 4, "micro_batch": 2, "max_pixels": 28 * 28}
    fields = {**small, "lr": 1e-3, "max_steps": 6, "save_every": 2, **settings}
    return Recipe(name="test", model=str(model), seed=seed, sft=SFT.model_validate(fields))
