"""The judge that comes with armbench says the same when vLLM serves it.

``ARMBENCH_VLLM_LIMIT`` items of each track (8 unless set; 200 is all of them).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from armbench.evaluate import evaluate, read_records
from armbench.judge import make_judge
from armbench.models import EMBEDDED, recommended_loop
from armbench.models.hf_load import load_processor
from armbench.models.tokens import own_tokens
from armbench.runlog import RunDir
from armbench.runsetup import RunOptions
from armbench.task import load_task
from armbench.training.start import TASKS
from armbench.trajectory import EpisodeKey, ModelEvent, Trajectory
from tests.vllm.conftest import Server, serving

LIMIT = int(os.environ.get("ARMBENCH_VLLM_LIMIT", "8"))
SAME = 0.98
"""Share of the episodes with equal verdicts; sums in another order may tip a close one."""
ALIKE = 0.95
"""Share of the episodes whose turns but the last are the same tokens when tokenised again."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not (EMBEDDED / "model.safetensors").is_file():
        pytest.skip("no checkpoint comes with this installation")
    with serving(EMBEDDED, tmp_path_factory.mktemp("embedded"), "float32") as started:
        yield started


def judged(backend: str, args: dict[str, object], out: Path) -> dict[EpisodeKey, Trajectory]:
    judge = make_judge(backend, {**recommended_loop("tiny"), **args})
    options = RunOptions(out=out, limit=LIMIT, concurrency=32)
    path = evaluate([load_task(name) for name in TASKS], judge, options).path
    episodes = [record.trajectory for record in read_records(RunDir(path))]
    assert not [episode.failures for episode in episodes if episode.failures]
    by_key = {episode.key: episode for episode in episodes}
    assert len(by_key) == len(episodes)
    return by_key


def verdict(episode: Trajectory) -> tuple[str, object]:
    return episode.judgement.parse, episode.judgement.verdict


def comes_back(episode: Trajectory, tokenizer: Any) -> bool:
    """Whether the text of its turns, the last aside, gives the tokens they were.

    A server is sent text. Where a judge that has lost the thread puts pieces together that are
    one token when read again ("39", "9"), the server reads another prompt than went on here.
    """
    turns = [event for event in episode.events if isinstance(event, ModelEvent)]
    kept = [(turn.reply.token_ids or (), turn.reply.text[: turn.kept]) for turn in turns[:-1]]
    return all(
        tuple(tokenizer.encode(text, add_special_tokens=False)) == own_tokens(tokenizer, ids, text)
        for ids, text in kept
    )


def test_served_by_vllm_it_gives_the_same_verdicts(server: Server, tmp_path: Path) -> None:
    here = judged("tiny", {}, tmp_path / "here")
    there = judged("openai", {"base_url": server.base_url}, tmp_path / "there")
    assert here.keys() == there.keys()
    tokenizer = load_processor(EMBEDDED).tokenizer
    alike = {key for key, episode in here.items() if comes_back(episode, tokenizer)}
    same = {key for key in here if verdict(here[key]) == verdict(there[key])}
    print(f"{len(same)} of {len(here)} verdicts are the same")
    print(f"{len(same & alike)} of {len(alike)} where text gives the same tokens again")
    assert len(alike) >= ALIKE * len(here)
    assert len(same & alike) >= SAME * len(alike)
    assert len(same) >= SAME * len(here)
