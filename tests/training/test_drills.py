"""Drills ask what an episode asks, and are answered as the teacher would."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("reportlab")

from armbench.images import ImageStore
from armbench.tasks.mini.scenes import region_of, scene
from armbench.tools.image import pixel_box, zoomed
from armbench.training.drills import columns, named, same, what, where, which
from armbench.training.sources import Source, Unusable
from armbench.training.teacher import box_around
from armbench.trajectory import Trajectory

SEED = 5


def episodes(source: Source) -> list[Trajectory]:
    return [row[0] for row in source if not isinstance(row, Unusable)]


def test_a_call_is_centred_on_the_object_that_was_asked_for() -> None:
    found = episodes(where(1, SEED))
    made = scene(SEED, 0)
    assert len(found) == len(made.spots) == 40
    for episode, spot in zip(found, made.spots, strict=True):
        assert spot.where in episode.messages[0].text
        call = json.loads(re.findall(r"\{.*\}", episode.last_text)[0])
        left, top, right, bottom = call["arguments"]["bbox_2d"]
        x1, y1, x2, y2 = region_of(spot.box)
        assert abs(left + right - x1 - x2) <= 1
        assert abs(top + bottom - y1 - y2) <= 1


def test_a_box_at_the_edge_stays_inside() -> None:
    left, top, *_ = box_around([0, 0, 4, 4])
    *_, right, bottom = box_around([996, 996, 1000, 1000])
    assert (left, top, right, bottom) == (0, 0, 1000, 1000)


def test_details_are_in_the_picture_that_is_named_after_them() -> None:
    shown = list(what(2, 1 << 20, SEED))
    assert len(shown) == 40 + 24
    assert [value for _, value in shown[:40]] == [spot.value for spot in scene(SEED, 0).spots]
    for picture, _ in shown:
        assert min(picture.size) > 56  # enlarged twofold
        assert len(picture.getcolors(1 << 16) or ()) > 3  # more than a plain plate


def test_details_look_as_the_tool_shows_them(tmp_path: Path) -> None:
    made = scene(SEED, 0)
    made.image.save(tmp_path / "scene.png")
    store = ImageStore()
    picture = store.open(store.add_file(tmp_path / "scene.png"))
    sizes = set()
    for spot, (shown, _) in zip(made.spots[:5], what(1, 1 << 20, SEED), strict=False):
        box = box_around(region_of(spot.box))
        told = {
            zoomed(picture, pixel_box(moved, picture.size)[0], 1 << 20).tobytes()
            for by in product((-1.0, 0.0, 1.0), repeat=4)
            for moved in [[side + one for side, one in zip(box, by, strict=True)]]
        }
        assert shown.tobytes() in told
        sizes.add(shown.size)
    assert len(sizes) > 1


def test_the_language_model_is_shown_the_same_details() -> None:
    found = list(named(1, 1 << 20, SEED))
    for row, (picture, value) in zip(found, what(1, 1 << 20, SEED), strict=True):
        episode, _, store = row
        [part] = episode.messages[0].parts
        assert store.open(part.image).tobytes() == picture.tobytes()
        assert value in episode.last_text


def test_of_things_compared_the_heading_of_the_right_one_is_said_last() -> None:
    answers = set()
    for episode in episodes(same(60, SEED)):
        wanted = episode.messages[0].text.split("\n")[0]
        thought, verdict = episode.last_text.split("</think>")
        last = re.search(rf"\n{re.escape(wanted)}(?:=== Answer ?(\d?) .*===)?\n$", thought)
        assert last
        answers.add(verdict)
        assert ("False" if last[1] is None else last[1] or "True") in verdict
    assert len(answers) == 6  # four answers, True and False


def test_what_is_read_is_among_the_lines_and_answers() -> None:
    found = episodes(which(3, SEED))
    assert len(found) > 20
    for episode in found:
        lines, question = episode.messages[0].text.split("\n\n")
        read = episode.last_text.removeprefix("<think>I read:\n").removesuffix("\n</think>")
        first = read.split("\n")[0]
        assert first in lines
        assert question.endswith("?")
    said = r"^\d{4} (\S+)\nI see:\n\1\n</think>"
    rows = [e for e in found if re.search(said, e.last_text, re.MULTILINE)]
    for episode in rows:
        year = re.findall(r"\b\d{4}\b", episode.messages[0].text)[-1]
        assert f"\n{year} " in episode.last_text
    assert rows


def test_of_a_table_a_row_and_its_years_up_to_the_one_asked_for_are_read() -> None:
    many = set[int]()
    for episode in episodes(columns(40, SEED)):
        head, *rows, _, question = episode.messages[0].text.split("\n")
        [row] = [row for row in rows if f" {row.split(' ')[0]} " in question]
        years, figures = head.split(" ")[1:], row.split(" ")[1:]
        upto = years.index(question[-5:-1]) + 1
        pairs = [f"{year} {figure}" for year, figure in zip(years, figures, strict=True)]
        read = "\n".join([row, *pairs[:upto], "I see:", figures[upto - 1]])
        assert episode.last_text == f"<think>I read:\n{read}\n</think>"
        many.add(len(rows))
    assert {1, 6} <= many


def test_drills_are_the_same_at_each_pass() -> None:
    assert episodes(which(1, SEED)) == episodes(which(1, SEED))
    assert episodes(which(1, SEED)) != episodes(which(1, SEED + 1))
    first, second = ([p.tobytes() for p, _ in what(1, 1 << 20, SEED)] for _ in "12")
    assert first == second
