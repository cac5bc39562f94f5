"""Charts are whole pictures, equal for equal data, whatever names they carry."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from armbench.results.analysis import Bars, Points
from armbench.results.plots import draw
from tests.results.viewing import HOSTILE

BARS = Bars("episodes", ("one", "two"), {"correct": (3.0, 0.0), "wrong": (1.0, 2.0)})
POINTS = Points("accuracy", ("a", "b"), (0.5, 1.0), (0.25, 0.75), (0.75, 1.0))


@pytest.mark.parametrize("chart", [BARS, POINTS], ids=["bars", "points"])
def test_a_chart_is_a_picture_and_always_the_same(chart: Bars | Points) -> None:
    drawn = draw(chart, "Title")
    with Image.open(BytesIO(drawn)) as picture:
        picture.load()
        assert picture.width == 1200
        assert len(picture.convert("L").getcolors()) > 10
    assert draw(chart, "Title") == drawn


@pytest.mark.parametrize("name", ["$x^2", "a_b$c$", HOSTILE, "", "名前"])
def test_names_are_drawn_as_they_are(name: str) -> None:
    assert draw(Bars("n", (name,), {name: (1.0,), "other": (2.0,)}), name)[:4] == b"\x89PNG"


def test_more_rows_make_a_taller_picture() -> None:
    tall = Bars("n", tuple(map(str, range(30))), {"n": (1.0,) * 30})
    with Image.open(BytesIO(draw(tall, "t"))) as high, Image.open(BytesIO(draw(BARS, "t"))) as low:
        assert high.height > 2 * low.height
