"""Every section on a small run whose figures are known by construction."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from armbench.cli import main
from armbench.images import ImageStore
from armbench.results.analysis import Analysis, Section, analyze
from armbench.results.analysis_page import write
from armbench.trajectory import ModelEvent, ToolEvent, Trajectory
from armbench.types import Reply, Sample, ToolCall, ToolFailure, ToolResult, ToolSpec
from tests.helpers import answer, make_sample, make_trajectory
from tests.results.viewing import (
    document_episode,
    hostile_episode,
    judged,
    write_run,
    zoom_episode,
)


def with_calls(
    sample: Sample, verdict: int, *errors: str, offered: str = "t"
) -> tuple[Sample, Any]:
    """An episode that calls tool ``t`` once per entry: an error kind, or empty for an answer."""
    events: list[Any] = []
    for number, kind in enumerate(errors):
        failure = ToolFailure(kind=kind, message="m") if kind else None
        made = ToolCall(id=str(number), name="t", arguments={"n": number})
        events += [
            ModelEvent(reply=Reply(text="call"), kept=4, calls=1),
            ToolEvent(call=made, result=ToolResult(error=failure)),
        ]
    said = answer(verdict)
    events.append(ModelEvent(reply=Reply(text=said), kept=len(said)))
    trajectory: Trajectory = make_trajectory(sample, verdict, events=tuple(events))
    specs = (ToolSpec(name="t", description="", parameters={}),)
    return sample, trajectory.model_copy(update={"tools": specs})


def section(analysis: Analysis, key: str) -> Section:
    return next(s for s in analysis.sections if s.key == key)


def cells(analysis: Analysis, key: str) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in section(analysis, key).block.rows}


@pytest.fixture
def called(tmp_path: Path) -> Analysis:
    """Forty items: the twenty that call are right fifteen times, the others five times."""
    episodes = [
        with_calls(make_sample(id=f"c{n}"), 1 if n < 15 else 2, *(("bad", "") if n < 8 else ("",)))
        for n in range(20)
    ] + [with_calls(make_sample(id=f"p{n}"), 1 if n < 5 else 2) for n in range(20)]
    return analyze(write_run(tmp_path, episodes))


def test_calls_and_errors_are_counted(called: Analysis) -> None:
    assert cells(called, "tools")["t"][:4] == ("28", "20", "0.700", "0.714")
    assert cells(called, "errors")["bad"] == ("8", "t", "8", "8")


def test_lift_is_the_difference_between_calling_and_not(called: Analysis) -> None:
    row = cells(called, "lift")["t"]
    assert row[:2] == ("20", "20")
    assert row[4].startswith("+0.500 [+0.2")
    assert row[5] == "40"


def test_lift_needs_both_kinds_of_episodes(tmp_path: Path) -> None:
    always = [with_calls(make_sample(id=f"c{n}"), 1 + n % 2, "") for n in range(20)]
    row = cells(analyze(write_run(tmp_path, always)), "lift")["t"]
    assert row[4:] == ("n/a", "0")


def test_failures_are_grouped_by_what_happened(called: Analysis) -> None:
    rows = section(called, "failures").block.rows
    assert [row[:2] for row in rows] == [("15", "wrong; called no tool"), ("5", "wrong; called t")]
    assert rows[0][2].count("[") == 3


def test_evidence_splits_accuracy(tmp_path: Path) -> None:
    store = ImageStore()
    seen, paged = zoom_episode(store, verdict=2), document_episode(store)
    found = analyze(write_run(tmp_path, [seen, paged, judged(make_sample(id="n"), 1)], store=store))
    rows = section(found, "accuracy_by_evidence").block.rows
    assert [(row[1], row[2], row[3][:5]) for row in rows] == [
        ("seen", "1", "0.000"),
        ("not seen", "1", "1.000"),
        ("none known", "1", "1.000"),
    ]
    looks = {row[0]: row[1] for row in section(found, "evidence").block.rows}
    assert looks["crops on a picture with a known region"] == "2"
    assert looks["… mean recall of the evidence pages"] == "0.250"


def small_runs() -> dict[str, list[tuple[Sample, Trajectory]]]:
    return {
        "one item": [judged(make_sample(), 1)],
        "all unscored": [judged(make_sample(id=f"u{n}"), None) for n in range(3)],
        "unlabelled": [judged(make_sample(gold=None), 1)],
        "hostile": [hostile_episode(n) for n in range(6)],
    }


@pytest.mark.parametrize("kind", list(small_runs()))
def test_little_data_gives_honest_gaps(kind: str, tmp_path: Path) -> None:
    found = analyze(write_run(tmp_path, small_runs()[kind]))
    words = " ".join(cell for s in found.sections for row in s.block.rows for cell in row)
    assert not re.search(r"\b(nan|inf|<NA>)\b", words, re.IGNORECASE)
    files = write(found, tmp_path / "out")
    html = files[0].read_text("utf-8")
    assert "<script" not in html
    assert "window.ran = 1</" not in html
    assert all(file.stat().st_size > 0 for file in files)


def test_equal_runs_give_equal_bytes(called: Analysis, tmp_path: Path) -> None:
    first, second = (write(called, tmp_path / name) for name in "ab")
    assert [a.read_bytes() for a in first] == [b.read_bytes() for b in second]


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path, [judged(make_sample(id=f"i{n}"), 1 + n % 2) for n in range(4)])
    assert main(["analyze", str(run), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "Clusters of failures" in out
    assert (tmp_path / "out" / "analysis.html").is_file()
    assert (tmp_path / "out" / "outcomes.png").read_bytes().startswith(b"\x89PNG")
    assert main(["analyze", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
