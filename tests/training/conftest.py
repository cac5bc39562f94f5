"""A small random checkpoint, and episodes that it really played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL of two layers with random weights."""
    from armbench.models.tiny import TinySize, build_tiny

    size = TinySize(vocab=600, layers=2, heads=2, kv_heads=1, mlp=128, vision_layers=1)
    return build_tiny(tmp_path_factory.mktemp("start") / "tiny", size=size)


@pytest.fixture(scope="session")
def backend(checkpoint: Path) -> Any:
    """That checkpoint, keeping log-probabilities."""
    from armbench.models.hf import HFBackend

    return HFBackend(checkpoint, name="tiny", logprobs=True)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small judge that knows the form; calls, and takes either answer, half of the time."""
    from tests.training.taught import teach

    return teach(tmp_path_factory.mktemp("taught"))
