"""Metrics on disk and on the console, and their curves."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from armbench.errors import ConfigError
from armbench.training import curves
from armbench.training.books import Books, read_metrics
from armbench.training.curves import Panel, draw_curves


def keep(out: Path, steps: range, total: int = 6, every: int = 2) -> None:
    books = Books(out, ("loss",), every)
    books.begin(steps.start - 1, total)
    for step in steps:
        books.write({"step": step, "loss": 1 / step})
    books.end()


def test_a_line_for_each_step(tmp_path: Path) -> None:
    keep(tmp_path, range(1, 7))
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [
        {"step": step, "loss": 1 / step} for step in range(1, 7)
    ]


def test_going_on_cuts_what_comes_after_and_a_torn_line(tmp_path: Path) -> None:
    keep(tmp_path, range(1, 5))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    keep(tmp_path, range(3, 7))
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_the_console_gets_means_now_and_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, range(1, 4), total=3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["step 2/3", "loss 0.75"],
        ["step 3/3", "loss 0.3333"],
    ]


def test_a_terminal_gets_a_bar_and_foreign_text_stays_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    books = Books(tmp_path, ("loss",), 1)
    books.begin(0, 2)
    books.write({"step": 1, "loss": 0.5})
    books.say("[bold]as it is[/bold]")
    books.end()
    assert "[bold]as it is[/bold]" in screen.getvalue()
    assert "step 1/2" in screen.getvalue()


def test_equal_metrics_give_equal_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 100)]
    panels = [Panel("loss", {"loss": "loss"}), Panel("absent", {"a": "a", "b": "b"}, (0, 1))]
    picture = draw_curves(rows, panels, "A $title$ with [marks]")
    assert picture == draw_curves(json.loads(json.dumps(rows)), panels, "A $title$ with [marks]")
    assert picture != draw_curves(rows[:50], panels, "A $title$ with [marks]")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'armbench\[results\]'"):
        draw_curves([], [], "")
