"""The tower learns to name what it is shown, and nothing else of the checkpoint changes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from PIL import Image
from safetensors.torch import load_file

from armbench.training import vision
from armbench.training.books import read_metrics
from armbench.training.recipe import Recipe, Vision
from armbench.training.vision import see
from armbench.training.weights import load_start

RECIPE = Recipe(name="r", model="m", vision=Vision(epochs=10, batch=16))


def shown() -> list[tuple[Image.Image, str]]:
    """Bars of two directions on two grounds."""
    source, pictures = Random(0), []
    for number in range(96):
        picture = Image.new("RGB", (56, 56), source.choice(["grey", "teal"]))
        at = source.randrange(10, 40)
        lying = number % 2 == 0
        picture.paste("black", (5, at, 51, at + 6) if lying else (at, 5, at + 6, 51))
        pictures.append((picture, "left" if lying else "up"))
    return pictures


def test_details_are_named_by_the_tower_alone(checkpoint: Path, tmp_path: Path) -> None:
    out = see(RECIPE, str(checkpoint), shown(), tmp_path / "one")
    rows = list(read_metrics(out / "metrics.jsonl"))
    assert len(rows) == 60
    assert rows[-1]["named"] > 0.9 > rows[0]["named"]
    before, after = (load_file(path / "model.safetensors") for path in (checkpoint, out))
    changed = {
        name.split(".")[0]
        for name in before
        if not before[name].bfloat16().equal(after[name].bfloat16())
    }
    assert changed == {"visual"}


def test_its_tokens_do_not_grow_away_from_words(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.model_copy(update={"vision": Vision(epochs=20, batch=16)})
    held = lengths(see(recipe, str(checkpoint), shown(), tmp_path / "held"))
    monkeypatch.setattr(vision, "_LENGTHS", 0.0)
    free = lengths(see(recipe, str(checkpoint), shown(), tmp_path / "free"))
    assert held < lengths(checkpoint) < free
    assert free / held > 5


def lengths(checkpoint: Path) -> float:
    """How long the tokens of pictures are on the average, in lengths of a word's embedding."""
    model, processor = load_start(str(checkpoint))
    words = model.get_input_embeddings().weight.detach().float().norm(dim=1).mean()
    rows = [vision._row(processor, picture, text) for picture, text in shown()[:8]]
    with torch.no_grad():
        tokens, _ = vision._look(model.float().model.visual, rows)
    return float(tokens.norm(dim=1).mean() / words)


def test_the_same_pictures_make_the_same_tower(checkpoint: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"vision": Vision(epochs=1, batch=16)})
    one, two = (see(recipe, str(checkpoint), shown(), tmp_path / name) for name in "ab")
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
