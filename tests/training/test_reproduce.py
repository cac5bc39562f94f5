"""From nothing to a table, in the smallest sizes that go through every step."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from armbench.models.hf_load import load_processor
from armbench.training.recipe import read_recipe
from armbench.training.reproduce import Sizes, report, reproduce

pytest.importorskip("torch")
pytest.importorskip("reportlab")

SIZES = Sizes(
    data=6,
    practice=4,
    copies=(4, 4, 4),
    reminders=2,
    scenes=2,
    drills=(1, 1, 1, 2, 2),
    taught=(2, 1, 2),
    shown=(4, 2, 4),
    revised=(1, 1, 1, 2, 2),
    judged=1,
)
CHANGES = {
    "copies.max_steps": "2",
    "lessons.max_steps": "2",
    "sft.max_steps": "2",
    "sft.batch": "4",
    "sft.micro_batch": "2",
    "grpo.steps": "1",
    "grpo.group": "2",
    "grpo.batch": "2",
    "grpo.mini_batch": "2",
    "loop.max_tokens_per_turn": "8",
    "loop.max_turns": "1",
}
STEPS = [
    "data",
    "practice",
    "demonstrations",
    "start",
    "copies",
    "taught",
    "sft",
    "direct",
    "stage1",
    "stage2",
]


@pytest.mark.long
def test_every_step_leaves_what_the_next_needs(tmp_path: Path) -> None:
    recipe, _ = read_recipe("tiny", CHANGES)
    made = reproduce(recipe, tmp_path, sizes=SIZES)
    load_processor(made)
    minutes = json.loads((tmp_path / "minutes.json").read_text("utf-8"))
    assert set(STEPS) <= set(minutes)
    text = report(tmp_path, recipe)
    for judge in ("start", "direct", "sft", "stage1", "stage2", "stage2-without-tools"):
        assert f"| {judge} |" in text
    card = (made / "README.md").read_text("utf-8")
    assert text in card
    assert hashlib.sha256((made / "model.safetensors").read_bytes()).hexdigest() in card
    assert (made / "figures.json").is_file()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    reproduce(recipe, tmp_path, sizes=SIZES)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
