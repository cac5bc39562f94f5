"""vLLM in process, with a stand-in for its engine; `tests/vllm` has the real one."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from armbench.drive import AsyncBackend, drive
from armbench.errors import ConfigError, DataError, ServerDown
from armbench.models.tiny import TinySize, build_tiny
from armbench.models.vllm import VLLMBackend
from tests.helpers import make_plan, make_sample
from tests.models.vllm_stub import EngineDeadError, EngineGenerateError, install


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = TinySize(vocab=400, layers=1, vision_layers=1, mlp=64)
    return build_tiny(tmp_path_factory.mktemp("tiny"), size=size, texts=["a judge"])


@pytest.fixture
def backend(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VLLMBackend]:
    install(monkeypatch)
    made = VLLMBackend(checkpoint, name="tiny")
    yield made
    made.close()


def ends(backend: VLLMBackend, count: int = 1) -> list[Any]:
    """The trajectories of some episodes."""
    found: list[Any] = []
    plans = [make_plan(sample=make_sample(id=str(n))) for n in range(count)]
    drive(plans, backend, lambda _, trajectory: found.append(trajectory))
    return found


def failing(error: Exception) -> Any:
    def act() -> None:
        raise error

    return act


def test_it_serves_one_drive_after_another_until_it_is_closed(backend: VLLMBackend) -> None:
    assert isinstance(backend, AsyncBackend)
    engine = backend.engine
    for _ in range(2):
        assert len(ends(backend, 3)) == 3
        assert not engine.ended
    backend.close()
    assert engine.ended
    backend.close()
    assert not [t for t in threading.enumerate() if t.name == "vllm"]


def test_a_prompt_that_is_too_long_ends_its_episode(backend: VLLMBackend) -> None:
    backend.engine.act = failing(ValueError("longer than the maximum model length of 9"))
    [trajectory] = ends(backend)
    assert trajectory.stop.reason == "context"


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("too many images"), "bad_prompt"), (EngineGenerateError(), "engine_error")],
)
def test_what_goes_wrong_with_a_request_is_counted(
    backend: VLLMBackend, error: Exception, kind: str
) -> None:
    backend.engine.act = failing(error)
    [trajectory] = ends(backend)
    assert [(f.boundary, f.type) for f in trajectory.failures] == [("provider", kind)]


def test_a_refusal_that_vllm_wraps_is_still_one(backend: VLLMBackend) -> None:
    def act() -> None:
        raise EngineGenerateError from ValueError("no such picture")

    backend.engine.act = act
    [trajectory] = ends(backend)
    [failure] = trajectory.failures
    assert (failure.type, failure.message) == ("bad_prompt", "no such picture")


def test_a_dead_engine_ends_the_run(backend: VLLMBackend) -> None:
    backend.engine.act = failing(EngineDeadError("gone"))
    with pytest.raises(ServerDown, match=r"engine of tiny has died .*resume"):
        ends(backend, 20)


def test_cancelling_reaches_the_engine(backend: VLLMBackend) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def act() -> Any:
        if not begun.is_set():
            return hang()
        raise KeyError("a bug, which ends the drive")

    backend.engine.act = act
    with pytest.raises(KeyError):
        ends(backend, 2)
    assert cancelled.wait(5)


def test_pictures_that_cannot_be_read_are_the_items_fault(
    backend: VLLMBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ask: Any) -> Any:
        raise DataError("torn")

    monkeypatch.setattr("armbench.models.vllm.views", broken)
    [trajectory] = ends(backend)
    assert [(f.boundary, f.message) for f in trajectory.failures] == [("task", "torn")]


def test_a_missing_vllm_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"install armbench\[vllm\]"):
        VLLMBackend(checkpoint)


def test_what_vllm_says_of_a_model_it_cannot_load_is_passed_on(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)

    def refuse(settings: Any) -> Any:
        raise ValueError("Head size 8 is not supported")

    monkeypatch.setattr("tests.models.vllm_stub.Engine.from_engine_args", refuse)
    with pytest.raises(ConfigError, match=r"cannot load .*Head size 8"):
        VLLMBackend(checkpoint)
    assert not [t for t in threading.enumerate() if t.name == "vllm"]


def test_greedy_is_sent_without_a_seed(backend: VLLMBackend) -> None:
    ends(backend)
    first = backend.engine.sampling[0]
    assert (first.temperature, first.seed, first.logprobs) == (0.0, None, None)
