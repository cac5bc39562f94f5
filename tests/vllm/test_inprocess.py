"""vLLM in process, in a process of its own: its engine cannot be unloaded again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.logging_runs import ROOT
from tests.vllm.conftest import ENVIRONMENT

CONTEXT = 2048

SCRIPT = """
import asyncio, json, sys, time
from dataclasses import replace

from PIL import Image

from armbench.drive import AsyncBackend, drive
from armbench.episode import Ask, LoopConfig
from armbench.images import ImageStore
from armbench.models.hf import HFBackend
from armbench.models.vllm import VLLMBackend
from armbench.prompt import show
from armbench.types import ImagePart, Message, Reply, Sample, TextPart
from tests.helpers import make_plan, make_sample

checkpoint, context, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = ImageStore()
picture = ImagePart(image=store.add_image(Image.new("RGB", (120, 80), "red")))
crop = ImagePart(image=store.add_image(Image.new("RGB", (60, 60), "darkred")))
sample = Sample(id="1", task="t", mode="single", format="single_rm", question=())


def ask(*messages, temperature=0.0, seed=0, tokens=12):
    shown = show(sample, (), ())
    return Ask(messages, tokens, seed, temperature, store, 1280 * 28 * 28, shown)


def say(role, *parts):
    parts = tuple(TextPart(text=p) if isinstance(p, str) else p for p in parts)
    return Message(role=role, parts=parts)


plain = ask(say("user", "Is 7 odd?"))
agentic = ask(
    say("system", "You judge."),
    say("user", picture, "Which is better?"),
    say("assistant", "<tool_call>{}</tool_call>"),
    say("tool", crop, "observation_1"),
)
long = ask(say("user", "7" * (context + 1)))
hot = [replace(agentic, temperature=1.0, seed=n) for n in (1, 2)]


def generate(backend, *asks):
    async def together():
        work = [backend.generate(ask) for ask in asks]
        done = await asyncio.gather(*work, return_exceptions=True)
        await backend.aclose()
        return done

    return asyncio.run(together())


def dump(outcomes):
    return [
        json.loads(o.model_dump_json()) if isinstance(o, Reply) else type(o).__name__
        for o in outcomes
    ]


def shown_again(backend, hf):
    "A prompt with a turn that the judge wrote letter by letter, as either engine takes it."
    said = hf.processor.tokenizer.convert_tokens_to_ids(list("judgement"))
    again = replace(
        agentic,
        messages=(*agentic.messages, say("assistant", "judgement"), say("user", picture, "Sure?")),
        spoken=((), tuple(said)),
    )
    found = []
    for asked in (again, replace(again, spoken=())):
        work = backend._run(backend._prompt(asked), backend._sampling(asked))
        ours = list(backend.submit(work).result().prompt_token_ids)
        found.append([ours, hf._prepare(0, asked).inputs["input_ids"][0].tolist()])
    return {"kept": found[0], "written anew": found[1], "said": said}


def order(backend):
    "Which episodes end when, if a long one begins first and two run at a time."
    lengths = {"long": 600, "short": 4, "later": 4}
    plans = [
        make_plan(sample=make_sample(id=name), loop=LoopConfig(max_tokens_per_turn=n))
        for name, n in lengths.items()
    ]
    ends = []
    drive(plans, backend, lambda plan, t: ends.append([plan.sample.id, t.stop.reason]),
          concurrency=2)
    return ends


def cancelled(backend):
    "Requests in the engine while one is generated, and after it was cancelled."
    async def begin_and_cancel():
        task = asyncio.create_task(backend.generate(replace(plain, max_tokens=1500)))
        while not (during := backend.engine.get_num_unfinished_requests()):
            await asyncio.sleep(0.01)
        task.cancel()
        end = time.monotonic() + 2
        while backend.engine.get_num_unfinished_requests() and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return during, backend.engine.get_num_unfinished_requests()

    return asyncio.run(begin_and_cancel())


def main():
    backend = VLLMBackend(
        checkpoint,
        name="tiny",
        max_context=context,
        gpu_memory=0.3,
        logprobs=True,
        engine_args={"dtype": "float32", "enforce_eager": True, "skip_mm_profiling": True},
    )
    assert isinstance(backend, AsyncBackend)
    hf = HFBackend(checkpoint, device="cpu", dtype="float32", logprobs=True)
    batch = generate(backend, plain, agentic, long, *hot)
    report = {
        "batch": dump(batch),
        "again": dump(generate(backend, agentic, hot[0])),
        "order": order(backend),
        "cancelled": cancelled(backend),
        "tokens": shown_again(backend, hf),
        "hf": dump(hf.generate_batch([plain, agentic])),
    }
    with open(out, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":  # the engine's process reads this file too
    main()
"""


@pytest.fixture(scope="module")
def report(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inprocess")
    (folder / "script.py").write_text(SCRIPT)
    out = folder / "report.json"
    arguments = ["script.py", str(tiny_checkpoint), str(CONTEXT), str(out)]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"the script failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_replies_keep_tokens_and_counts(report: dict[str, Any]) -> None:
    plain, agentic, _, *hot = report["batch"]
    for reply in (plain, agentic, *hot):
        assert len(reply["token_ids"]) == reply["usage"]["output_tokens"] > 0
        assert len(reply["logprobs"]) == len(reply["token_ids"])
        assert all(value <= 0 for value in reply["logprobs"])
        assert reply["finish_reason"] in ("stop", "length")
    assert agentic["usage"]["input_tokens"] > plain["usage"]["input_tokens"]


def test_too_long_a_prompt_fails_alone(report: dict[str, Any]) -> None:
    assert report["batch"][2] == "ContextExceeded"


def test_seeds_repeat_and_differ(report: dict[str, Any]) -> None:
    _, agentic, _, first, second = report["batch"]
    again = report["again"]
    assert again[0]["token_ids"] == agentic["token_ids"]
    assert again[1]["token_ids"] == first["token_ids"]
    assert first["token_ids"] != second["token_ids"]


def test_greedy_replies_are_those_of_transformers(report: dict[str, Any]) -> None:
    for ours, theirs in zip(report["batch"][:2], report["hf"], strict=True):
        assert ours["usage"]["input_tokens"] == theirs["usage"]["input_tokens"]
        assert ours["token_ids"] == theirs["token_ids"]
        assert ours["text"] == theirs["text"]
        assert ours["logprobs"] == pytest.approx(theirs["logprobs"], abs=0.02)


def test_the_judge_s_own_tokens_come_back_as_they_were(report: dict[str, Any]) -> None:
    tokens = report["tokens"]
    ours, theirs = tokens["kept"]
    assert ours == theirs
    said = tokens["said"]
    assert any(ours[n : n + len(said)] == said for n in range(len(ours)))
    anew, theirs = tokens["written anew"]
    assert anew == theirs
    assert anew != ours, "else this shows nothing"


def test_short_episodes_do_not_wait_for_a_long_one(report: dict[str, Any]) -> None:
    names = [name for name, _ in report["order"]]
    assert names == ["short", "later", "long"]


def test_a_cancelled_request_leaves_the_engine(report: dict[str, Any]) -> None:
    assert report["cancelled"] == [1, 0]
