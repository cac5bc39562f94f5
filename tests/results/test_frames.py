"""Frames say what the log says, and NA for what it does not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from armbench.errors import ConfigError
from armbench.evaluate import rescore
from armbench.images import ImageStore
from armbench.results.frames import CALLS, EPISODES, EVENTS, Frames, read_frames
from armbench.results.runs import anchor
from armbench.runlog import RunDir
from tests.helpers import make_sample
from tests.results.viewing import document_episode, judged, write_run, zoom_episode


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    store = ImageStore()
    single = make_sample(id="single", mode="single", task="other")
    episodes = [
        zoom_episode(store),
        document_episode(store),
        judged(make_sample(id="swapped", candidates=("long one", "b"), gold=2), 1, order=(1, 0)),
        judged(single, None),
    ]
    return read_frames(write_run(tmp_path, episodes, store=store))


def row(frame: pd.DataFrame, sample: str, number: int = 0) -> pd.Series:
    found: pd.Series = frame[frame.sample_id == sample].iloc[number]
    return found


def test_columns_and_types_are_as_documented(frames: Frames) -> None:
    for frame, columns in zip(
        (frames.episodes, frames.events, frames.calls), (EPISODES, EVENTS, CALLS), strict=True
    ):
        assert list(frame.columns) == list(columns)
        assert [str(kind) for kind in frame.dtypes] == [kind for kind, _ in columns.values()]


def test_an_episode_in_the_order_it_was_shown(frames: Frames) -> None:
    swapped = row(frames.episodes, "swapped")
    assert swapped.order == "2,1"
    assert (swapped.shown, swapped.verdict, swapped.gold, swapped.gold_shown) == (1, "2", "2", 1)
    assert (swapped.length_first, swapped.length_second) == (1, len("long one"))
    assert (swapped.counted_as, swapped.correct) == ("correct", 1.0)
    assert swapped.anchor == anchor("toy", "swapped", 0, (1, 0))


def test_unscored_counts_by_policy_and_keeps_its_name(frames: Frames) -> None:
    single = row(frames.episodes, "single")
    assert (single.counted_as, single.correct, single.chance) == ("missing", 0.0, 0.5)
    for name in ("shown", "gold_shown", "length_first", "verdict", "confidence", "evidence_seen"):
        assert pd.isna(single[name]), name


def test_accuracies_are_those_of_the_report(frames: Frames, tmp_path: Path) -> None:
    (run,) = tmp_path.glob("toy--*")
    report = rescore(run).report
    by_task = frames.episodes.groupby("task").correct.mean()
    assert {task: figures.overall.accuracy for task, figures in report.tasks.items()} == dict(
        by_task
    )


def test_zooms_are_placed_on_the_original(frames: Frames) -> None:
    calls = frames.calls[frames.calls.sample_id == "zoomed"]
    assert list(calls.call) == [1, 2, 3]
    assert list(calls.error == "") == [True, True, False]
    assert calls.iloc[1].iou == pytest.approx(1.0)
    assert list(calls.hit[:2]) == [True, True]
    assert pd.isna(calls.iloc[2].coverage)
    assert row(frames.episodes, "zoomed").evidence == "region"
    assert bool(row(frames.episodes, "zoomed").evidence_seen)


def test_pages_have_recall_and_rank(frames: Frames) -> None:
    first, second = row(frames.calls, "paged"), row(frames.calls, "paged", 1)
    assert (first.pages, first.page_recall, first.page_rank) == (2, 0.5, 1)
    assert (second.page_recall, bool(pd.isna(second.page_rank))) == (0.0, True)
    assert row(frames.episodes, "paged").evidence_share == 0.5


def test_events_follow_the_trajectory(frames: Frames) -> None:
    events = frames.events[frames.events.sample_id == "zoomed"]
    kinds = ["model", "tool", "model", "tool", "model", "tool", "model", "stop"]
    assert list(events.kind) == kinds
    assert list(events.turn) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert list(events.pictures.dropna()) == [1, 1, 0]
    assert events.iloc[-1]["name"] == "answered"
    assert events.seconds.notna().all()  # made by the loop itself, which books its waits


def test_frames_of_a_run_without_calls_keep_their_types(tmp_path: Path) -> None:
    found = read_frames(write_run(tmp_path, [judged(make_sample(), 1)]))
    assert found.calls.empty
    assert [str(kind) for kind in found.calls.dtypes] == [kind for kind, _ in CALLS.values()]


def test_a_run_without_episodes_is_named(tmp_path: Path) -> None:
    empty = RunDir.create(tmp_path, "empty", {"tasks": {}})
    empty.close()
    with pytest.raises(ConfigError, match="no finished episode"):
        read_frames(empty.path)
