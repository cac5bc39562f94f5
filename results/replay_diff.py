"""What differs between an episode as logged and as it comes out now, in short words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from PIL import ImageChops

from armbench.errors import ImageError
from armbench.images import ImageStore
from armbench.trajectory import Event, NoteEvent, StopEvent, ToolEvent, Trajectory
from armbench.types import ImagePart, ImageRef, Message, TextPart, ToolCall, ToolResult

Kind = Literal["picture", "text", "error", "meta", "call", "prompt", "turns"]

_SHOWN = 100
_BEFORE = 24
"""Characters of a value that are shown, and how many of them stand before the difference."""
_WEATHER = ("error", "context", "max_seconds")
"""Stops that come from a server or a clock and not from what was written."""


class Difference(NamedTuple):
    """One thing that is not as logged."""

    kind: Kind
    logged: str
    now: str


class Same:
    """Whether pictures are the same: by hash, else pixel for pixel.

    Equal pixels under another hash mean another encoder (a library's version).

    Args:
        store: Where the pictures of the log and the new ones are.
    """

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self.recoded: dict[str, str] = {}
        """Hashes of new pictures that hold the logged one's pixels, and the logged hash."""

    def __call__(self, logged: ImageRef, now: ImageRef) -> str:
        """Nothing if they are the same, else how they differ."""
        if logged.sha256 == self.recoded.get(now.sha256, now.sha256):
            return ""
        if (logged.width, logged.height) != (now.width, now.height):
            return "another size"
        try:
            old, new = self._store.open(logged), self._store.open(now)
        except ImageError as error:
            return f"cannot be compared: {error}"
        if old.size != new.size:
            return "another size"
        apart = ImageChops.difference(old, new)
        if apart.getbbox() is None:
            self.recoded[now.sha256] = logged.sha256
            return ""
        red, green, blue = apart.split()
        most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
        counts = most.histogram()
        largest = max(value for value, count in enumerate(counts) if count)
        share = f"{sum(counts[1:])} of {old.width * old.height} pixels"
        return f"{share} differ, by at most {largest} of 255"


def tool_events(trajectory: Trajectory) -> list[ToolEvent]:
    """The calls of an episode with their results."""
    return [event for event in trajectory.events if isinstance(event, ToolEvent)]


def result_differences(
    logged: ToolEvent | None, now: ToolEvent | None, same: Same
) -> Iterator[Difference]:
    """How a call and its result differ from the log; nothing if they do not."""
    if logged is None or now is None or logged.call != now.call:
        old, new = (call_text(event.call) if event else "none" for event in (logged, now))
        yield Difference("call", *_apart(old, new))
        return
    old_error, new_error = (_error(event.result) for event in (logged, now))
    if old_error != new_error:
        yield Difference("error", old_error, new_error)
    yield from _pictures(pictures_of(logged), pictures_of(now), same)
    texts = [(_text(event.result), event.result.truncated) for event in (logged, now)]
    if texts[0] != texts[1]:
        yield Difference("text", *_apart(*(text + " (cut)" * cut for text, cut in texts)))
    metas = [event.result.model_dump(mode="json")["meta"] for event in (logged, now)]
    old_meta, new_meta = metas[0], _renamed(metas[1], same.recoded)
    if old_meta != new_meta:
        yield Difference("meta", *_apart(_json(old_meta), _json(new_meta)))


def rest_differences(logged: Trajectory, now: Trajectory) -> Iterator[Difference]:
    """How the prompt and the turns differ from the log."""
    if (logged.messages, logged.tools) != (now.messages, now.tools):
        tools = [", ".join(tool.name for tool in t.tools) for t in (logged, now)]
        old, new = (_prompt(t.messages) for t in (logged, now))
        if old != new:
            yield Difference("prompt", *_apart(old, new))
        else:
            yield Difference("prompt", *_apart(f"tools: {tools[0]}", f"tools: {tools[1]}"))
    for old_turn, new_turn in zip_longest(_turns(logged), _turns(now), fillvalue="none"):
        if old_turn != new_turn:
            yield Difference("turns", *_apart(old_turn, new_turn))
            return


def pictures_of(event: ToolEvent | None) -> list[ImageRef]:
    """The pictures that a call gave; none of no call."""
    parts = event.result.parts if event is not None else ()
    return [part.image for part in parts if isinstance(part, ImagePart)]


def call_text(call: ToolCall) -> str:
    """A call in one line."""
    return short(f"{call.name} {_json(call.arguments)}" if call.name else call.raw)


def short(text: str) -> str:
    """A text cut to what fits a line."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two texts from shortly before the place where they part."""
    letters = enumerate(zip(old, new, strict=False))
    alike = next((n for n, (a, b) in letters if a != b), min(len(old), len(new)))
    start = max(0, alike - _BEFORE)
    lead = "…" if start else ""
    return lead + short(old[start:]), lead + short(new[start:])


def _error(result: ToolResult) -> str:
    return "no error" if result.error is None else result.error.kind


def _pictures(old: Sequence[ImageRef], new: Sequence[ImageRef], same: Same) -> Iterator[Difference]:
    if len(old) != len(new):
        yield Difference("picture", f"{len(old)} pictures", f"{len(new)} pictures")
        return
    for one, other in zip(old, new, strict=True):
        if how := same(one, other):
            yield Difference("picture", _named(one), f"{_named(other)} ({how})")


def _named(ref: ImageRef) -> str:
    return f"{ref.sha256[:12]} {ref.width}x{ref.height}"


def _text(result: ToolResult) -> str:
    return "\n".join(part.text for part in result.parts if isinstance(part, TextPart))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _renamed(meta: Any, recoded: dict[str, str]) -> Any:
    """Facts that name a picture by its hash name the logged one where the pixels are the same."""
    if not isinstance(meta, dict):
        return meta
    return {k: recoded.get(v, v) if isinstance(v, str) else v for k, v in meta.items()}


def _prompt(messages: Sequence[Message]) -> str:
    """A conversation as text, so that two can be compared place by place."""
    return _json([message.model_dump(mode="json") for message in messages])


def _turns(trajectory: Trajectory) -> list[str]:
    """What happened beside the tools' results, a line each."""
    return [_turn(event) for event in trajectory.events if not isinstance(event, ToolEvent)]


def _turn(event: Event) -> str:
    if isinstance(event, StopEvent):
        return "stop: by server or clock" if event.reason in _WEATHER else f"stop: {event.reason}"
    if isinstance(event, NoteEvent):
        return f"note: {event.text}"
    return _json(event.model_dump(mode="json"))
