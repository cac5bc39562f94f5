"""The judge that comes with armbench says the same when vLLM serves it.

``ARMBENCH_VLLM_LIMIT`` items of each track (8 unless set; 200 is all of them).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from armbench.evaluate import evaluate, read_records
from armbench.judge import make_judge
from armbench.models import EMBEDDED, recommended_loop
from armbench.runlog import RunDir
from armbench.runsetup import RunOptions
from armbench.task import load_task
from armbench.training.start import TASKS
from armbench.trajectory import EpisodeKey
from tests.vllm.conftest import Server, serving

LIMIT = int(os.environ.get("ARMBENCH_VLLM_LIMIT", "8"))
SAME = 0.98
"""Share of the episodes with equal verdicts; sums in another order may tip a close one."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not (EMBEDDED / "model.safetensors").is_file():
        pytest.skip("no checkpoint comes with this installation")
    with serving(EMBEDDED, tmp_path_factory.mktemp("embedded"), "float32") as started:
        yield started


def verdicts(backend: str, args: dict[str, object], out: Path) -> dict[EpisodeKey, object]:
    judge = make_judge(backend, {**recommended_loop("tiny"), **args})
    options = RunOptions(out=out, limit=LIMIT, concurrency=32)
    path = evaluate([load_task(name) for name in TASKS], judge, options).path
    episodes = [record.trajectory for record in read_records(RunDir(path))]
    assert not [episode.failures for episode in episodes if episode.failures]
    said = {e.key: (e.judgement.parse, e.judgement.verdict) for e in episodes}
    assert len(said) == len(episodes)
    return said


def test_served_by_vllm_it_gives_the_same_verdicts(server: Server, tmp_path: Path) -> None:
    here = verdicts("tiny", {}, tmp_path / "here")
    there = verdicts("openai", {"base_url": server.base_url}, tmp_path / "there")
    assert here.keys() == there.keys()
    same = sum(here[key] == there[key] for key in here)
    print(f"{same} of {len(here)} verdicts are the same")
    assert same >= SAME * len(here)
