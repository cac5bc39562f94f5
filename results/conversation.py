"""An episode as turns of a conversation, whatever form they are exported in.

The turns are what the judge saw and said, in order: what was written after a call and thrown
away is not among them. A call that was run is taken out of the text around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from armbench.dialects import make_dialect
from armbench.evidence import seen
from armbench.score import Record, pick
from armbench.story import Piece, candidates, pieces
from armbench.trajectory import Event, ModelEvent, NoteEvent, ToolEvent, Trajectory
from armbench.types import Message, Part, Reply, TextPart, ToolCall

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        role: Who speaks; armbench's own notes are turns of the user.
        place: Index of the event it comes from; None for the conversation at the start.
        parts: What a system, user or tool turn shows.
        text: What the judge said, letter for letter, but for the calls that could be read and
            were answered.
        reasoning: Reasoning that the server returned apart from the text.
        pieces: The same text taken apart: reasoning, answer, text, and calls that are in it.
        calls: The calls of an assistant turn that were answered, in order; one that could not
            be read (``arguments`` is None) also stands in `text`.
        call: The call that a tool turn answers; only its id is known at the start.
    """

    role: Role
    place: int | None = None
    parts: tuple[Part, ...] = ()
    text: str = ""
    reasoning: str = ""
    pieces: tuple[Piece, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call: ToolCall | None = None


def turns(trajectory: Trajectory) -> Iterator[Turn]:
    """The whole conversation of an episode."""
    for message in trajectory.messages:
        yield _opening(message)
    for place, event in enumerate(trajectory.events):
        if isinstance(event, ModelEvent):
            yield _spoken(event, place, _answered(trajectory.events, place))
        elif isinstance(event, ToolEvent):
            yield Turn("tool", place, event.result.parts, call=event.call)
        elif isinstance(event, NoteEvent):
            yield Turn("user", place, (TextPart(text=event.text),))


def words(piece: Piece) -> str:
    """A piece as it stood in the text: the tags of answers and calls are part of it."""
    text = piece.before + piece.verdict + piece.after
    if piece.kind == "answer":
        return f"<answer>{text}</answer>"
    return f"<tool_call>\n{text}\n</tool_call>" if piece.kind == "call" else text


def _opening(message: Message) -> Turn:
    if message.role == "assistant":
        heard = make_dialect("native", parallel=True).hear(Reply(text="", calls=message.calls), 1)
        said = ModelEvent(reply=Reply(text=message.text), kept=len(message.text))
        return Turn("assistant", text=message.text, pieces=pieces(said), calls=heard.calls)
    call = ToolCall(id=message.call_id) if message.role == "tool" else None
    return Turn(message.role, parts=message.parts, call=call)


def _answered(events: Sequence[Event], place: int) -> tuple[ToolCall, ...]:
    calls = []
    for event in events[place + 1 :]:
        if not isinstance(event, ToolEvent):
            break
        calls.append(event.call)
    return tuple(calls)


def _spoken(event: ModelEvent, place: int, calls: tuple[ToolCall, ...]) -> Turn:
    text = event.reply.text[: event.kept]
    for call in reversed(calls):  # what stands before the last is what is searched for the others
        text = _unreadable(text, call) if call.arguments is None else _without(text, call)
    rest = event.model_copy(
        update={"reply": event.reply.model_copy(update={"text": text}), "kept": len(text)}
    )
    return Turn(
        role="assistant",
        place=place,
        text=text.strip(),
        reasoning=event.reply.reasoning,
        pieces=pieces(rest),
        calls=calls,
    )


def _without(text: str, call: ToolCall) -> str:
    """Cut a call; the last one like it, since the thoughts before may quote it."""
    tagged = re.compile(rf"<tool_call>\s*{re.escape(call.raw)}\s*</tool_call>")
    found = list(tagged.finditer(text)) if call.raw else []
    return text[: found[-1].start()] + text[found[-1].end() :] if found else text


def _unreadable(text: str, call: ToolCall) -> str:
    """A server's own calls stand beside the text; one that is no call is at least shown."""
    return text if call.raw in text else f"{text}\n{call.raw}".strip()


def facts(record: Record) -> dict[str, Any]:
    """What an episode is and what it counts as, for exports that keep such things apart.

    Candidates are numbered as in the data set; ``shown`` and ``gold_shown`` are places in the
    order that the judge saw.
    """
    t, sample = record.trajectory, record.sample
    found, picked = seen(t.events, sample), pick(t, sample)
    return {
        "task": t.task,
        "sample_id": t.sample_id,
        "item": sample.hash,
        "mode": sample.mode,
        "format": sample.format,
        "category": sample.category,
        "cluster": sample.cluster,
        "order": [n + 1 for n in t.order],
        "repeat": t.repeat,
        "seed": t.seed,
        "model": t.model,
        "dialect": t.dialect,
        "gold": sample.gold,
        "verdict": t.judgement.verdict if picked is None else picked.chosen,
        "gold_shown": next((c.shown for c in candidates(sample, t) if c.gold), None),
        "shown": None if picked is None else picked.shown,
        "counted_as": record.score.counted_as,
        "parse": t.judgement.parse,
        "detail": t.judgement.detail,
        "stop": t.stop.reason,
        "stop_detail": t.stop.detail,
        "failures": [failure.model_dump() for failure in t.failures],
        "evidence_share": found.share,
        "evidence_seen": found.enough,
        "meta": sample.meta,
    }
