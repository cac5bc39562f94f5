"""Recipes: checked YAML, refused in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from armbench.errors import ConfigError
from armbench.training.recipe import find_recipes, read_recipe


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.yaml").write_text(text)
    return str(tmp_path / "mine.yaml")


def test_paths_start_from_the_recipes_folder(tmp_path: Path) -> None:
    recipe, folder = read_recipe(write(tmp_path, "{name: a, model: start, sft: {lr: 1.0e-3}}"))
    assert (recipe.model, folder) == ("start", tmp_path)
    assert recipe.sft is not None
    assert recipe.sft.lr == 1e-3
    assert recipe.grpo is None


def test_values_can_be_changed_by_dotted_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "{name: a, model: m}")
    recipe, _ = read_recipe(path, {"sft.lr": "1e-4", "sft.lora.rank": "8", "loop.max_turns": "3"})
    assert recipe.sft is not None
    assert recipe.sft.lora is not None
    assert (recipe.sft.lr, recipe.sft.lora.rank, recipe.loop) == (1e-4, 8, {"max_turns": 3})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{name: a, model: m, stf: {}}", "stf: Extra inputs"),
        ("{name: a, model: m, sft: {learning_rate: 1}}", "sft.learning_rate: Extra inputs"),
        ("{name: a, model: m, sft: {lr: fast}}", "sft.lr: Input should be a valid number"),
        ("{name: a, model: m, sft: {lr: -1}}", "sft.lr: Input should be greater than 0"),
        ("{name: a, model: m, sft: {freeze: [tower]}}", "sft.freeze.0: Input should be 'vision'"),
        ("{name: a}", "model: Field required"),
        ("- a list", "holds no recipe"),
        ("{a: [", "is no YAML"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_recipe(write(tmp_path, text))


def test_a_change_inside_a_value_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "{name: a, model: m}")
    with pytest.raises(ConfigError, match=r"name\.x: name is a value"):
        read_recipe(path, {"name.x": "1"})


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'absent'; give a file or one of: .*tiny"):
        read_recipe("absent")


@pytest.mark.parametrize("name", sorted(find_recipes()))
def test_every_recipe_that_comes_with_armbench_fits(name: str) -> None:
    recipe, _ = read_recipe(name)
    assert recipe.name == name
    assert recipe.description
