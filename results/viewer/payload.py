"""What the page is told of an item and of an episode: plain data, foreign text as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from armbench.evidence import Evidence, Sight, seen
from armbench.prompt import image_names
from armbench.score import Record
from armbench.story import candidates, gold_words, last_turn, pieces, verdict_words
from armbench.trajectory import Event, ModelEvent, NoteEvent, ToolEvent, Trajectory
from armbench.types import ImagePart, ImageRef, Part, Sample, Usage, digest


@dataclass
class Needs:
    """What payloads refer to instead of holding it.

    Attributes:
        pictures: Pictures by hash.
        shared: System prompts and tool signatures by key: the same for most episodes.
    """

    pictures: dict[str, ImageRef] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def share(self, value: Any) -> str:
        """Key of a value that is kept once for all."""
        key = digest(value)
        self.shared[key] = value
        return key

    def part(self, part: Part, name: str = "") -> dict[str, Any]:
        """A text or a picture."""
        if not isinstance(part, ImagePart):
            return {"text": part.text}
        ref = part.image
        self.pictures[ref.sha256] = ref
        return {"sha": ref.sha256, "w": ref.width, "h": ref.height, "name": name or part.name}


def item_payload(sample: Sample, needs: Needs) -> dict[str, Any]:
    """An item, in data-set order."""
    evidence = Evidence.of(sample)
    names = iter(image_names(len(sample.images)))
    question = [
        needs.part(part, next(names) if isinstance(part, ImagePart) else "")
        for part in sample.question
    ]
    return {
        "question": question,
        "texts": sample.texts,
        "constraints": sample.constraints,
        "documents": sample.documents,
        "mode": sample.mode,
        "scale": sample.scale,
        "cluster": sample.cluster,
        "hash": sample.hash,
        "meta": sample.meta,
        "evidence": {
            "region": evidence.region,
            "pages": evidence.pages,
            "checks": [{"tool": tool, "arguments": args} for tool, args in evidence.checks],
        },
    }


def episode_payload(record: Record, needs: Needs) -> dict[str, Any]:
    """An episode: marks of gold and verdict, events with what each call brought, costs."""
    trajectory, sample = record.trajectory, record.sample
    found = seen(trajectory.events, sample)
    return {
        "candidates": [vars(c) for c in candidates(sample, trajectory)],
        "said": verdict_words(record),
        "gold": gold_words(record),
        "judgement": trajectory.judgement.model_dump(exclude={"span"}),
        "share": found.share,
        "enough": found.enough,
        "events": list(_events(trajectory, {s.event: s for s in found.sights}, needs)),
        "failures": [failure.model_dump() for failure in trajectory.failures],
        "usage": _usage(trajectory.usage),
        "timing": trajectory.timing.model_dump(exclude={"started", "waits"}),
        "model": trajectory.model,
        "dialect": trajectory.dialect,
        "seed": str(trajectory.seed),  # more digits than a JavaScript number holds
        "messages": _messages(trajectory, needs),
        "tools": [needs.share(spec.function_schema()["function"]) for spec in trajectory.tools],
    }


def _messages(trajectory: Trajectory, needs: Needs) -> list[dict[str, Any]]:
    return [
        {"role": message.role, "shared": needs.share(message.text)}
        if message.role == "system"
        else {"role": message.role, "parts": [needs.part(part) for part in message.parts]}
        for message in trajectory.messages
    ]


def _events(
    trajectory: Trajectory, sights: dict[int, Sight], needs: Needs
) -> Iterator[dict[str, Any]]:
    last = last_turn(trajectory.events)
    waits = trajectory.timing.waits
    for index, event in enumerate(trajectory.events):
        span = trajectory.judgement.span if index == last else None
        wait = waits[index] if index < len(waits) else None
        told = _event(event, span, sights.get(index), needs)
        yield {"kind": event.kind, "seconds": wait} | told


def _event(
    event: Event, span: tuple[int, int] | None, sight: Sight | None, needs: Needs
) -> dict[str, Any]:
    if isinstance(event, ModelEvent):
        reply = event.reply
        return {
            "pieces": pieces(event, span),
            "reasoning": reply.reasoning,
            "finish": reply.finish_reason,
            "refusal": reply.refusal,
            "retries": reply.retries,
            "usage": _usage(reply.usage),
            "native": [call.model_dump() for call in reply.calls],
        }
    if isinstance(event, ToolEvent):
        call, result = event.call, event.result
        return {
            "name": call.name,
            "arguments": call.arguments,
            "raw": call.raw if call.arguments is None else "",
            "parse_error": call.parse_error,
            "parts": [needs.part(part) for part in result.parts],
            "error": result.error and result.error.model_dump(),
            "truncated": result.truncated,
            "meta": result.meta,
            "sight": sight and _sight(sight, event),
        }
    if isinstance(event, NoteEvent):
        return {"reason": event.reason, "text": event.text}
    return {"reason": event.reason, "detail": event.detail}


def _sight(sight: Sight, event: ToolEvent) -> dict[str, Any]:
    """What a call brought; ``on`` and ``cut`` are the very picture that was cut and where."""
    told: dict[str, Any] = {
        "picture": sight.picture,
        "box": sight.box,
        "iou": sight.iou,
        "coverage": sight.coverage,
        "pages": sight.pages,
        "check": sight.check,
        "repeated": sight.repeated,
        "whole": sight.whole,
        "hit": sight.hit,
    }
    if sight.box is not None:
        meta = event.result.meta
        told |= {"on": str(meta.get("image", "")), "cut": meta.get("bbox_2d")}
    return {name: value for name, value in told.items() if value is not None}


def _usage(usage: Usage) -> list[int]:
    return [usage.input_tokens, usage.output_tokens, usage.cached_tokens]
