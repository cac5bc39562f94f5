"""From an episode to a training example: its tokens, and which of them the judge wrote.

Everything the judge was shown (prompt, tool results, injected notes, the template's own
marks) is context; only the tokens of its own turns, and the token that ended each, carry
loss. Turns with known tokens keep exactly those (`armbench.models.tokens`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from armbench.dialects import make_dialect
from armbench.models.tokens import Tokens, own_tokens, render, tokenize
from armbench.prompt import without_control
from armbench.trajectory import ModelEvent, NoteEvent, ToolEvent, Trajectory
from armbench.types import ImagePart, Message, TextPart

if TYPE_CHECKING:
    import torch

    from armbench.episode import LoopConfig
    from armbench.images import ImageStore

__all__ = ["IGNORE", "Encoded", "Turn", "conversation", "encode"]

IGNORE = -100
"""Label of tokens without loss, as in torch and transformers."""


@dataclass(frozen=True)
class Turn:
    """One turn of the judge in an example.

    Attributes:
        start: First of its tokens in the sequence.
        end: One past its last token, the one that ended it included.
        logprobs: Natural-log probability of each token when it was sampled; empty if unknown.
        exact: Whether the tokens are those that were sampled.
    """

    start: int
    end: int
    logprobs: tuple[float, ...] = ()
    exact: bool = False


@dataclass(frozen=True)
class Encoded:
    """An episode as tensors of a batch of one.

    Attributes:
        inputs: What the model takes; sequences have shape (1, length).
        turns: The judge's turns, in order.
    """

    inputs: dict[str, torch.Tensor]
    turns: tuple[Turn, ...]

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return int(self.inputs["input_ids"].shape[1])

    def labels(self) -> torch.Tensor:
        """Token ids where the judge wrote, `IGNORE` elsewhere; shape (1, length)."""
        ids = self.inputs["input_ids"]
        labels = ids.new_full(ids.shape, IGNORE)
        for turn in self.turns:
            labels[:, turn.start : turn.end] = ids[:, turn.start : turn.end]
        return labels


def conversation(
    trajectory: Trajectory, tool_role: str = "tool"
) -> tuple[list[Message], list[ModelEvent]]:
    """The whole conversation of an episode, and the event of each of the judge's turns in it.

    Only what stayed in the conversation: text after an executed call is gone.
    """
    dialect = make_dialect(trajectory.dialect, tool_role)
    messages, turns = list(trajectory.messages), []
    for event in trajectory.events:
        if isinstance(event, ModelEvent):
            messages.append(Message(role="assistant", parts=(TextPart(text=_sent(event)),)))
            turns.append(event)
        elif isinstance(event, ToolEvent):
            messages.append(dialect.result(event.call, event.result))
        elif isinstance(event, NoteEvent):
            messages.append(Message(role="user", parts=(TextPart(text=event.text),)))
    return messages, turns


def _sent(event: ModelEvent) -> str:
    """What stayed of a turn, as it was sent back."""
    return without_control(event.reply.text[: event.kept])


def encode(trajectory: Trajectory, processor: Any, store: ImageStore, loop: LoopConfig) -> Encoded:
    """Tokenise an episode.

    Args:
        trajectory: The episode.
        processor: The model's processor.
        store: Where its pictures are.
        loop: How it was run; for the size of pictures and the role of tool results.

    Raises:
        DataError: If a picture is missing or cannot be read.
        ValueError: If the processor refuses the text.
    """
    messages, events = conversation(trajectory, loop.tool_role)
    refs = [p.image for m in messages for p in m.parts if isinstance(p, ImagePart)]
    images = [store.view_image(ref, loop.max_pixels) for ref in refs]
    known = [_known(processor.tokenizer, event) for event in events]
    spoken = [
        ids if ids is not None else _written(processor.tokenizer, event)
        for ids, event in zip(known, events, strict=True)
    ]
    shown = render(messages, lambda ref: {"type": "image"})
    tokens = tokenize(processor, shown, images, spoken, prompt=False)
    turns = [
        _turn(tokens, span, ids is not None, event)
        for span, ids, event in zip(tokens.spans, known, events, strict=True)
    ]
    return Encoded(tokens.inputs, tuple(turns))


def _known(tokenizer: Any, event: ModelEvent) -> tuple[int, ...] | None:
    ids = event.reply.token_ids
    return own_tokens(tokenizer, ids, event.reply.text[: event.kept]) if ids else None


def _written(tokenizer: Any, event: ModelEvent) -> Sequence[int]:
    ids: list[int] = tokenizer.encode(_sent(event), add_special_tokens=False)
    return ids


def _turn(tokens: Tokens, span: tuple[int, int] | None, exact: bool, event: ModelEvent) -> Turn:
    if span is None:
        raise ValueError(
            "the chat template changes the judge's turns (it trims or leaves out some), "
            "so its tokens cannot be told from the rest; use a template that keeps them"
        )
    start, end = span
    reply = event.reply
    # The template ends every turn; the judge itself ended those that it was not cut off in,
    # and may have chosen another token to end with than the template writes.
    ended = reply.finish_reason != "length" and event.kept == len(reply.text)
    if exact and ended:
        last = (reply.token_ids or ())[end - start : end - start + 1]
        ended = last == (int(tokens.inputs["input_ids"][0, end]),)
    end += ended
    logprobs = (reply.logprobs or ())[: end - start] if exact else ()
    return Turn(start, end, logprobs if len(logprobs) == end - start else (), exact)
