"""The viewer in a real browser: what a log full of markup and code cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.results.browsing import visit
from tests.results.viewing import PAYLOADS, hostile_run


@pytest.mark.parametrize("width", [1280, 360])
def test_hostile_text_neither_runs_nor_asks_nor_breaks_the_layout(pages, chromium, width):
    file = pages("hostile", lambda parent: [hostile_run(parent)])
    with visit(chromium, file, width=width) as seen:
        scripts = seen.count("script")
        seen.page.evaluate("location.hash = 'view=run'")
        seen.page.wait_for_selector(".run-card")
        check_inert(seen, scripts)
        for _ in PAYLOADS:
            seen.page.keyboard.press("j")
            seen.page.wait_for_selector(".episode")
            check_inert(seen, scripts)
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("<script>")
        seen.page.wait_for_selector("text=13 episodes")
        check_inert(seen, scripts)


def check_inert(seen: Any, scripts: int) -> None:
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    seen.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 20)))")
    assert seen.page.evaluate("typeof window.ran") == "undefined"
    assert seen.count("script") == scripts
    made = "iframe, base, link, form, object, embed, meta[http-equiv=refresh], [onerror], [onload]"
    assert seen.count(made) == 0
    links = seen.page.evaluate(
        "[...document.querySelectorAll('[href]')].map(a => a.getAttribute('href'))"
    )
    assert all(link.startswith("#") for link in links)
    assert seen.overflow() <= 0
    top = seen.box(".top")
    assert (top["x"], top["y"], top["height"]) == (0, 0, 48)


def test_controls_of_direction_and_terminal_are_named(pages, chromium):
    file = pages("hostile", lambda parent: [hostile_run(parent)])
    with visit(chromium, file, "view=run") as seen:
        named = set(seen.page.locator(".unseen").all_inner_texts())
        assert {"U+202E", "U+2066", "U+001B", "U+0000", "U+E0041"} <= named
        assert "\u202e" not in seen.page.evaluate(
            "document.body.textContent.replace(/^.*?\\{.*$/gm, '')"
        )


INTRUSIONS = [
    "document.body.innerHTML = '<img src=x onerror=window.ran=1>'",
    "setTimeout('window.ran = 2')",
    "document.body.append("
    "Object.assign(document.createElement('script'), {text: 'window.ran = 3'}))",
    "document.body.setAttribute('onclick', 'window.ran = 4')",
    "document.body.click()",
    "document.body.append("
    "Object.assign(document.createElement('iframe'), {src: 'https://x.test/'}))",
    "document.body.append(Object.assign(new Image(), {src: 'https://x.test/'}))",
    "fetch('https://x.test/')",
]


@pytest.mark.parametrize("intrusion", INTRUSIONS)
def test_code_and_elements_that_got_in_would_be_stopped(mixed, open_page, intrusion):
    """The page's policy holds even if its own script were to fail."""
    stopped = []
    open_page.on("requestfailed", lambda request: stopped.append(request.failure))
    with_answer = []
    open_page.on("response", lambda response: with_answer.append(response.url))
    open_page.evaluate(f"async () => {{ try {{ await ({intrusion}) }} catch {{ }} }}")
    open_page.wait_for_timeout(30)
    assert open_page.evaluate("typeof window.ran") == "undefined"
    assert set(stopped) <= {"csp"}
    assert not with_answer


@pytest.fixture(scope="module")
def open_page(mixed: Path, chromium: Any) -> Iterator[Any]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(mixed.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()
