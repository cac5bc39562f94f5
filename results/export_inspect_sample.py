"""An episode as a sample of an inspect log: messages, events, score.

Names, ids and times come from the episode, so that the same episode gives the same sample.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from inspect_ai.dataset import Sample as Item
from inspect_ai.event import (
    Event,
    InfoEvent,
    ModelEvent,
    SampleInitEvent,
    SampleLimitEvent,
    ScoreEvent,
    ToolEvent,
)
from inspect_ai.log import EvalError, EvalSample, EvalSampleLimit
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.scorer import Score
from inspect_ai.tool import ToolCall, ToolCallError, ToolInfo, ToolParams
from pydantic import ValidationError

from armbench import trajectory as log
from armbench.episode import LoopConfig
from armbench.results.conversation import Turn, facts, turns, words
from armbench.results.export_pictures import Pictures
from armbench.results.formats import plain as inert
from armbench.results.runs import anchor
from armbench.score import UNSCORED, Record
from armbench.story import gold_words, verdict_words
from armbench.types import ImagePart, Part, ToolSpec, Usage, digest

SCORER = "verdict"
"""Name of the score."""

_FINISHED: dict[str, Any] = {
    "stop": "stop",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}
_LIMITS: dict[log.StopReason, tuple[Literal["token", "time", "custom"], str]] = {
    "max_tokens": ("token", "max_tokens"),
    "max_seconds": ("time", "max_seconds"),
    "max_turns": ("custom", "max_turns"),
    "format_errors": ("custom", "max_format_errors"),
    "context": ("custom", ""),
}
"""Kind of limit, and the setting that holds it."""
_LONGEST = 120
_LAST_TIME = 4_102_444_800.0  # the year 2100: a log can hold any number


def moment(seconds: float) -> datetime:
    """A Unix time; the nearest that can be told if it is out of range."""
    within = min(max(seconds, 0.0), _LAST_TIME) if seconds == seconds else 0.0
    return datetime.fromtimestamp(within, timezone.utc)


def usage(spent: Usage) -> ModelUsage:
    """Tokens as inspect counts them."""
    return ModelUsage(
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        total_tokens=spent.input_tokens + spent.output_tokens,
        input_tokens_cache_read=spent.cached_tokens,
    )


def sample_name(trajectory: log.Trajectory) -> str:
    """Id of a sample: that of the item, with the order of the candidates where there are several.

    It becomes the name of a file within the log; one that is long or holds more than printable
    characters is cut and told apart by a hash.
    """
    name = inert(trajectory.sample_id).replace("/", "_").replace("\\", "_")
    if len(name) > _LONGEST or name != trajectory.sample_id:
        name = f"{name[:_LONGEST]} {digest(trajectory.sample_id, 8)}"
    order = ",".join(str(n + 1) for n in trajectory.order)
    return f"{name} [{order}]" if len(trajectory.order) > 1 else name


def to_sample(record: Record, name: str, loop: LoopConfig, pictures: Pictures) -> EvalSample:
    """One episode.

    Args:
        record: The episode.
        name: Id of the sample (`sample_name`), different for each.
        loop: Limits that it ran under.
        pictures: The run's.
    """
    return _Maker(record, name, loop, pictures).make()


class _Maker:
    """One sample while it is made; its input is the question, as a data set has it."""

    def __init__(self, record: Record, name: str, loop: LoopConfig, pictures: Pictures) -> None:
        self.record, self.name, self.loop, self.pictures = record, name, loop, pictures
        self.t = t = record.trajectory
        self.anchor = anchor(t.task, t.sample_id, t.repeat, t.order)
        self.turns = list(turns(t))
        self.messages = [self.message(n, turn) for n, turn in enumerate(self.turns)]
        self.input: list[ChatMessage] = [
            ChatMessageUser(
                content=self.content(record.sample.question), id=f"{self.anchor}-q", source="input"
            )
        ]
        self.score = _score(record)
        self.target = gold_words(record)
        self.tools = [_tool(spec) for spec in t.tools]
        self.config = GenerateConfig(
            temperature=loop.temperature, max_tokens=loop.max_tokens_per_turn
        )

    def make(self) -> EvalSample:
        t, stop = self.t, self.t.stop
        broke = "\n".join(f"{f.boundary}: {f.type}: {f.message}" for f in t.failures)
        kind, setting = _LIMITS.get(stop.reason, (None, ""))
        events = list(self.events())
        spoken = [e for e in events if isinstance(e, ModelEvent)]
        return EvalSample(
            id=self.name,
            epoch=t.repeat + 1,
            input=self.input,
            target=self.target,
            messages=self.messages,
            output=spoken[-1].output if spoken else ModelOutput(model=t.model),
            scores={SCORER: self.score},
            metadata=facts(self.record),
            events=events,
            model_usage={t.model: usage(t.usage)},
            started_at=moment(t.timing.started).isoformat(),
            completed_at=moment(t.timing.started + t.timing.seconds).isoformat(),
            total_time=t.timing.seconds,
            working_time=t.timing.model_seconds + t.timing.tool_seconds,
            uuid=self.anchor,
            error=EvalError(message=stop.detail, traceback=broke, traceback_ansi=broke)
            if stop.reason == "error"
            else None,
            limit=None
            if kind is None
            else EvalSampleLimit(
                type=kind, limit=getattr(self.loop, setting, 0), reason=_why(stop)
            ),
        )

    # --- messages

    def message(self, number: int, turn: Turn) -> ChatMessage:
        """A turn as a message."""
        name = f"{self.anchor}-{number}"
        if turn.role == "assistant":
            return ChatMessageAssistant(
                content=_said(turn),
                tool_calls=[_call(call) for call in turn.calls] or None,
                model=self.t.model,
                source="generate",
                id=name,
            )
        content = self.content(turn.parts)
        if turn.role == "system":
            return ChatMessageSystem(content=content, id=name)
        if turn.role == "user":
            return ChatMessageUser(content=content, source="input", id=name)
        call = turn.call
        return ChatMessageTool(
            content=content,
            tool_call_id=call.id if call else None,
            function=_function(call) if call else None,
            error=_error(self.t, turn),
            id=name,
        )

    def content(self, parts: Sequence[Part]) -> list[Content]:
        """Parts of a message."""
        return [self.part(part) for part in parts]

    def part(self, part: Part) -> Content:
        """A text, or a picture as a data URI (each is kept once in a sample: see attachments)."""
        if not isinstance(part, ImagePart):
            return ContentText(text=part.text)
        found = self.pictures.shown(part.image, self.t.task)
        if found is None:
            return ContentText(text=self.pictures.absent(part.image))
        mime, data = found
        return ContentImage(image=f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}")

    # --- events

    def events(self) -> Iterator[Event]:
        """What happened, with the times that were waited."""
        item = Item(input=self.input, target=self.target, id=self.name)
        yield SampleInitEvent(sample=item, state={}, **self.stamp(-1, 0.0))
        waits, passed = self.t.timing.waits, 0.0
        for number, (turn, message) in enumerate(zip(self.turns, self.messages, strict=True)):
            if turn.place is None:
                continue
            wait = waits[turn.place] if turn.place < len(waits) else 0.0
            yield self.event(number, turn, message, passed, wait)
            passed += wait
        stop, end = self.t.stop, len(self.t.events)
        kind, _ = _LIMITS.get(stop.reason, (None, ""))
        if kind is not None:
            yield SampleLimitEvent(type=kind, message=_why(stop), **self.stamp(end, passed))
        data: dict[str, Any] = {"stop": stop.reason, "detail": stop.detail}
        if self.t.failures:
            data["failures"] = [failure.model_dump() for failure in self.t.failures]
        yield InfoEvent(source="armbench", data=data, **self.stamp(end + 1, passed))
        yield ScoreEvent(
            score=self.score, target=self.target, scorer=SCORER, **self.stamp(end + 2, passed)
        )

    def event(
        self, number: int, turn: Turn, message: ChatMessage, passed: float, wait: float
    ) -> Event:
        """A turn as an event."""
        content: Any = message.content
        place = turn.place or 0
        event = self.t.events[place]
        ended = moment(self.t.timing.started + passed + wait)
        if isinstance(event, log.ModelEvent) and isinstance(message, ChatMessageAssistant):
            return ModelEvent(
                model=self.t.model,
                input=self.messages[:number],
                tools=self.tools,
                tool_choice="auto",
                config=self.config,
                output=self.output(event, message, wait),
                retries=event.reply.retries,
                completed=ended,
                working_time=wait,
                **self.stamp(place, passed),
            )
        if isinstance(event, log.ToolEvent) and isinstance(message, ChatMessageTool):
            return ToolEvent(
                id=event.call.id,
                function=_function(event.call),
                arguments=event.call.arguments or {},
                result=content,
                error=message.error,
                completed=ended,
                working_time=wait,
                message_id=message.id,
                metadata=event.result.meta | {"truncated": event.result.truncated},
                **self.stamp(place, passed),
            )
        return InfoEvent(source="armbench", data=message.text, **self.stamp(place, passed))

    def output(
        self, event: log.ModelEvent, message: ChatMessageAssistant, wait: float
    ) -> ModelOutput:
        """One generation; what was written after a call is told apart."""
        reply = event.reply
        dropped = reply.text[event.kept :]
        reason = _FINISHED.get(reply.finish_reason, "unknown")
        return ModelOutput(
            model=self.t.model,
            choices=[ChatCompletionChoice(message=message, stop_reason=reason)],
            usage=usage(reply.usage),
            time=wait,
            error=reply.refusal or None,
            metadata={"written after the call, thrown away": dropped} if dropped else None,
        )

    def stamp(self, place: int, passed: float) -> dict[str, Any]:
        """What every event has, which inspect would make up otherwise."""
        return {
            "uuid": f"{self.anchor}-e{place + 1}",
            "timestamp": moment(self.t.timing.started + passed),
            "working_start": passed,
        }


def _said(turn: Turn) -> list[Content]:
    parts: list[Content] = [ContentReasoning(reasoning=turn.reasoning)] if turn.reasoning else []
    for piece in turn.pieces:
        text = words(piece)
        reasoning = piece.kind == "reasoning"
        parts.append(ContentReasoning(reasoning=text) if reasoning else ContentText(text=text))
    return parts


def _call(call: Any) -> ToolCall:
    return ToolCall(
        id=call.id,
        function=_function(call),
        arguments=call.arguments or {},
        parse_error=call.parse_error,
    )


def _function(call: Any) -> str:
    return call.name or "unreadable call"


def _error(t: log.Trajectory, turn: Turn) -> ToolCallError | None:
    event = None if turn.place is None else t.events[turn.place]
    if not isinstance(event, log.ToolEvent) or event.result.error is None:
        return None
    unread = event.call.parse_error is not None
    return ToolCallError("parsing" if unread else "unknown", event.result.error.message)


def _tool(spec: ToolSpec) -> ToolInfo:
    try:
        parameters = ToolParams.model_validate(spec.parameters)
    except ValidationError:  # a schema beyond what inspect can say is kept as it is
        return ToolInfo(
            name=spec.name, description=spec.description, options={"parameters": spec.parameters}
        )
    return ToolInfo(name=spec.name, description=spec.description, parameters=parameters)


def _score(record: Record) -> Score:
    counted, t = record.score.counted_as, record.trajectory
    whole = facts(record)
    names = ("gold", "verdict", "gold_shown", "shown", "parse", "detail", "stop", "failures")
    return Score(
        value={"correct": "C", "wrong": "I"}.get(counted, "N"),
        answer=None if t.judgement.verdict is None else verdict_words(record),
        explanation=f"{counted}. Verdict: {verdict_words(record)}. Gold: {gold_words(record)}.",
        reason=counted if counted in UNSCORED else None,
        metadata={"counted_as": counted}
        | {name: whole[name] for name in (*names, "evidence_share", "evidence_seen")},
    )


def _why(stop: log.StopEvent) -> str:
    return f"{stop.reason}: {stop.detail}" if stop.detail else stop.reason
