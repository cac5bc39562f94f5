"""GRPO: it learns, on-policy and exactly resumable, and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from armbench.errors import BackendError, ConfigError, ResumeError
from tests.logging_runs import ROOT
from tests.training.taught import plans, recipe

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from armbench.models.hf import HFBackend  # noqa: E402
from armbench.runlog import RunDir  # noqa: E402
from armbench.training.books import read_metrics  # noqa: E402
from armbench.training.grpo import grpo  # noqa: E402
from armbench.training.policy import Policy  # noqa: E402
from armbench.training.rollout_engine import require_engine  # noqa: E402

SMALL = {"group": 4, "batch": 2, "mini_batch": 2}
NOWHERE = Path()


def metrics(out: Path) -> list[dict[str, float]]:
    """The lines of a run, less what the clock wrote."""
    rows = read_metrics(out / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    loaded: dict[str, Any] = load_file(folder / "model.safetensors")
    return loaded


def mean(rows: list[dict[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


@pytest.mark.long
def test_it_learns_to_call_and_to_be_right(taught: Path, tmp_path: Path) -> None:
    """The adaptive reward pays most for a right verdict after a call; Answer 1 is right."""
    plan = recipe(taught, steps=12, lr=3e-4, overlong="learn")
    out = grpo(plan, NOWHERE, tmp_path / "out", 2, plans=plans())
    rows = metrics(out)
    first, last = rows[:3], rows[-3:]
    assert mean(last, "reward") > mean(first, "reward") + 0.15
    assert mean(last, "accuracy") > mean(first, "accuracy") + 0.1
    assert mean(last, "calls") > mean(first, "calls") + 0.05
    assert rows[0]["kl_start"] == pytest.approx(0, abs=1e-5)
    assert rows[-1]["kl_start"] > 1e-3


# --- a run


def test_the_result_is_a_whole_checkpoint(taught: Path, tmp_path: Path) -> None:
    plan = recipe(taught, **SMALL)
    out = grpo(plan, NOWHERE, tmp_path / "out", 1, plans=plans())
    for name in ("tokenizer.json", "chat_template.jinja", "config.json"):
        assert (out / name).read_bytes() == (taught / name).read_bytes()
    before, after = weights(taught), weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("visual.") for name in changed), "frozen by the recipe"
    HFBackend(out)
    record = json.loads((out / "training.json").read_text())
    assert (record["kind"], record["stage"], record["steps"]) == ("grpo", 1, 2)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "resume").exists()
    [run] = (out / "episodes").iterdir()
    assert {t.repeat for t in RunDir(run).trajectories()} == {1, 2}
    assert grpo(plan, NOWHERE, out, 1, plans=plans(), resume=True) == out, "it has ended"
    expected = {"reward", "reward_format", "reward_accuracy", "reward_tools", "reward_cost"}
    expected |= {"accuracy", "format", "calls", "response", "entropy", "clip_fraction", "loss"}
    expected |= {"kl_start", "zero_variance", "grad_norm", "ratio", "inexact", "overlong"}
    expected |= {"seconds_rollout", "seconds_reward", "seconds_update"}
    assert expected <= next(iter(read_metrics(out / "metrics.jsonl"))).keys()


def test_several_updates_of_a_step_leave_the_policy(taught: Path, tmp_path: Path) -> None:
    plan = recipe(taught, steps=1, mini_batch=1, lr=1e-3)
    [row] = metrics(grpo(plan, NOWHERE, tmp_path / "out", 2, plans=plans()))
    assert abs(row["ratio"] - 1) > 1e-4, "the later ones are off-policy"
    assert row["clip_fraction"] > 0


def test_groups_without_variance_teach_nothing(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = {"bad_format": 0.5, "wrong": 0.5, "tried": 0.5, "right": 0.5, "helped": 0.5}
    plan = recipe(taught, **{**SMALL, "batch": 1}, steps=5, rewards=flat, save_every=9, refill=1)
    out = grpo(plan, NOWHERE, tmp_path / "out", 1, plans=plans())
    rows = metrics(out)
    assert [row["zero_variance"] for row in rows] == [1.0] * 5
    assert [row["groups"] for row in rows] == [2.0] * 5, "refilled once"
    assert all("loss" not in row and row["learnt"] == 0 for row in rows)
    for name, weight in weights(taught).items():
        assert torch.equal(weights(out)[name], weight), name
    assert "equal rewards for 5 steps, so nothing was learnt" in capsys.readouterr().out


PROGRAM = """\
import sys, yaml
from pathlib import Path
from armbench.training.grpo import grpo
from armbench.training.recipe import Recipe
from tests.training.taught import plans
recipe = Recipe.model_validate(yaml.safe_load(Path(sys.argv[1]).read_text()))
grpo(recipe, Path(), Path(sys.argv[2]), 1, plans=plans())
"""


def start(plan: Any, folder: Path, out: Path, *launcher: str) -> subprocess.Popen[bytes]:
    """Begin a run in a process of its own."""
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan.model_dump(mode="json")))
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, *launcher, str(folder / "program.py"), str(folder / "plan.yaml")]
    threads = str(torch.get_num_threads())  # sums differ with their number
    there = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, env=there)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(taught: Path, tmp_path: Path) -> None:
    plan = recipe(taught, **SMALL, steps=6, save_every=2)
    out = tmp_path / "killed"
    process = start(plan, tmp_path, out)
    try:
        while len(metrics(out)) < 3:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "training.json").exists()
    resumed = grpo(plan, NOWHERE, out, 1, plans=plans(), resume=True)
    calm = grpo(plan, NOWHERE, tmp_path / "calm", 1, plans=plans())
    assert metrics(resumed) == metrics(calm)
    assert len(metrics(calm)) == 6
    for name, weight in weights(calm).items():
        assert torch.equal(weights(resumed)[name], weight), name
    kept = [sorted(t.key for t in run_of(o).trajectories()) for o in (resumed, calm)]
    assert kept[0] == kept[1]


@pytest.mark.long
def test_two_processes_do_what_one_does(taught: Path, tmp_path: Path) -> None:
    """For a step; later ones part, since other batches round otherwise."""
    plan = recipe(taught, **SMALL, steps=1, refill=1)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert start(plan, tmp_path, tmp_path / "two", *launcher).wait(timeout=300) == 0
    one = grpo(plan, NOWHERE, tmp_path / "one", 1, plans=plans())
    for row, other in zip(metrics(one), metrics(tmp_path / "two"), strict=True):
        assert {**other, "kl_start": 0} == pytest.approx({**row, "kl_start": 0}, rel=1e-3)
    begun, ended, other = weights(taught), weights(one), weights(tmp_path / "two")
    for name, weight in ended.items():
        moved = (weight - begun[name]).abs().mean()
        # Adam's first step goes by the sign of a gradient, also where that is but rounding.
        assert (other[name] - weight).abs().mean() <= 0.01 * moved, name


def run_of(out: Path) -> RunDir:
    [path] = (out / "episodes").iterdir()
    return RunDir(path)


def test_adapters_learn_and_end_inside_the_weights(taught: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    lora = {"rank": 4, "targets": "q_proj+v_proj"}
    plan = recipe(taught, **SMALL, steps=2, lora=lora, kl=0.1, gradient_checkpointing=True)
    out = grpo(plan, NOWHERE, tmp_path / "out", 1, plans=plans())
    rows = metrics(out)
    assert rows[0]["ratio"] == pytest.approx(1, abs=1e-5)
    assert rows[0]["kl_start"] == pytest.approx(0, abs=1e-6)
    assert rows[1]["kl_start"] > 0
    before, after = weights(taught), weights(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)


# --- what is wrong is said, and nothing is lost


def test_a_loss_that_is_no_number_stops_the_run(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, count = Policy.logprobs, [0]

    def breaks(self: Policy, pieces: Any) -> Any:
        count[0] += self.model.training  # an update, not a look back
        found, entropy = whole(self, pieces)
        return (found * float("nan") if count[0] > 1 else found), entropy

    monkeypatch.setattr(Policy, "logprobs", breaks)
    plan = recipe(taught, **SMALL, steps=5)
    with pytest.raises(ConfigError, match="the loss became nan with: 'toy/item-") as caught:
        grpo(plan, NOWHERE, tmp_path / "out", 1, plans=plans())
    [good] = (tmp_path / "out" / "resume").glob("step-*")
    assert good.name in str(caught.value)
    assert f"step {int(good.name[5:]) + 1}: " in str(caught.value)
    monkeypatch.undo()
    done = grpo(plan.model_copy(), NOWHERE, tmp_path / "out", 1, plans=plans(), resume=True)
    assert len(metrics(done)) == 5


def test_out_of_memory_names_the_setting(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Policy, pieces: Any) -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(Policy, "_loss", full)
    with pytest.raises(ConfigError, match=r"out of memory.*lower grpo\.micro_batch"):
        grpo(recipe(taught, **SMALL), NOWHERE, tmp_path / "out", 1, plans=plans())


def test_if_every_episode_breaks_the_reason_is_given(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = BackendError("the device is lost", kind="lost")
    monkeypatch.setattr(HFBackend, "generate_batch", lambda self, asks: [broken] * len(asks))
    with pytest.raises(ConfigError, match="step 1: every episode broke: the device is lost"):
        grpo(recipe(taught, **SMALL), NOWHERE, tmp_path / "out", 1, plans=plans())


def test_another_run_is_not_gone_on_with(taught: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = recipe(taught, **SMALL, steps=3)
    (out / "resume").mkdir(parents=True)
    with pytest.raises(ConfigError, match="go on with --resume"):
        grpo(plan, NOWHERE, out, 1, plans=plans())
    grpo(plan, NOWHERE, tmp_path / "other", 1, plans=plans())
    identity = {"recipe": plan.model_dump(mode="json"), "stage": 2}
    (out / "resume" / "identity.json").write_text(json.dumps(identity))
    with pytest.raises(ResumeError, match="different: stage, start"):
        grpo(plan, NOWHERE, out, 1, plans=plans(), resume=True)


@pytest.mark.parametrize(
    ("settings", "stage", "message"),
    [
        ({}, 3, "no stage 3; grpo.stages has 2"),
        ({}, 0, "no stage 0"),
        ({"rollouts": "vllm"}, 1, r"install armbench\[vllm\]"),
    ],
)
def test_settings_that_do_not_fit(
    tmp_path: Path,
    settings: dict[str, Any],
    stage: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=message):
        grpo(recipe(tmp_path, **settings), NOWHERE, tmp_path / "out", stage, plans=plans())


def test_roll_outs_by_vllm_are_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    require_engine(1)
    with pytest.raises(ConfigError, match="single process, not in 2: take transformers"):
        require_engine(2)


def test_a_recipe_needs_the_section(tmp_path: Path) -> None:
    plan = recipe(tmp_path).model_copy(update={"grpo": None})
    with pytest.raises(ConfigError, match="no grpo section"):
        grpo(plan, NOWHERE, tmp_path / "out", 1)
