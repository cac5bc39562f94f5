"""A real vLLM server on a loopback port, serving the tiny random checkpoint.

Opt-in: ``tests/vllm/setup.sh`` once, then
``ARMBENCH_TEST_VLLM=1 .venv-vllm/bin/python -m pytest tests/vllm``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODEL = "tiny"
CONTEXT = 16384
START_SECONDS = 180.0

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # CPU only, and a whole number or vLLM refuses it (GiB).
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Compiling for a model this small costs half a minute and gains nothing.
    "TORCHDYNAMO_DISABLE": "1",
}


@dataclass(frozen=True)
class Server:
    """Where the server listens and what it may read."""

    base_url: str
    model: str
    media: Path
    """The one folder that ``file://`` pictures may lie in."""
    checkpoint: Path
    context: int = CONTEXT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="set ARMBENCH_TEST_VLLM=1 (after tests/vllm/setup.sh) to run")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("vllm")
            if os.environ.get("ARMBENCH_TEST_VLLM") != "1":
                item.add_marker(skip)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vllm") / "checkpoint"
    # In a process of its own: the test process stays free of torch.
    command = [sys.executable, "-m", "armbench.models.tiny", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent, check=False)
    if done.returncode:
        pytest.fail(f"the tiny checkpoint could not be built:\n{done.stderr[-3000:]}")
    return out


@pytest.fixture(scope="session")
def vllm_server(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(tiny_checkpoint, tmp_path_factory.mktemp("server"), "bfloat16") as server:
        yield server


@contextmanager
def serving(checkpoint: Path, folder: Path, dtype: str) -> Iterator[Server]:
    """A server for a checkpoint, its log and its one readable folder under `folder`."""
    media = folder / "media"
    media.mkdir()
    port = _free_port()
    log = folder / "server.log"
    # Not from this folder's parent: `-m` would take tests/vllm for the package `vllm`.
    with log.open("wb") as stream:
        process = subprocess.Popen(
            _command(checkpoint, port, media, dtype),
            cwd=folder,
            env={**os.environ, **ENVIRONMENT},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield Server(f"http://127.0.0.1:{port}/v1", MODEL, media, checkpoint)
    finally:
        _stop(process)


def _command(checkpoint: Path, port: int, media: Path, dtype: str) -> list[str]:
    # What the checkpoint was trained for is as much context as it has.
    told = json.loads((checkpoint / "config.json").read_text("utf-8"))
    longest = told.get("text_config", told)["max_position_embeddings"]
    context = str(min(CONTEXT, longest))
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(checkpoint), "--served-model-name", MODEL),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", dtype, "--max-model-len", context, "--enforce-eager"),
        *("--skip-mm-profiling", "--limit-mm-per-prompt", json.dumps({"image": 8, "video": 0})),
        # On a CPU a seed together with chunked prefill kills the engine.
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", context),
        *("--enable-prompt-tokens-details", "--allowed-local-media-path", str(media)),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    state = "ended" if process.poll() is not None else f"gave no answer in {START_SECONDS:.0f} s"
    tail = log.read_text(errors="replace")[-6000:]
    pytest.fail(f"the vLLM server {state}; is this tests/vllm/setup.sh's Python? Its log:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and the engine processes it started, and nothing else."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            # Its own session, so the group is the server's alone and outlives its leader.
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
