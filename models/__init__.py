"""Model back-ends and the adapters to lmms-eval and VLMEvalKit.

Back-ends are named here and imported on first use; none of this imports torch.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armbench.errors import ConfigError

if TYPE_CHECKING:
    from armbench.drive import Backend

EMBEDDED = Path(__file__).parent / "checkpoints" / "tiny"
"""The trained judge that comes with armbench; ``armbench train reproduce tiny`` makes it."""

BACKENDS: dict[str, tuple[str, str, str]] = {
    "openai": ("armbench.models.openai", "OpenAIBackend", "any OpenAI-compatible server"),
    "hf": ("armbench.models.hf", "HFBackend", "transformers in this process"),
    "vllm": ("armbench.models.vllm", "VLLMBackend", "vLLM in this process"),
    "tiny": (
        "armbench.models.embedded",
        "EmbeddedJudge",
        "the trained judge that comes with armbench (3.3 million weights)",
    ),
    "scripted": ("armbench.models.scripted", "ScriptedBackend", "replies from a JSON-lines file"),
    "rules": (
        "armbench.models.rules",
        "RuleJudge",
        "floor: fixed rules that call the tools, no model",
    ),
    "first": ("armbench.models.baselines", "FirstJudge", "floor: always the first answer"),
    "random": ("armbench.models.baselines", "RandomJudge", "floor: a hashed coin"),
    "longest": ("armbench.models.baselines", "LongestJudge", "floor: the longest answer"),
}
"""Back-ends by name: module, class, one line of meaning."""

DEFAULT_BACKEND = "tiny"
"""What runs when no model is named."""


def recommended_loop(name: str) -> dict[str, Any]:
    """Settings of the agent loop that a back-end was made for; they win over the task's."""
    if name != "tiny":
        return {}
    loop: dict[str, Any] = json.loads((EMBEDDED / "judge.json").read_text("utf-8"))["loop"]
    return loop


def make_backend(name: str, args: Mapping[str, Any]) -> Backend:
    """Construct a back-end.

    Args:
        name: One of `BACKENDS`.
        args: Keyword arguments of its class.

    Raises:
        ConfigError: If the name or an argument is unknown, or the class refuses its arguments.
    """
    if name not in BACKENDS:
        raise ConfigError(f"unknown model back-end {name!r}; choose one of: {', '.join(BACKENDS)}")
    module, attribute, _ = BACKENDS[name]
    cls = getattr(importlib.import_module(module), attribute)
    known = [p for p in inspect.signature(cls).parameters if p != "self"]
    unknown = [key for key in args if key not in known]
    if unknown:
        raise ConfigError(
            f"back-end {name!r} has no argument {', '.join(map(repr, unknown))}; "
            f"it takes: {', '.join(known) or 'none'}"
        )
    try:
        backend: Backend = cls(**args)
    except TypeError as error:
        raise ConfigError(f"back-end {name!r}: {error}") from error
    return backend
