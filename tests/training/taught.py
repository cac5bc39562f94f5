"""A tiny judge that was really taught: it knows the form, and calls half of the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armbench.episode import LoopConfig, Plan
from armbench.images import ImageStore
from armbench.models.tiny import TinySize, build_tiny
from armbench.tools.image import ZOOM
from armbench.training.recipe import GRPO, SFT, Recipe
from armbench.training.sft import sft
from armbench.training.sources import Demonstration
from tests.helpers import answer, call, make_plan, make_sample, picture, run_episode
from tests.training.demos import made

ZOOMS = call("image_zoom_in_tool", image="original_image", bbox_2d=[100, 100, 400, 400])
LOOP = {"max_turns": 2, "max_tokens_per_turn": 32, "max_pixels": 28 * 28}
SIZE = TinySize(
    vocab=500, layers=2, heads=1, kv_heads=1, mlp=128, vision_layers=1, max_image_tokens=4
)
COLOURS = ("red", "blue", "green", "black")


def plans(count: int = 4, **loop: Any) -> list[Plan]:
    """Pairs about a picture of one colour; Answer 1 is right, whatever it says."""
    store = ImageStore()
    limits = LoopConfig.model_validate(LOOP | loop)
    return [
        make_plan(
            ZOOM,
            sample=make_sample(
                [picture(store, (60, 40), COLOURS[n % 4]), "What colour is it?"],
                id=f"item-{n}",
                candidates=(COLOURS[n % 4], COLOURS[(n + 1) % 4]),
            ),
            store=store,
            loop=limits,
            order=(0, 1),
        )
        for n in range(count)
    ]


def lessons() -> Iterator[Demonstration]:
    """Each item four times: with a call and without, for one answer and for the other."""
    for plan in plans():
        for n in (1, 2):
            yield run_episode(plan, [answer(n)]), plan.sample, plan.store
            yield run_episode(plan, [ZOOMS, answer(n)]), plan.sample, plan.store


def teach(folder: Path, steps: int = 60) -> Path:
    """Build a checkpoint and fine-tune it; the fixed texts are tokens of their own."""
    shown = [message.text for t, _, _ in lessons() for message in t.messages]
    lines = sorted({line for text in shown for line in text.split("\n") if len(line) > 20})
    fixed = [*lines, ZOOMS[: ZOOMS.index("[")], answer(1)[: answer(1).index("1")], " is better"]
    start = build_tiny(folder / "start", size=SIZE, texts=shown, phrases=fixed)
    settings = SFT(
        batch=8, micro_batch=8, lr=4e-3, max_steps=steps, dtype="float32", freeze=(),
        filters={"format": False, "accuracy": False, "tools": False}, max_pixels=28 * 28,
    )  # fmt: skip
    recipe = Recipe(name="taught", model=str(start), sft=settings)
    return sft(recipe, Path(), folder / "taught", [made(lessons())])


def recipe(model: Path, **settings: Any) -> Recipe:
    """A recipe of a few steps of reinforcement learning in float32."""
    small = {"dtype": "float32", "group": 8, "batch": 4, "mini_batch": 4, "steps": 2, "lr": 1e-3}
    fields = {**small, "save_every": 1, "log_episodes_every": 2, **settings}
    return Recipe(name="test", model=str(model), grpo=GRPO.model_validate(fields))
