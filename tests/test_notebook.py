"""A trajectory in a notebook: the same story as in the terminal, as HTML that does nothing."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.images import ImageStore
from armbench.trajectory import (
    Failure,
    ModelEvent,
    NoteEvent,
    Score,
    StopEvent,
    Timing,
    ToolEvent,
    Trajectory,
)
from armbench.types import Message, Reply, TextPart, ToolCall, ToolFailure, ToolResult
from tests.helpers import make_sample, make_trajectory
from tests.results.viewing import PAYLOADS, document_episode, hostile_episode, zoom_episode

INERT = {"div", "p", "b", "br", "small", "u", "span", "details", "summary"}


class Page(HTMLParser):
    """The elements, attributes and text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles |= {value or "" for name, value in attrs if name == "style"}

    def handle_data(self, data: str) -> None:
        self.text += data


def page(trajectory: Trajectory) -> Page:
    return Page(trajectory._repr_html_())


def in_order(text: str, *words: str) -> bool:
    at = -1
    for word in words:
        at = text.find(word, at + 1)
        if at < 0:
            return False
    return True


def test_an_episode_with_crops_is_told_turn_by_turn() -> None:
    _, trajectory = zoom_episode(ImageStore())
    text = page(trajectory).text
    assert in_order(
        text,
        "zoomed",
        "verdict: 1",
        "What is in the corner?",
        "judge",
        "I look closer.",
        "dropped: written after the call",
        "said too early",
        "tool image_zoom_in_tool",
        '{"image": "original_image", "bbox_2d": [400, 400, 800, 900]}',
        "[picture observation_1 ",
        "tool image_zoom_in_tool (error: unknown_image)",
        "Overall Judgment: Answer 1 is better",
        "stop: answered",
        "tokens in",
    )


def test_the_words_read_as_the_verdict_are_underlined() -> None:
    _, trajectory = zoom_episode(ImageStore())
    assert "<u>Answer 1</u>" in trajectory._repr_html_()


def test_pages_are_named_and_no_picture_is_carried() -> None:
    _, trajectory = document_episode(ImageStore())
    told = page(trajectory)
    assert "[picture observation_1 400x280" in told.text
    assert "img" not in told.tags


def test_what_it_counts_as_stands_at_the_head() -> None:
    trajectory = make_trajectory(make_sample(), 1)
    score = Score(metric="accuracy", value=0.0, counted_as="wrong")
    scored = trajectory.model_copy(update={"scores": (score,)})
    assert "wrong" not in trajectory._repr_html_()
    assert '<b style="color:#cf222e">wrong</b>' in scored._repr_html_()


def test_why_there_is_no_verdict_is_said() -> None:
    assert "verdict: missing" in page(make_trajectory(make_sample())).text


def test_notes_failures_and_times_are_told() -> None:
    note = NoteEvent(reason="unparsable", text="Write it again.")
    trajectory = make_trajectory(make_sample(), events=(note,)).model_copy(
        update={
            "failures": (Failure(boundary="provider", type="http_500", message="down"),),
            "timing": Timing(seconds=2.5, model_seconds=2.0, tool_seconds=0.5),
        }
    )
    text = page(trajectory).text
    assert in_order(
        text,
        "note: unparsable",
        "Write it again.",
        "provider: http_500: down",
        "2.50 s (2.00 s judge, 0.50 s tools)",
    )


@pytest.mark.parametrize("n", range(len(PAYLOADS)))
def test_a_hostile_episode_brings_no_element_and_no_attribute_of_its_own(n: int) -> None:
    told = page(hostile_episode(n)[1])
    assert told.tags <= INERT
    assert told.attributes <= {"style"}
    assert "<script>window.ran = 1</script>" in told.text
    assert "\u202e" not in told.text
    assert "⟨U+202E⟩" in told.text


@given(st.one_of(st.text(), st.text(alphabet="<>&\"'$/!-` =scriptdvol\n\u202e\x1b")))
def test_no_text_anywhere_adds_an_element_or_a_style(text: str) -> None:
    empty, filled = page(told_everywhere("")), page(told_everywhere(text))
    assert filled.tags <= empty.tags | {"div", "span"}
    assert filled.attributes <= {"style"}
    assert filled.styles <= STYLES


def told_everywhere(text: str) -> Trajectory:
    """An episode that holds a text wherever there can be one."""
    failed = ToolFailure(kind=text, message=text)
    result = ToolResult(parts=(TextPart(text=text),), error=failed)
    return Trajectory(
        sample_id=text,
        sample_hash="",
        task=text,
        order=(0, 1),
        model=text,
        messages=(Message(role="user", parts=(TextPart(text=text),)),),
        events=(
            ModelEvent(reply=Reply(text=text, reasoning=text, refusal=text), kept=len(text) // 2),
            ToolEvent(call=ToolCall(id="", name=text, arguments={text: text}), result=result),
            ToolEvent(call=ToolCall(id="", raw=text, parse_error=text), result=result),
            NoteEvent(reason=text, text=text),
            StopEvent(reason="answered", detail=text),
        ),
        judgement=make_trajectory(make_sample(), 1).judgement,
        failures=(Failure(boundary="tool", type=text, message=text),),
    )


STYLES = page(
    told_everywhere("<think>a</think><answer>b</answer><tool_call>c</tool_call>" * 2)
).styles


def test_dollars_are_kept_from_being_typeset_as_formulas() -> None:
    html = told_everywhere("costs $1 or $2")._repr_html_()
    assert "$1" not in html.replace("<span>$</span>", "")
    assert "costs $1 or $2" in Page(html).text


def test_a_text_of_a_million_letters_is_cut_and_the_cut_is_said() -> None:
    html = told_everywhere("W" * 1_000_000)._repr_html_()
    assert len(html) < 200_000
    assert "[… 996000 more characters]" in html
