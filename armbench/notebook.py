"""A trajectory in a notebook: still HTML, no script, no pictures' bytes, every text escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from html import escape

from armbench.score import UNSCORED
from armbench.story import PieceKind, last_turn, pieces, plain, visible
from armbench.trajectory import Event, ModelEvent, NoteEvent, ToolEvent, Trajectory
from armbench.types import Part, TextPart

_MOST = 4000
"""Characters of one text that are shown; a notebook keeps its output in its file."""
_MOST_OF_NAME = 200

# Colours that can be read on light and dark notebooks alike.
_TONES = {"correct": "#1a7f37", "wrong": "#cf222e"} | dict.fromkeys(UNSCORED, "#9a6700")
_PIECES: dict[PieceKind, str] = {
    "text": "",
    "reasoning": "opacity:.75;font-style:italic",
    "call": "font-family:monospace;font-size:90%",
    "answer": "font-weight:600",
    "dropped": "text-decoration:line-through;opacity:.6",
}
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;contain:paint"
_STEP = "margin:6px 0;padding:2px 0 2px 10px;border-left:3px solid rgba(128,128,128,.5)"


def to_html(trajectory: Trajectory) -> str:
    """What Jupyter shows for a trajectory: head, prompt (folded), every event, what it cost."""
    t = trajectory
    parts = [
        _head(t),
        _folded("prompt", (_titled(m.role, _parts(m.parts)) for m in t.messages)),
        *(_event(t, n, event) for n, event in enumerate(t.events)),
        *(
            _step("failure", _text(f"{f.boundary}: {f.type}: {f.message}", "color:#cf222e"))
            for f in t.failures
        ),
        f"<p>{t.usage.input_tokens} tokens in, {t.usage.output_tokens} out; "
        f"{t.timing.seconds:.2f} s ({t.timing.model_seconds:.2f} s judge, "
        f"{t.timing.tool_seconds:.2f} s tools)</p>",
    ]
    return f'<div style="max-width:60em;line-height:1.45">{"".join(parts)}</div>'


def _head(t: Trajectory) -> str:
    order = ", ".join(str(n + 1) for n in t.order)
    facts = [t.task, f"order {order}" if len(t.order) > 1 else "", f"repeat {t.repeat}", t.model]
    facts_shown = " · ".join(_name(fact) for fact in facts if fact)
    judgement = t.judgement
    verdict = judgement.detail or judgement.parse
    if judgement.verdict is not None:
        verdict = plain(judgement.verdict)
    counted = "".join(
        f' <b style="color:{_TONES.get(score.counted_as, "inherit")}">{score.counted_as}</b>'
        for score in t.scores
    )
    return (
        f"<p><b>{_name(t.sample_id)}</b>{counted}<br>{facts_shown}<br>verdict: {_name(verdict)}</p>"
    )


def _event(t: Trajectory, index: int, event: Event) -> str:
    if isinstance(event, ModelEvent):
        span = t.judgement.span if index == last_turn(t.events) else None
        return _step("judge", *_said(event, span))
    if isinstance(event, ToolEvent):
        call = event.call
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        written = call.raw if call.arguments is None else arguments
        title = f"tool {call.name}"
        if event.result.error:
            title += f" (error: {event.result.error.kind})"
        return _step(title, _text(written, _PIECES["call"]), _parts(event.result.parts))
    if isinstance(event, NoteEvent):
        return _step(f"note: {event.reason}", _text(event.text))
    return _step(f"stop: {event.reason}", _text(event.detail))


def _said(event: ModelEvent, span: tuple[int, int] | None) -> Iterator[str]:
    if event.reply.reasoning:
        yield _text(event.reply.reasoning, _PIECES["reasoning"])
    for kind, before, verdict, after in pieces(event, span):
        label = "<small>dropped: written after the call</small>" if kind == "dropped" else ""
        marked = f"<u>{_inline(verdict)}</u>" if verdict else ""
        yield label + _block(_short(before) + marked + _short(after), _PIECES[kind])
    if event.reply.refusal:
        yield _text(event.reply.refusal, "color:#cf222e")


def _step(title: str, *blocks: str) -> str:
    return f'<div style="{_STEP}"><small><b>{_name(title)}</b></small>{"".join(blocks)}</div>'


def _titled(title: str, block: str) -> str:
    return f"<small><b>{_inline(title)}</b></small>{block}"


def _folded(title: str, blocks: Iterable[str]) -> str:
    return f"<details><summary>{title}</summary>{''.join(blocks)}</details>"


def _parts(parts: tuple[Part, ...]) -> str:
    return "".join(map(_part, parts))


def _part(part: Part) -> str:
    if isinstance(part, TextPart):
        return _text(part.text)
    ref = part.image
    return _text(f"[picture {part.name} {ref.width}x{ref.height} {ref.sha256[:12]}]", "opacity:.75")


def _text(text: str, style: str = "") -> str:
    return _block(_short(text), style) if text else ""


def _block(html: str, style: str) -> str:
    return f'<div style="{_TEXT};{style}">{html}</div>'


def _name(text: str) -> str:
    return _short(text, _MOST_OF_NAME)


def _short(text: str, most: int = _MOST) -> str:
    more = len(text) - most
    return _inline(text if more <= 0 else f"{text[:most]} [… {more} more characters]")


def _inline(text: str) -> str:
    # Notebooks typeset what stands between dollar signs.
    return escape(visible(text)).replace("$", "<span>$</span>")
