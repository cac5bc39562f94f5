"""What ``inspect view`` makes of an exported log, in a real browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from armbench.images import ImageStore
from tests.results.viewing import hostile_run, write_run, zoom_episode

pytest.importorskip("inspect_ai", reason="no inspect-ai")
pytestmark = pytest.mark.slow

_WAIT_MS = 60_000
_SERVE = "from inspect_ai._cli.main import main; main()"


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[str]:
    """The viewer's server on a free port; its address."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVE, "view", "start"]
    server = subprocess.Popen(
        [*command, "--log-dir", str(folder), "--port", str(port)],
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(200):
            try:
                urlopen(address).close()
                break
            except OSError:
                assert server.poll() is None, "the viewer's server ended"
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def shown(tmp_path: Path, chromium: Any) -> Iterator[Callable[[Path, str, str], Any]]:
    """Opens a part of the sample of a name in the only log of a run."""
    logs = tmp_path / "logs"
    with serving(logs, tmp_path) as address:

        def show(run: Path, name: str, tab: str) -> Any:
            # In another process: the browser's event loop runs in this one, and inspect-ai
            # patches asyncio for good where it finds one running.
            command = [sys.executable, "-m", "armbench.cli", "export", str(run)]
            done = subprocess.run([*command, "--to", "inspect", "-o", str(logs)], check=False)
            assert done.returncode in (0, 1)  # 1: a picture is missing
            (path,) = logs.glob("*.eval")
            page = chromium.new_page()
            page.goto(f"{address}#/logs/{quote(path.name)}/samples/sample/{quote(name)}/1/{tab}")
            return page

        yield show


def test_a_zoom_is_seen_with_its_call_pictures_and_verdict(tmp_path: Path, shown: Any) -> None:
    store = ImageStore()
    run = write_run(tmp_path, [zoom_episode(store)], store=store)
    page = shown(run, "zoomed [1,2]", "messages")
    page.locator("img").nth(2).wait_for(timeout=_WAIT_MS)
    sizes = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[400, 300], [320, 300], [320, 300]]
    text = page.inner_text("body")
    for words in ("I look closer.", "bbox_2d: [ 400, 400, 800, 900 ]", "Answer 1 is better"):
        assert words in text
    assert "said too early" not in text


def test_hostile_text_does_not_run_there(tmp_path: Path, shown: Any) -> None:
    page = shown(hostile_run(tmp_path), "<img src=x onerror='window.ran = 2'> 1 [2,1]", "messages")
    page.get_by_text("Answer 1 is better").first.wait_for(timeout=_WAIT_MS)
    assert page.evaluate("window.ran") is None
