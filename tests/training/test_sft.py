"""Fine-tuning: a real small model learns, resumes exactly, and ends as a whole checkpoint."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from armbench.errors import ConfigError, ResumeError
from tests.training.demos import a_run, made, recipe, several

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from armbench.models.hf import HFBackend  # noqa: E402
from armbench.training.books import read_metrics  # noqa: E402
from armbench.training.sft import sft  # noqa: E402
from armbench.training.trainer import JudgeTrainer  # noqa: E402


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(out / "metrics.jsonl")]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    loaded: dict[str, Any] = load_file(folder / "model.safetensors")
    return loaded


@pytest.fixture(scope="module")
def trained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps on ten episodes, three steps an epoch."""
    out = tmp_path_factory.mktemp("sft") / "trained"
    return sft(recipe(checkpoint, max_steps=6), Path(), out, [made(several(10))])


def test_it_learns(trained: Path) -> None:
    rows = list(read_metrics(trained / "metrics.jsonl"))
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert rows[-1]["loss"] < 0.85 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > rows[0]["accuracy"]


def test_the_result_is_a_whole_checkpoint(trained: Path, checkpoint: Path) -> None:
    copied = ("tokenizer.json", "chat_template.jinja", "preprocessor_config.json")
    for name in (*copied, "config.json", "generation_config.json"):
        assert (trained / name).read_bytes() == (checkpoint / name).read_bytes(), name
    assert weights(trained).keys() == weights(checkpoint).keys()
    backend = HFBackend(trained)
    assert backend.model.config.model_type == "qwen2_5_vl"
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not (trained / "resume").exists()
    record = json.loads((trained / "training.json").read_text())
    assert record["counts"]["examples"] == 10
    assert record["steps"] == 6
    assert record["recipe"]["sft"]["lr"] == 1e-3


def test_it_ends_once_enough_is_learnt(checkpoint: Path, tmp_path: Path) -> None:
    """Which is when twenty steps together have that accuracy, not when one happens to."""
    short = {"batch": 2, "max_steps": 40}
    plan = recipe(checkpoint, **short)
    calm = sft(plan, Path(), tmp_path / "calm", [made(several(10))])
    right = [row["accuracy"] for row in read_metrics(calm / "metrics.jsonl")]
    enough = fmean(right[10:30])
    assert max(right[:20]) > enough > fmean(right[:20])
    plan = recipe(checkpoint, **short, enough=enough)
    out = sft(plan, Path(), tmp_path / "out", [made(several(10))])
    reached = next(n for n in range(20, 41) if fmean(right[n - 20 : n]) >= enough)
    assert len(losses(out)) == reached < 40
    assert losses(out) == losses(calm)[:reached]


def test_small_passes_add_up_to_the_same_step(
    trained: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Each token of a step weighs the same, however the step is cut into passes."""
    plan = recipe(checkpoint, max_steps=6, micro_batch=4)
    whole = sft(plan, Path(), tmp_path / "whole", [made(several(10))])
    assert losses(whole) == pytest.approx(losses(trained), rel=2e-4)


@pytest.mark.parametrize("optimizer", [{}, {"muon_lr": 1e-2}], ids=["adamw", "muon"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    optimizer: dict[str, float], checkpoint: Path, tmp_path: Path
) -> None:
    steps = 24
    run = a_run(tmp_path, several(10))
    short = {"batch": 2, "micro_batch": 1, "save_every": 3, **optimizer}
    plan = recipe(checkpoint, max_steps=steps, data=[str(run)], **short)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan.model_dump(mode="json")))
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "armbench.cli", "train", "sft", str(tmp_path / "plan.yaml")]
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
    try:
        while len(list(read_metrics(out / "metrics.jsonl"))) < 8:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "training.json").exists()
    resumed = sft(plan, Path(), out, resume=True)
    calm = sft(plan, Path(), tmp_path / "calm")
    assert losses(resumed) == losses(calm)
    for name, weight in weights(calm).items():
        assert torch.equal(weights(resumed)[name], weight), name


def test_parts_that_are_frozen_stay_as_they_were(checkpoint: Path, tmp_path: Path) -> None:
    plan = recipe(checkpoint, max_steps=2, freeze=("vision", "projector"))
    out = sft(plan, Path(), tmp_path / "out", [made(several(4))])
    before, after = weights(checkpoint), weights(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if not name.startswith("visual.")}
    plan = recipe(checkpoint, freeze=("vision", "projector", "language"))
    with pytest.raises(ConfigError, match="nothing to learn"):
        sft(plan, Path(), tmp_path / "none", [made(several(4))])


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL of two layers with random weights."""
    from armbench.models.tiny import TinySize, build_tiny

    size = TinySize(vocab=600, layers=2, heads=2, kv_heads=1, mlp=128, vision_layers=1)
    folder = tmp_path_factory.mktemp("start3") / "tiny3"
    return build_tiny(folder, family="qwen3_vl", size=size)


@pytest.mark.parametrize("family", ["checkpoint", "qwen3"])
def test_adapters_end_inside_the_weights(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Only the language model's own layers are changed, and the result needs no peft."""
    pytest.importorskip("peft")
    start: Path = request.getfixturevalue(family)
    lora = {"rank": 4, "alpha": 16, "targets": "q_proj+down_proj"}
    plan = recipe(start, max_steps=8, lr=1e-2, lora=lora, gradient_checkpointing=True)
    out = sft(plan, Path(), tmp_path / "out", [made(several(4))])
    assert losses(out)[-1] < losses(out)[0]
    before, after = weights(start), weights(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    ends = ("q_proj.weight", "down_proj.weight")
    assert changed == {n for n in before if n.endswith(ends) and "visual." not in n}
    HFBackend(out)
    bad = recipe(start, lora={"targets": "q_proj+made_up"})
    with pytest.raises(ConfigError, match=r"no linear layers made_up; it has: down_proj, gate"):
        sft(bad, Path(), tmp_path / "bad", [made(several(4))])


def test_qwen3_learns_by_the_same_code_in_mixed_precision(qwen3: Path, tmp_path: Path) -> None:
    plan = recipe(qwen3, max_steps=8, dtype="bfloat16")
    out = sft(plan, Path(), tmp_path / "out", [made(several(4))])
    assert losses(out)[-1] < 0.9 * losses(out)[0]
    assert {weight.dtype for weight in weights(out).values()} == {torch.bfloat16}
    assert json.loads((out / "config.json").read_text())["text_config"]["dtype"] == "bfloat16"
    assert HFBackend(out, dtype="auto").model.config.model_type == "qwen3_vl"


def test_a_run_that_has_ended_is_not_taken_for_another(trained: Path, checkpoint: Path) -> None:
    again = recipe(checkpoint, max_steps=6)
    assert sft(again, Path(), trained, [made(several(10))], resume=True) == trained
    with pytest.raises(ResumeError, match=r"different: recipe\.sft\.lr\."):
        sft(recipe(checkpoint, max_steps=6, lr=1e-2), Path(), trained, resume=True)


@pytest.fixture
def stopped(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of six steps whose loss is no number at the fifth."""
    honest = JudgeTrainer.training_step

    def broken(self: Any, model: Any, inputs: Any, items: Any = None) -> Any:
        if self.state.global_step == 4:
            inputs["pixel_values"] = inputs["pixel_values"] * float("nan")
        return honest(self, model, inputs, items)

    monkeypatch.setattr(JudgeTrainer, "training_step", broken)
    with pytest.raises(ConfigError, match=r"the loss became nan at step 5, with: 'toy/item-") as e:
        sft(recipe(checkpoint), Path(), tmp_path / "out", [made(several(10))])
    assert "checkpoint-4" in str(e.value)
    monkeypatch.undo()
    return tmp_path / "out"


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    stopped: Path, checkpoint: Path
) -> None:
    kept = stopped / "resume" / "checkpoint-4" / "model.safetensors"
    from safetensors.torch import load_file

    assert all(weight.isfinite().all() for weight in load_file(kept).values())
    with pytest.raises(ConfigError, match="go on with --resume, or take another --out"):
        sft(recipe(checkpoint), Path(), stopped, [made(several(10))])
    with pytest.raises(ResumeError, match=r"different: recipe\.sft\.lr\."):
        sft(recipe(checkpoint, lr=1e-2), Path(), stopped, [made(several(10))], resume=True)
    with pytest.raises(ResumeError, match=r"different: data\."):
        sft(recipe(checkpoint), Path(), stopped, [made(several(9))], resume=True)
    assert len(losses(sft(recipe(checkpoint), Path(), stopped, [made(several(10))], True))) == 6


def test_running_out_of_memory_names_the_settings_to_lower(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(JudgeTrainer, "compute_loss", full)
    with pytest.raises(ConfigError, match=r"lower sft\.micro_batch, then sft\.max_pixels"):
        sft(recipe(checkpoint), Path(), tmp_path / "out", [made(several(4))])
