"""An episode in the terminal: everything is told, and text of the log moves nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from armbench.cli import main
from armbench.errors import ConfigError
from armbench.images import ImageStore
from armbench.runlog import RunDir
from armbench.show import show_run, show_sample
from armbench.trajectory import Failure, NoteEvent, Timing
from tests.helpers import make_sample, make_trajectory
from tests.results.viewing import (
    PAYLOADS,
    document_episode,
    hostile_run,
    judged,
    write_run,
    zoom_episode,
)

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff]")
WIDTHS = (80, 120)


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def shown(capsys: pytest.CaptureFixture[str], run: Path, sample_id: str) -> str:
    show_sample(run, sample_id)
    return capsys.readouterr().out


def unbroken(text: str) -> str:
    """Text without the frames and line ends the terminal's width put into it."""
    return " ".join(re.sub("[│─╭╮╰╯━]", " ", text).split())


def test_an_episode_with_crops_is_told_turn_by_turn(tmp_path, capsys, width):
    store = ImageStore()
    run = write_run(tmp_path, [zoom_episode(store)], store=store)
    text = shown(capsys, run, "zoomed")
    told = unbroken(text)
    in_order = [
        "What is in the corner?",
        "answers in the order shown",
        "I look closer.",
        "[dropped: written after the call] said too early",
        "tool image_zoom_in_tool",
        '{"image": "original_image", "bbox_2d": [400, 400, 800, 900]}',
        "evidence: hit; covers 100% of the region",
        "tool image_zoom_in_tool (error: unknown_image)",
        "Overall Judgment: Answer 1 is better",
        "stop: answered",
        "verdict Answer 1 (no. 1 in the data set); gold Answer 1 (no. 1 in the data set); "
        "counted as correct; evidence seen 100%",
    ]
    places = [told.find(words) for words in in_order]
    assert -1 not in places
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= width


def test_the_evidence_a_call_brought_is_never_cut_to_the_width(tmp_path, capsys, width):
    store = ImageStore()
    pages = list(range(101, 125))
    run = write_run(tmp_path, [document_episode(store, shown=(pages, [4]))], store=store)
    told = unbroken(shown(capsys, run, "paged"))
    assert f"pages {', '.join(map(str, pages))}; evidence: miss of pages 4, 7" in told
    assert "pages 4; evidence: hit (4) of pages 4, 7" in told
    assert "evidence seen 50%" in told


def test_answers_are_marked_in_the_order_shown_for_every_order(tmp_path, capsys):
    sample = make_sample(id="twice", candidates=("good", "bad"))
    orders = [judged(sample, 1, order=order) for order in ((0, 1), (1, 0))]
    first, second = shown(capsys, write_run(tmp_path, orders), "twice").split("━━━ twice")[1:]
    assert re.search(r"1 │ 1 +│ gold verdict +│ good", first)
    assert "counted as correct" in first
    assert re.search(r"1 │ 2 +│ verdict +│ bad", second)
    assert re.search(r"2 │ 1 +│ gold +│ good", second)
    assert "counted as wrong" in second


def test_notes_failures_and_waits_are_told(tmp_path, capsys):
    sample = make_sample(id="bad day")
    note = NoteEvent(reason="unparsable", text="Write it again.")
    trajectory = make_trajectory(sample, events=(note,)).model_copy(
        update={
            "failures": (Failure(boundary="provider", type="http_500", message="down", attempt=3),),
            "timing": Timing(seconds=2.5, model_seconds=2.0, tool_seconds=0.5),
        }
    )
    told = unbroken(shown(capsys, write_run(tmp_path, [(sample, trajectory)]), "bad day"))
    assert "note: unparsable" in told
    assert "Write it again." in told
    assert "failure of provider: http_500: down (3 attempts)" in told
    assert "2.50 s (2.00 s judge, 0.50 s tools)" in told
    assert "verdict none (" in told


def test_an_item_that_is_not_there_is_an_error_that_names_the_way_on(tmp_path, capsys):
    run = write_run(tmp_path, [judged(make_sample(), 1)])
    with pytest.raises(ConfigError, match="no episode of 'nothing'"):
        show_sample(run, "nothing")
    assert main(["show", str(run), "nothing"]) == 2
    assert "no episode of 'nothing'" in capsys.readouterr().err


def test_the_list_of_a_run_names_every_episode(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    sample = make_sample(id="item-7")
    show_run(write_run(tmp_path, [judged(sample, 1), judged(sample, None, order=(1, 0))]))
    text = capsys.readouterr().out
    assert re.search(r"item-7 +│ 1,2 +│ 0 +│ correct", text)
    assert re.search(r"item-7 +│ 2,1 +│ 0 +│ missing", text)


def test_control_characters_and_markup_of_a_log_are_shown_and_not_acted_upon(
    tmp_path, capsys, width
):
    run = hostile_run(tmp_path)
    show_run(run)
    listed = capsys.readouterr().out
    samples = list(RunDir(run).samples())
    assert len(samples) == len(PAYLOADS)
    for sample in samples:
        if len(sample.candidates[0]) < 10_000:  # one answer is a million letters long
            show_sample(run, sample.id)
    told = listed + capsys.readouterr().out
    assert not ACTING.search(told)
    assert {"⟨U+202E⟩", "⟨U+001B⟩"} <= set(re.findall(r"⟨U\+[0-9A-F]+⟩", told))
    assert "<script>window.ran = 1</script>" in told


def test_brackets_in_text_are_not_markup_of_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    name, text = "[bold]x[/bold]", "[/] [link=https://x.test]one[/link] [red]red[/red]"
    sample = make_sample(id=name, candidates=(text, "b"))
    run = write_run(tmp_path, [judged(sample, 1)])
    show_run(run)
    assert name in capsys.readouterr().out
    told = shown(capsys, run, name)
    assert name in told
    assert text in told
