"""GRPO with roll-outs by real vLLM, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.logging_runs import ROOT
from tests.vllm.conftest import ENVIRONMENT

SCRIPT = """
import asyncio, json, sys
from pathlib import Path

from armbench.episode import episode
from armbench.models.hf import HFBackend
from armbench.models.hf_load import load_processor
from armbench.training.books import read_metrics
from armbench.training.grpo import grpo
from armbench.training.rollout_engine import RolloutEngine
from tests.training.taught import plans, recipe, teach

ENGINE = {"max_model_len": 2048, "gpu_memory_utilization": 0.3, "skip_mm_profiling": True}
SMALL = {"group": 4, "batch": 2, "mini_batch": 2, "overlong": "learn"}


def main():
    folder, out = Path(sys.argv[1]), sys.argv[2]
    taught = teach(folder)
    processor = load_processor(taught)
    ask = next(episode(plans()[0]))
    seen = []
    whole = RolloutEngine.take

    def take(engine, model):
        "Take the weights, then note what engine and trainer say with them."
        whole(engine, model)
        model.eval()
        trainer = HFBackend.around(model, processor, name="t", batch_size=1, logprobs=True)
        ours, [theirs] = asyncio.run(engine.backend.generate(ask)), trainer.generate_batch([ask])
        both = {"engine": ours, "trainer": theirs}
        seen.append({k: [v.token_ids, v.logprobs] for k, v in both.items()})

    RolloutEngine.take = take
    report = {}
    runs = {"all": {"freeze": []}, "adapters": {"lora": {"rank": 4}, "lr": 1e-2}}
    for name, settings in runs.items():
        plan = recipe(taught, rollouts="vllm", engine_args=ENGINE, **{**SMALL, **settings})
        seen.clear()
        grpo(plan, Path(), folder / name, 2, plans=plans())
        rows = list(read_metrics(folder / name / "metrics.jsonl"))
        report[name] = {"seen": list(seen), "rows": rows}
    with open(out, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":  # the engine's process reads this file too
    main()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("grpo")
    (folder / "script.py").write_text(SCRIPT)
    out = folder / "report.json"
    done = subprocess.run(
        [sys.executable, "script.py", str(folder), str(out)],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"the script failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    result: dict[str, Any] = json.loads(out.read_text())
    return result


@pytest.fixture(params=["all", "adapters"])
def run(request: pytest.FixtureRequest, report: dict[str, Any]) -> dict[str, Any]:
    """A run of two steps: all weights learn, the vision tower's too; or adapters."""
    found: dict[str, Any] = report[request.param]
    return found


def test_the_engine_generates_with_the_trainer_s_weights_of_each_step(run: dict[str, Any]) -> None:
    assert len(run["seen"]) == 2
    for seen in run["seen"]:
        (ids, logprobs), (expected, values) = seen["engine"], seen["trainer"]
        assert ids == expected
        assert logprobs == pytest.approx(values, abs=2e-3)
    before, after = (seen["engine"][1] for seen in run["seen"])
    assert abs(before[0] - after[0]) > 0.02, "else the step changed nothing"


def test_tokens_are_learnt_from_as_they_were_sampled(run: dict[str, Any]) -> None:
    assert [row["inexact"] for row in run["rows"]] == [0, 0]
    assert run["rows"][0]["learnt"] > 0


def test_metrics_say_how_far_the_samplers_are_apart(run: dict[str, Any]) -> None:
    for row in run["rows"]:
        assert row["seconds_sync"] > 0
        if row["learnt"]:
            assert 0 < row["sampler_gap"] < 1e-3
            assert row["ratio"] == pytest.approx(1, abs=1e-3)
