"""``armbench train``: from a YAML file to a checkpoint, and one line where something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from armbench.cli import main
from tests.training.demos import a_run, recipe, several


@pytest.fixture
def plan(checkpoint: Path, tmp_path: Path) -> Path:
    """A recipe of two steps; its model and data are to be given."""
    short = recipe("absent", max_steps=2, batch=2, micro_batch=1)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(short.model_dump(mode="json")))
    return tmp_path / "plan.yaml"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from armbench.cli import main\n"
        "try: main(['train', 'sft', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--resume" in done.stdout


def test_a_checkpoint_from_the_command_line(
    plan: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = a_run(tmp_path, several(4)), tmp_path / "out"
    given = ["--model", str(checkpoint), "--data", str(run), "--out", str(out)]
    assert main(["train", "sft", str(plan), *given, "--set", "sft.log_every=1"]) == 0
    said = capsys.readouterr().out
    assert "4 demonstrations" in said
    assert "step 1/2  loss" in said
    assert said.splitlines()[-1] == f"checkpoint: {out}"
    assert main(["train", "sft", str(plan), *given]) == 2
    assert "holds a training run: go on with --resume" in capsys.readouterr().err
    assert main(["train", "sft", str(plan), *given, "--resume"]) == 0, "it has ended already"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--set", "sft.rate=1"], "sft.rate: Extra inputs"),
        (["--set", "sft.lr"], "--set 'sft.lr': write KEY=VALUE"),
        (["--set", "sft.schedule=zigzag"], "sft: zigzag is not a valid SchedulerType"),
        (["--set", "sft.batch=3", "--set", "sft.micro_batch=2"], "make it a multiple of"),
        (["--set", "sft.filters.solved=5"], "solved and solved_runs go together"),
        (["--data", "absent"], "absent is no training data"),
        (["--model", "/absent"], "there is no checkpoint folder /absent"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str],
    why: str,
    plan: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = a_run(tmp_path, several(1))
    given = ["--model", str(checkpoint), "--data", str(run), "--out", str(tmp_path / "out")]
    assert main(["train", "sft", str(plan), *given, *arguments]) == 2
    [*_, line] = capsys.readouterr().err.splitlines()
    assert line.startswith("armbench: ")
    assert why in line
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_recipe_without_the_section_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare.yaml").write_text("{name: bare, model: m}")
    assert main(["train", "sft", str(tmp_path / "bare.yaml")]) == 2
    assert "the recipe bare has no sft section" in capsys.readouterr().err
