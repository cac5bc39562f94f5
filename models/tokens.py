"""From a conversation to tokens, with the judge's own turns exactly as it wrote them.

A chat template takes text. Text that a model wrote, decoded and tokenised again, need not
give the tokens that it chose; what it is shown of itself, and what it is trained on, would
not be what it did. So each turn of the judge is left out of the rendered text behind a
reserved token, and its own tokens are put in its place.

Nothing heavy is imported with this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from armbench.prompt import without_control

if TYPE_CHECKING:
    from PIL import Image

    from armbench.types import ImageRef, Message

__all__ = ["Tokens", "own_tokens", "prompt_ids", "render", "said", "tokenize"]

_RESERVED = ("<|fim_pad|>", "<|quad_end|>", "<|quad_start|>", "<|reserved_special_token_0|>")
"""Tokens that no template writes; foreign text cannot hold them (`armbench.prompt.inert`)."""


@dataclass(frozen=True)
class Tokens:
    """A conversation as a model takes it.

    Attributes:
        inputs: Tensors by name; sequences have shape (1, length).
        spans: Start and end of each turn of the judge in the sequence, in order; None for a
            turn that was tokenised together with the rest.
    """

    inputs: dict[str, Any]
    spans: tuple[tuple[int, int] | None, ...]

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return int(self.inputs["input_ids"].shape[1])


def render(
    messages: Sequence[Message], image: Callable[[ImageRef], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Messages as chat templates take them: ``{"role": …, "content": [part, …]}``.

    The judge's own turns have special tokens that it spelled out taken apart.

    Args:
        messages: The conversation.
        image: Makes the part that stands for a picture.
    """
    return [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": said(message, part.text)}
                if part.type == "text"
                else image(part.image)
                for part in message.parts
            ],
        }
        for message in messages
    ]


def said(message: Message, text: str) -> str:
    """A text of a message as it is sent; of the judge's own without special tokens."""
    return without_control(text) if message.role == "assistant" else text


def own_tokens(tokenizer: Any, ids: Sequence[int], text: str) -> tuple[int, ...] | None:
    """The tokens of a turn that make up the text kept of it.

    Args:
        tokenizer: A transformers tokenizer.
        ids: The tokens of the whole turn, as chosen; they may end in a token that ends turns.
        text: What was kept of it: a beginning of the decoded tokens.

    Returns:
        A beginning of `ids`; None if no number of tokens gives that text, or if there is a
        control token among them.
    """

    def decoded(count: int) -> str:
        return str(tokenizer.decode(ids[:count], skip_special_tokens=True))

    end = len(ids)
    special = set(tokenizer.all_special_ids)
    while end and ids[end - 1] in special:
        end -= 1
    low, high = 0, end
    while low < high:  # the shortest beginning that is as long as the text
        middle = (low + high) // 2
        low, high = (low, middle) if len(decoded(middle)) >= len(text) else (middle + 1, high)
    # A control token amid a turn is no text: shown again, it could end the turn or be a picture.
    whole = decoded(low) == text and special.isdisjoint(ids[:low])
    return tuple(ids[:low]) if whole else None


def tokenize(
    processor: Any,
    messages: Sequence[dict[str, Any]],
    images: Sequence[Image.Image],
    spoken: Sequence[Sequence[int] | None],
    *,
    prompt: bool,
) -> Tokens:
    """Tokenise a conversation.

    Args:
        processor: A transformers processor with a chat template.
        messages: The conversation, from `render`.
        images: Its pictures in order, as the model is to see them.
        spoken: Tokens of each of the judge's turns, without the token that ends it; None for
            those that the template is to write.
        prompt: Whether to open another turn of the judge at the end.

    Raises:
        ValueError: If the processor refuses the text.
    """

    def read(text: str) -> dict[str, Any]:
        return dict(processor(text=[text], images=list(images) or None, return_tensors="pt"))

    return _tokenize(processor, messages, spoken, prompt, read)


def prompt_ids(
    processor: Any,
    messages: Sequence[dict[str, Any]],
    spoken: Sequence[Sequence[int] | None],
) -> list[int]:
    """A prompt's tokens for an engine that works on pictures by itself: one mark for each.

    Put as many tokens as the picture takes in the place of each mark, and they are those of
    `tokenize`.

    Args:
        processor: As for `tokenize`.
        messages: As for `tokenize`.
        spoken: As for `tokenize`.

    Raises:
        ValueError: If the tokenizer refuses the text.
    """

    def read(text: str) -> dict[str, Any]:
        return dict(processor.tokenizer([text], return_tensors="pt"))

    tokens = _tokenize(processor, messages, spoken, True, read)
    ids: list[int] = tokens.inputs["input_ids"][0].tolist()
    return ids


def _tokenize(
    processor: Any,
    messages: Sequence[dict[str, Any]],
    spoken: Sequence[Sequence[int] | None],
    prompt: bool,
    read: Callable[[str], dict[str, Any]],
) -> Tokens:
    """`tokenize`, whatever `read` makes of the text."""
    shown = [dict(message) for message in messages]
    turns = [message for message in shown if message["role"] == "assistant"]
    held = [ids for ids in spoken if ids is not None]
    hold = _reserved(processor.tokenizer) if held else ""
    for turn, ids in zip(turns, spoken, strict=True):
        if hold and ids is not None:
            turn["content"] = [{"type": "text", "text": hold}]
    text = processor.apply_chat_template(shown, tokenize=False, add_generation_prompt=prompt)
    inputs = read(text)
    if not hold:
        return Tokens(inputs, (None,) * len(turns))
    places = (inputs["input_ids"][0] == processor.tokenizer.convert_tokens_to_ids(hold)).nonzero()
    if len(places) != len(held):  # a template that trims turns, or leaves some out
        return _tokenize(processor, messages, [None] * len(turns), prompt, read)
    inputs, found = _splice(inputs, [int(place) for place in places], held)
    spans = iter(found)
    return Tokens(inputs, tuple(None if ids is None else next(spans) for ids in spoken))


def _reserved(tokenizer: Any) -> str:
    # By name: listing the added tokens takes longer than all else where there are thousands.
    return next((token for token in _RESERVED if tokenizer.tokenize(token) == [token]), "")


def _splice(
    inputs: dict[str, Any], places: list[int], turns: list[Sequence[int]]
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Put each turn in the place of its mark; what runs beside the ids (masks, types) follows."""
    import torch

    shape = inputs["input_ids"].shape
    spliced = {}
    for name, value in inputs.items():
        if value.shape != shape:
            spliced[name] = value
            continue
        pieces, at = [], 0
        for place, ids in zip(places, turns, strict=True):
            fill = value[0, place : place + 1].expand(len(ids))  # text is of one type
            put = torch.tensor(ids, dtype=value.dtype) if name == "input_ids" else fill
            pieces += [value[0, at:place], put]
            at = place + 1
        spliced[name] = torch.cat([*pieces, value[0, at:]])[None]
    spans, shift = [], 0
    for place, ids in zip(places, turns, strict=True):
        spans.append((place + shift, place + shift + len(ids)))
        shift += len(ids) - 1
    return spliced, spans
