"""lmms-eval runs our model and our tasks with no further flag; any other task too."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from armbench.results.runs import load

pytest.importorskip("lmms_eval")

FOREIGN = """\
task: capitals
dataset_path: json
dataset_kwargs:
  data_files: {test: rows.json}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {max_new_tokens: 16}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata: {version: 1}
"""


def lmms_eval(folder: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> str:
    """Run the command line in a folder; returns what it printed."""
    command = [sys.executable, *(launcher or ("-m",)), "lmms_eval", "eval"]
    command += ["--model", "arm_thinker", "--output_path", "out", "--log_samples", *arguments]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def results(folder: Path) -> dict:
    (file,) = (folder / "out").rglob("*_results.json")
    return json.loads(file.read_text())["results"]


def trajectories(folder: Path) -> list[dict]:
    return [
        json.loads(line)
        for file in folder.glob("runs/*/trajectories*.jsonl")
        for line in file.read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("mini")
    return folder, lmms_eval(folder, "--tasks", "armbench_mini", "--limit", "6")


def test_mini_needs_no_further_flag(mini):
    folder, printed = mini
    found = results(folder)
    assert "judge: tiny (the trained judge that comes with armbench" in printed
    for track in ("fine_grained", "long_document", "instruction"):
        assert 0 <= found[f"armbench_mini_{track}"]["accuracy,none"] <= 1
    tracks = [v["accuracy,none"] for k, v in found.items() if k.startswith("armbench_mini_")]
    assert found["armbench_mini"]["accuracy,none"] == pytest.approx(sum(tracks) / 3)


def test_the_run_directory_agrees_with_lmms_eval(mini):
    folder, _ = mini
    assert len(trajectories(folder)) == 18
    (run,) = (folder / "runs").iterdir()
    scores = json.loads((run / "scores.json").read_text())["tasks"]
    for name, entry in results(folder).items():
        if name in scores:
            assert entry["accuracy,none"] == scores[name]["overall"]["accuracy"]


def test_a_leaderboard_of_lmms_evals_results_agrees_to_the_last_digit(mini):
    folder, _ = mini
    (run,) = (folder / "runs").iterdir()
    ours, theirs = load(run), load(folder / "out")
    assert (ours.source, theirs.source) == ("armbench", "lmms-eval")
    assert theirs.episodes == ours.episodes
    assert (theirs.config, theirs.policies) == (ours.config, ours.policies)
    assert theirs.notes == ()


def test_tools_ran_inside_lmms_eval(mini):
    folder, printed = mini
    kinds = {
        e["call"]["name"] for t in trajectories(folder) for e in t["events"] if e["kind"] == "tool"
    }
    assert {"image_zoom_in_tool", "doc_page_retrieval_by_query"} <= kinds
    assert "avg_tool_calls" in printed


@pytest.mark.slow
def test_a_task_that_is_not_ours_and_a_script(tmp_path):
    rows = [{"question": f"Capital of {n}?", "answer": "Paris"} for n in range(4)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "capitals.yaml").write_text(FOREIGN)
    (tmp_path / "replies.jsonl").write_text('"<think>Hm.</think><answer>Paris</answer>"\n')
    arguments = "backend=scripted,path=replies.jsonl"
    printed = lmms_eval(
        tmp_path, "--tasks", "capitals", "--include_path", ".", "--model_args", arguments
    )
    assert results(tmp_path)["capitals"]["exact_match,none"] == 1.0, printed
    assert len(trajectories(tmp_path)) == 4


@pytest.mark.slow
def test_several_ranks_write_one_run(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port", port, "-m")
    printed = lmms_eval(
        tmp_path,
        "--tasks",
        "armbench_mini_instruction",
        "--limit",
        "5",
        "--model_args",
        "backend=first",
        launcher=launcher,
    )
    assert 0 <= results(tmp_path)["armbench_mini_instruction"]["accuracy,none"] <= 1, printed
    assert len(list((tmp_path / "runs").iterdir())) == 1
    ids = [t["sample_id"] for t in trajectories(tmp_path)]
    assert len(ids) == len(set(ids)) == 5


def test_wrong_options_are_named(tmp_path):
    printed = lmms_eval(
        tmp_path, "--tasks", "armbench_mini_instruction", "--model_args", "backend=first,colour=red"
    )
    assert "'first' has no argument 'colour'" in printed
    assert not (tmp_path / "out").exists()
