"""What an episode saw of the evidence, from its events alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.evidence import Evidence, overlap, seen
from armbench.trajectory import ToolEvent
from armbench.types import ImagePart, ImageRef, Sample, ToolCall, ToolFailure, ToolResult
from tests.helpers import make_sample

REGION = [500, 500, 700, 750]
PICTURE = ImageRef(sha256="0" * 64, mime="image/png", width=100, height=100)


def pictured(evidence: Any = None, pictures: int = 1) -> Sample:
    meta = {"evidence": {"region": REGION} if evidence is None else evidence}
    return make_sample([PICTURE] * pictures + ["What is it?"], meta=meta)  # type: ignore[arg-type]


def zoom(image: str, box: Any, name: str = "observation_1", error: bool = False) -> ToolEvent:
    return ToolEvent(
        call=ToolCall(id="1", name="image_zoom_in_tool", arguments={"image": image, "bbox": box}),
        result=ToolResult(
            parts=(ImagePart(image=PICTURE, name=name),),
            meta={"image": image, "bbox_2d": box},
            error=ToolFailure(kind="k", message="m") if error else None,
        ),
    )


def pages(*numbers: int) -> ToolEvent:
    made = ToolCall(id="1", name="doc_page_retrieval_by_query", arguments={"query": str(numbers)})
    return ToolEvent(call=made, result=ToolResult(meta={"pages": list(numbers)}))


def check(name: str, **arguments: Any) -> ToolEvent:
    made = ToolCall(id="1", name=name, arguments={"response": "text_0", **arguments})
    return ToolEvent(call=made, result=ToolResult(meta={"check": True}))


def test_a_crop_is_held_against_the_region() -> None:
    found = seen([zoom("original_image", [500, 500, 700, 1000])], pictured())
    (sight,) = found.sights
    assert (sight.picture, sight.box) == ("original_image", (500, 500, 700, 1000))
    assert (sight.iou, sight.coverage, sight.hit) == (0.5, 1.0, True)
    assert (found.share, found.enough) == (1.0, True)


def test_a_crop_of_a_crop_lies_where_it_lies_on_the_original() -> None:
    outer = zoom("original_image", [400, 400, 800, 900])
    inner = zoom("observation_1", [250, 200, 750, 700], "observation_2")
    sights = seen([outer, inner], pictured()).sights
    assert sights[1].picture == "original_image"
    assert sights[1].box == (500, 500, 700, 750)
    assert sights[1].iou == pytest.approx(1.0)


def test_a_crop_of_the_whole_picture_shows_nothing_new() -> None:
    found = seen([zoom("original_image", [0, 0, 1000, 1000])], pictured())
    assert found.sights[0].coverage == 1.0
    assert (found.sights[0].whole, found.sights[0].hit) == (True, False)
    assert (found.share, found.enough) == (0.0, False)


def test_a_glance_at_the_edge_is_not_enough() -> None:
    found = seen([zoom("original_image", [0, 500, 540, 750])], pictured())
    assert found.share == pytest.approx(0.2)
    assert found.enough is False


def test_calls_with_errors_bring_nothing() -> None:
    found = seen([zoom("original_image", REGION, error=True)], pictured())
    assert (found.sights, found.share, found.enough) == ((), 0.0, False)


def test_a_repeated_call_is_marked_even_after_an_error() -> None:
    events = [zoom("original_image", REGION, error=error) for error in (True, False, False)]
    assert [sight.repeated for sight in seen(events, pictured()).sights] == [True, True]


def test_only_the_first_picture_holds_the_region() -> None:
    events = [zoom("original_image_2", REGION), zoom("nowhere", REGION)]
    found = seen(events, pictured(pictures=2))
    assert [(s.picture, s.coverage) for s in found.sights] == [
        ("original_image_2", None),
        ("", None),
    ]
    assert found.enough is False


def test_pages_add_up_over_calls() -> None:
    sample = pictured({"pages": [4, 7]})
    assert seen([pages(1, 4)], sample).share == 0.5
    assert seen([pages(1, 4)], sample).enough is False
    assert seen([pages(1, 4), pages(7)], sample).enough is True


def test_checks_count_with_their_arguments() -> None:
    wanted = [{"tool": "count", "arguments": {"low": 1}}, {"tool": "ends", "arguments": {}}]
    sample = pictured({"checks": wanted})
    found = seen([check("count", low=1), check("count", low=2), check("ends")], sample)
    assert [sight.check for sight in found.sights] == [0, None, 1]
    assert found.enough is True
    assert seen([check("count", low=1)], sample).share == 0.5


def test_an_item_without_evidence_is_neither_seen_nor_missed() -> None:
    found = seen([pages(1)], pictured({}))
    assert (found.share, found.enough) == (None, None)
    assert not Evidence.of(make_sample())


@pytest.mark.parametrize(
    "hostile",
    [
        "text",
        [1, 2],
        {"region": [1, 2, 3]},
        {"region": [5, 5, 5, 9]},
        {"region": ["a", 1, 2, 3]},
        {"region": {"x": 1}},
        {"pages": "4"},
        {"pages": [None, "7"]},
        {"checks": [None, {"tool": "x"}, {"arguments": {}}, {"tool": "x", "arguments": 1}]},
    ],
)
def test_evidence_of_the_wrong_shape_is_no_evidence(hostile: Any) -> None:
    assert not Evidence.of(pictured(hostile))


@pytest.mark.parametrize("box", [None, "x", [1], [9, 9, 1, 1], ["a"] * 4, {}])
def test_results_of_the_wrong_shape_are_no_crops(box: Any) -> None:
    found = seen([zoom("original_image", box)], pictured())
    assert [sight.box for sight in found.sights] == [None]
    assert found.enough is False


corner = st.integers(0, 999)
boxes = st.tuples(corner, corner, st.integers(1, 400), st.integers(1, 400)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_no_larger_than_either(a: Any, b: Any) -> None:
    def area(box: Any) -> float:
        return float((box[2] - box[0]) * (box[3] - box[1]))

    assert overlap(a, b) == overlap(b, a)
    assert 0 <= overlap(a, b) <= min(area(a), area(b))
    assert overlap(a, a) == area(a)
