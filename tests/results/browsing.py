"""A real Chromium for tests of pages, and what went on in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none.

    Not for longer than a module: as long as it is open, an event loop runs in this thread.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install it")
    path = os.environ.get("ARMBENCH_CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("no chromium: install it, or name one in ARMBENCH_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, and everything it asked for or complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def box(self, selector: str) -> dict[str, float]:
        found: dict[str, float] = self.page.locator(selector).first.bounding_box()
        return found

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wider


@contextmanager
def visit(
    browser: Any, file: Path, fragment: str = "", width: int = 1280, scheme: str = "light"
) -> Iterator[Visit]:
    """Open a page from its file and wait until it says that it is ready.

    Afterwards it must have asked for nothing and complained of nothing.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    seen = Visit(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            seen.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    try:
        page.goto(f"{file.as_uri()}#{fragment}")
        page.wait_for_selector("html[data-ready]")
        yield seen
        outside = [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert not outside
        assert not seen.complaints
    finally:
        context.close()
