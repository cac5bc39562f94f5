"""Requests as a checkpoint's own processor takes them, for every back-end in this process.

Nothing heavy is imported with this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from armbench.errors import ConfigError
from armbench.models.tokens import own_tokens, render
from armbench.types import ImageRef, TextPart

if TYPE_CHECKING:
    from PIL import Image

    from armbench.episode import Ask

__all__ = ["Prompter", "conversation", "shows_tool_results", "views"]


class Prompter:
    """What a checkpoint is told by a request.

    Args:
        processor: A transformers processor with a chat template.
        name: Name of the judge, for messages.
    """

    def __init__(self, processor: Any, name: str) -> None:
        self.processor, self.name = processor, name
        self._shows_tools: bool | None = None

    def messages(self, ask: Ask) -> list[dict[str, Any]]:
        """The messages of a request as the chat template takes them, with marks for pictures.

        Raises:
            ConfigError: If the template cannot show tool results, or native tool schemas are
                sent (only a server reads native calls).
        """
        if any(message.role == "tool" for message in ask.messages):
            self._require_tool_role()
        return conversation(ask, lambda ref: {"type": "image"})

    def text(self, ask: Ask) -> str:
        """The request as the chat template writes it, one mark for each picture.

        Raises:
            ConfigError: As for `messages`.
        """
        text: str = self.processor.apply_chat_template(
            self.messages(ask), tokenize=False, add_generation_prompt=True
        )
        return text

    def spoken(self, ask: Ask) -> list[tuple[int, ...] | None]:
        """The tokens of each of the judge's turns; None for those whose tokens are not known."""
        turns = [message for message in ask.messages if message.role == "assistant"]
        known = ask.spoken or ((),) * len(turns)
        return [
            own_tokens(self.processor.tokenizer, ids, "".join(p.text for p in turn.parts))
            if ids
            else None
            for turn, ids in zip(turns, known, strict=True)
        ]

    def _require_tool_role(self) -> None:
        if self._shows_tools is None:
            self._shows_tools = shows_tool_results(self.processor)
        if not self._shows_tools:
            raise ConfigError(
                f"the chat template of {self.name} does not show messages of role 'tool': "
                "set tool_role: user, or add the role to the checkpoint's chat_template.jinja"
            )


def shows_tool_results(processor: Any) -> bool:
    """Whether a chat template knows the role ``tool``; others raise, or leave it out in silence."""
    part = {"type": "text", "text": "armbench-probe"}
    roles = ("user", "assistant", "tool")
    probe = [{"role": role, "content": [part]} for role in roles]
    try:
        shown = processor.apply_chat_template(probe, tokenize=False, add_generation_prompt=True)
    except Exception:  # templates raise whatever they like
        return False
    return bool(shown.count("armbench-probe") == len(roles))


def conversation(ask: Ask, image: Callable[[ImageRef], dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages of a request as chat templates take them.

    Args:
        ask: The request.
        image: Makes the part that stands for a picture.

    Returns:
        ``{"role": …, "content": [part, …]}`` for each message.

    Raises:
        ConfigError: If native tool schemas are sent: in this process nobody reads
            native calls out of the reply.
    """
    if ask.tools:
        raise ConfigError(
            "the native dialect needs a server that reads tool calls; "
            "use dialect: hermes with a model in this process"
        )
    return render(ask.messages, image)


def views(ask: Ask) -> list[Image.Image]:
    """The pictures of a request in the order of its messages, within its pixel budget.

    Raises:
        DataError: If one cannot be read.
    """
    parts = (part for message in ask.messages for part in message.parts)
    return [
        ask.store.view_image(part.image, ask.max_pixels)
        for part in parts
        if not isinstance(part, TextPart)
    ]
