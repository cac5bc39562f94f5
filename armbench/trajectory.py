"""What an episode leaves: events, verdict, score, failures; and the record of it all.

Frozen, unknown fields refused; a change that old readers could misread raises
`SCHEMA_VERSION`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from armbench.types import (
    Frozen,
    Message,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    Verdict,
)

SCHEMA_VERSION = 1
"""Version of the trajectory and run-directory format."""

Boundary = Literal["provider", "tool", "parse", "task", "harness"]


class Failure(Frozen):
    """Something that broke, under the name of the side it broke on."""

    boundary: Boundary
    """Whose fault: the model's server, a tool's code, a parser, the data, or armbench."""
    type: str
    """Exception class or short machine name."""
    message: Text
    """What was said."""
    attempt: int = 1
    """How many attempts were made."""


class ModelEvent(Frozen):
    """The judge spoke."""

    kind: Literal["model"] = "model"
    """Discriminator."""
    reply: Reply
    """What came back."""
    kept: int
    """Characters of ``reply.text`` that stayed in the conversation (the rest came after a call)."""
    calls: int = 0
    """Calls written in this turn; only those with a tool event were run."""


class ToolEvent(Frozen):
    """A call was answered."""

    kind: Literal["tool"] = "tool"
    """Discriminator."""
    call: ToolCall
    """The call."""
    result: ToolResult
    """The answer, as shown to the judge."""


class NoteEvent(Frozen):
    """armbench told the judge something."""

    kind: Literal["note"] = "note"
    """Discriminator."""
    reason: str
    """Machine name: ``last_turn``, …"""
    text: str
    """The words."""


StopReason = Literal[
    "answered",
    "max_turns",
    "max_tokens",
    "max_seconds",
    "format_errors",
    "context",
    "refused",
    "error",
]


class StopEvent(Frozen):
    """The episode ended."""

    kind: Literal["stop"] = "stop"
    """Discriminator."""
    reason: StopReason
    """Why."""
    detail: str = ""
    """More words, where they help."""


Event = Annotated[ModelEvent | ToolEvent | NoteEvent | StopEvent, Field(discriminator="kind")]


class Judgement(Frozen):
    """A verdict as read from the judge's last turn."""

    parse: Literal["ok", "malformed", "missing", "ambiguous"]
    """How reading it went."""
    verdict: Verdict | None = None
    """The verdict in *shown* order; None unless ``parse`` is ok."""
    scores: tuple[float, ...] | None = None
    """Per-answer scores, where the judge gave them."""
    span: tuple[int, int] | None = None
    """Start and end of the verdict in the last turn's text."""
    detail: str = ""
    """Why it could not be read."""


CountedAs = Literal[
    "correct",
    "wrong",
    "malformed",
    "missing",
    "ambiguous",
    "refused",
    "truncated",
    "infrastructure",
    "unlabelled",
]


class Score(Frozen):
    """What an episode counts as."""

    metric: str
    """Name of the metric, e.g. ``accuracy``."""
    value: float | None
    """None is *not scored*; never 0 or 0.5 in disguise."""
    counted_as: CountedAs
    """The bucket it was counted in."""


class Timing(Frozen):
    """Wall-clock facts; the only part of a trajectory that differs between equal runs."""

    started: float = 0.0
    """Unix time."""
    seconds: float = 0.0
    """Whole episode."""
    model_seconds: float = 0.0
    """Waiting for replies."""
    tool_seconds: float = 0.0
    """Waiting for tools."""
    waits: tuple[float, ...] = ()
    """Waiting for each of the events; that of the stop was for what never came."""


class Trajectory(Frozen):
    """One whole episode: everything needed to show, re-score or train on it."""

    schema_version: int = SCHEMA_VERSION
    """Format of this record."""
    sample_id: str
    """`Sample.id`."""
    sample_hash: str
    """`Sample.hash`."""
    task: str
    """`Sample.task`."""
    repeat: int = 0
    """Repeat number, from 0."""
    order: tuple[int, ...] = ()
    """order[p] is the data-set index of the candidate shown at position p."""
    seed: int = 0
    """Seed of this episode's generations."""
    model: str = ""
    """Name of the judge."""
    dialect: str = ""
    """How calls were written."""
    messages: tuple[Message, ...] = ()
    """The conversation at the start; the rest follows from `events`."""
    tools: tuple[ToolSpec, ...] = ()
    """What was offered."""
    events: tuple[Event, ...] = ()
    """What happened, in order; the last is a stop."""
    judgement: Judgement
    """The verdict in shown order."""
    scores: tuple[Score, ...] = ()
    """What it counts as."""
    failures: tuple[Failure, ...] = ()
    """What broke."""
    usage: Usage = Usage()
    """Tokens of the whole episode."""
    timing: Timing = Timing()
    """Wall-clock facts."""

    @property
    def key(self) -> EpisodeKey:
        """What makes this episode unique within a run."""
        return (self.sample_id, self.sample_hash, self.repeat, self.order)

    @property
    def stop(self) -> StopEvent:
        """The final event.

        Raises:
            ValueError: If the trajectory has no stop event.
        """
        last = self.events[-1] if self.events else None
        if not isinstance(last, StopEvent):
            raise ValueError(f"trajectory of {self.sample_id} has no stop event")
        return last

    @property
    def last_text(self) -> str:
        """Text of the judge's last turn; empty if it never spoke."""
        for event in reversed(self.events):
            if isinstance(event, ModelEvent):
                return event.reply.text
        return ""

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        from armbench.notebook import to_html

        return to_html(self)


EpisodeKey = tuple[str, str, int, tuple[int, ...]]
