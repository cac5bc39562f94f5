"""The judge that comes with armbench."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from armbench.episode import LoopConfig
from armbench.evaluate import evaluate
from armbench.judge import make_judge, parse_judge
from armbench.models import EMBEDDED, recommended_loop
from armbench.runsetup import RunOptions
from armbench.task import load_task
from armbench.training.recipe import read_recipe

CHANCE = 0.425
"""Macro accuracy of guessing on the bundled benchmark."""


def macro() -> tuple[float, float, float]:
    """Its macro accuracy by its own figures, with the interval."""
    figures = json.loads((EMBEDDED / "figures.json").read_text("utf-8"))
    return figures["judges"]["stage2"]["accuracy"]["macro"]


def test_it_is_small_and_whole() -> None:
    assert (EMBEDDED / "model.safetensors").stat().st_size < 8 << 20
    assert (EMBEDDED / "README.md").is_file()
    _, low, _ = macro()
    assert low > CHANCE


def test_it_is_right_more_often_than_not() -> None:
    accuracy, _, _ = macro()
    assert accuracy > 0.5


def test_it_was_made_by_the_recipe_that_comes_with_it() -> None:
    record = json.loads((EMBEDDED / "training.json").read_text("utf-8"))
    assert record["recipe"] == read_recipe("tiny")[0].model_dump(mode="json")


def test_it_is_judged_with_the_loop_it_was_trained_in() -> None:
    recipe, _ = read_recipe("tiny")
    assert recommended_loop("tiny") == recipe.loop
    assert LoopConfig.model_validate(recommended_loop("tiny"))
    assert recommended_loop("hf") == {}


def test_what_the_user_says_wins() -> None:
    judge = parse_judge("tiny,max_turns=2,batch_size=4,tools=none")
    assert judge.loop == {**recommended_loop("tiny"), "max_turns": 2}
    assert judge.args == {"batch_size": 4}
    assert judge.tools == ()


def test_it_judges(tmp_path) -> None:
    done = evaluate(
        [load_task("armbench_mini_instruction")],
        make_judge("tiny", {}),
        RunOptions(out=tmp_path, limit=10, concurrency=10),
    )
    cell = done.report.tasks["armbench_mini_instruction"]
    assert cell.unscored <= 2
    assert cell.calls
