"""How fast the viewer's page is written, opened and moved about in, in real headless Chromium.

Examples:
    python -m benchmarks.viewer runs/armbench_mini--rules--88c2ffcb
    python -m benchmarks.viewer runs/A --episodes 5000 --keep DIR

The run shown is made by `benchmarks.big_run` out of the given one, with its pictures. Frame
times are those between two animation frames (16.7 ms at 60 a second); a long task is what
Chromium calls one, 50 ms or more of script and layout without a pause. Chromium is the one on
the path, or the one named in ARMBENCH_CHROMIUM.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.big_run import big_run

FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()

# Runs before the page's own script. `shown` holds, for each key pressed, the milliseconds
# until the frame after the one in which another episode stood on the page.
_RECORD = """
window.seen = { ready: 0, frames: [], tasks: [], shown: [], pressed: 0 };
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) seen.tasks.push(task.duration);
}).observe({ entryTypes: ["longtask"] });
const root = new MutationObserver(() => {
  if (document.documentElement.dataset.ready) { seen.ready = performance.now(); root.disconnect(); }
});
root.observe(document, { subtree: true, attributes: true, attributeFilter: ["data-ready"] });
addEventListener("keydown", () => { seen.pressed = performance.now(); }, true);
"""
_WATCH = """() => {
  Object.assign(seen, { frames: [], tasks: [], shown: [] });
  let last = 0;
  const frame = (now) => { if (last) seen.frames.push(now - last); last = now; next(); };
  const next = () => { seen.frame = requestAnimationFrame(frame); };
  next();
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(
    () => seen.shown.push(performance.now() - seen.pressed)))).observe(
    document.querySelector("main"), { childList: true });
}"""
# Waits in the page: its policy forbids what Playwright would wait with.
_SHOWN = """(n) => new Promise((done) => {
  const look = () => (seen.shown.length >= n ? done() : setTimeout(look, 2));
  look();
})"""
_STOP = "() => { cancelAnimationFrame(seen.frame); return seen; }"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a real run directory with pictures")
    parser.add_argument("--episodes", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=100, help="episodes to walk through with j")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave run and page there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        run = big_run(args.run, folder, args.episodes, images=True)
        rows = [*_written(run, folder / "report.html")]
        with _page(folder / "report.html") as page:
            rows += [*_opened(page), *_scrolled(page), *_walked(page, args.steps)]
    print(tabulate(rows, headers=["what", "figure"], colalign=("left", "right")))
    return 0


def _written(run: Path, out: Path) -> Iterator[tuple[str, str]]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "armbench.cli", "view", str(run), "-o", str(out)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    yield "armbench view", f"{time.perf_counter() - start:.1f} s"
    yield "on the page", said.split(": ", 1)[1].splitlines()[0]
    pictures = sum(1 for file in (run / "images").rglob("*") if file.is_file())
    yield "pictures of the run", f"{pictures}"
    yield "file", f"{out.stat().st_size / 1e6:.1f} MB"


@contextmanager
def _page(file: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("ARMBENCH_CHROMIUM") or shutil.which("chromium")
    if not path:
        raise SystemExit("no chromium: install it, or name one in ARMBENCH_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(_RECORD)
        page.goto(file.resolve().as_uri())
        page.wait_for_selector("html[data-ready]")
        yield page
        browser.close()


def _opened(page: Any) -> Iterator[tuple[str, str]]:
    seen = page.evaluate("seen")
    yield "page ready after", f"{seen['ready'] / 1000:.2f} s"
    yield "  longest task", f"{max(seen['tasks'], default=0):.0f} ms"


def _scrolled(page: Any) -> Iterator[tuple[str, str]]:
    """The wheel over the list, ten rows at a time, down and up again."""
    box = page.locator(".list").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 200)
    page.evaluate(_WATCH)
    for way in (1, -1):
        for _ in range(60):
            page.mouse.wheel(0, way * 640)
            page.wait_for_timeout(16)
    yield from _frames("scrolling the list", page.evaluate(_STOP))


def _walked(page: Any, steps: int) -> Iterator[tuple[str, str]]:
    """The key for the next episode, pressed again as soon as the last one is shown."""
    page.evaluate(_WATCH)
    for n in range(1, steps + 1):
        page.keyboard.press("j")
        page.evaluate(_SHOWN, n)
    seen = page.evaluate(_STOP)
    yield from _frames(f"walking {steps} episodes with j", seen)
    shown = seen["shown"]
    middle, most = statistics.median(shown), max(shown)
    yield "  key to episode, median / longest", f"{middle:.0f} / {most:.0f} ms"


def _frames(what: str, seen: dict[str, Any]) -> Iterator[tuple[str, str]]:
    frames = sorted(seen["frames"])
    late = frames[int(len(frames) * 0.99)]
    yield what, f"{len(frames)} frames"
    yield "  frame, median / 99% / longest", f"{_ms(statistics.median(frames), late, frames[-1])}"
    tasks = seen["tasks"]
    yield "  long tasks / longest", f"{len(tasks)} / {max(tasks, default=0):.0f} ms"


def _ms(*values: float) -> str:
    return " / ".join(f"{value:.0f}" for value in values) + " ms"


if __name__ == "__main__":
    sys.exit(main())
