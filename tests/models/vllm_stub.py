"""A stand-in for the package vllm: an engine that says what a test wants."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class EngineDeadError(Exception):
    """As vLLM's."""


class EngineGenerateError(Exception):
    """As vLLM's."""


class Engine:
    """Keeps the prompts it is given, and answers each with one token after `act`."""

    def __init__(self) -> None:
        self.prompts: list[Any] = []
        self.sampling: list[Any] = []
        self.act: Callable[[], Any] = lambda: None
        self.ended = False

    @classmethod
    def from_engine_args(cls, settings: Any) -> Engine:
        return cls()

    async def generate(self, prompt: Any, sampling: Any, name: str) -> AsyncIterator[Any]:
        self.prompts.append(prompt)
        self.sampling.append(sampling)
        wait = self.act()
        if wait is not None:
            await wait
        said = SimpleNamespace(token_ids=[1], logprobs=None, finish_reason="stop")
        yield SimpleNamespace(outputs=[said], prompt_token_ids=[1, 2], num_cached_tokens=0)

    def shutdown(self) -> None:
        self.ended = True


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import vllm` find the stand-in."""
    names = (
        *("vllm", "vllm.platforms", "vllm.sampling_params"),
        *("vllm.v1", "vllm.v1.engine", "vllm.v1.engine.exceptions"),
    )
    modules: dict[str, Any] = {name: ModuleType(name) for name in names}
    modules["vllm"].AsyncLLMEngine = Engine
    modules["vllm"].AsyncEngineArgs = modules["vllm"].SamplingParams = SimpleNamespace
    modules["vllm.platforms"].current_platform = SimpleNamespace(is_cpu=lambda: True)
    modules["vllm.sampling_params"].RequestOutputKind = SimpleNamespace(FINAL_ONLY=2)
    modules["vllm.v1.engine.exceptions"].EngineDeadError = EngineDeadError
    modules["vllm.v1.engine.exceptions"].EngineGenerateError = EngineGenerateError
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "vllm.exceptions", None)
