"""A run with pictures and calls, for the tests of exports and engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armbench.episode import LoopConfig
from armbench.evaluate import log_episode, offer
from armbench.runlog import RunDir
from armbench.trajectory import Trajectory
from armbench.types import Sample
from tests.helpers import answer, call, make_plan, make_sample, picture, run_episode

ZOOMS = "<think>closer</think>\n" + call(
    "image_zoom_in_tool", image="original_image", bbox_2d=[100, 100, 400, 400]
)
CHECKS = "<think>count</think>\n" + call(
    "check_whether_has_no_arabic_number_in_response", response="text_1"
)
LOOP = {"max_turns": 3, "max_pixels": 100 * 28 * 28}
TOOLS = ("image_zoom_in_tool", "check_whether_has_no_arabic_number_in_response")


def item(run: RunDir, name: str = "photo", **fields: Any) -> Sample:
    """A pair about a picture that is shown smaller than it is."""
    question = [picture(run.images, (800, 600), "green"), f"What is in the {name}?"]
    return make_sample(
        question, id=name, meta={"evidence": {"region": [150, 150, 350, 350]}}, **fields
    )


def make_run(tmp_path: Path, **loop: Any) -> tuple[RunDir, list[Trajectory]]:
    """Right with two calls, right without any, wrong with one, right when no calls were left."""
    settings = {**LOOP, **loop}
    spec = {"task": "toy", "loader": "pairs", "tools": list(TOOLS), "loop": settings}
    judge = {"backend": "scripted", "args": {}, "loop": {}, "tools": None}
    config = {"tasks": {"toy": {"spec": spec, "data": ""}}, "judge": judge, "seed": 0}
    run = RunDir.create(tmp_path / "runs", "toy--judge", config)
    text = make_sample("Which is shorter?", id="text", candidates=("one", "one 2"))
    scripts = [
        (item(run), (1, 0), [ZOOMS + " lost words", CHECKS, answer(2, "I see <image> green")]),
        (text, (0, 1), [answer(1)]),
        (item(run, "wrong"), (0, 1), [ZOOMS, answer(2)]),
        (item(run, "limit"), (0, 1), [ZOOMS, CHECKS, ZOOMS, answer(1)]),
    ]
    played = []
    for sample, order, replies in scripts:
        plan = make_plan(
            *offer(TOOLS, LoopConfig(**settings)).values(),
            sample=sample,
            store=run.images,
            order=order,
            loop=LoopConfig(**settings),
        )
        run.add_sample(sample)
        played.append(log_episode(run, sample, run_episode(plan, replies)).trajectory)
    run.close()
    return run, played
