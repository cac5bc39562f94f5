"""Requests and back-ends as the tests of the HTTP back-end need them."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from armbench.episode import Ask
from armbench.errors import (
    BackendError,
)
from armbench.images import ImageStore
from armbench.models.openai import OpenAIBackend
from armbench.prompt import show
from armbench.types import (
    ImagePart,
    ImageRef,
    Message,
    Reply,
    Sample,
    TextPart,
)
from tests.models.stub_server import Answer, Request, StubServer

KEY = "sk-test-6f1d2c9e-do-not-print"
VERDICT = "<answer>Overall Judgment: Answer 1 is better</answer>"
SAMPLE = Sample(
    id="s1",
    task="t",
    mode="pair",
    format="2-way-pair_rm",
    question=(TextPart(text="Which?"),),
    candidates=("one", "two"),
    gold=1,
)


def user(text: str = "hi") -> Message:
    return Message(role="user", parts=(TextPart(text=text),))


def shown(*refs: ImageRef) -> Message:
    """A message of pictures."""
    return Message(role="user", parts=tuple(ImagePart(image=ref) for ref in refs))


def ask(*messages: Message, **more: Any) -> Ask:
    fields: dict[str, Any] = {
        "messages": messages or (user(),),
        "max_tokens": 64,
        "seed": 5,
        "temperature": 0.0,
        "store": ImageStore(),
        "max_pixels": 1 << 20,
        "shown": show(SAMPLE, (0, 1), ()),
    }
    return Ask(**{**fields, **more})


def generate(backend: OpenAIBackend, *asks: Ask) -> list[Reply]:
    async def run() -> list[Reply]:
        try:
            return await asyncio.gather(*(backend.generate(one) for one in asks or (ask(),)))
        finally:
            await backend.aclose()

    return asyncio.run(run())


def one_reply(answer: Answer, **options: Any) -> Reply:
    with StubServer(lambda request: answer) as server:
        return generate(OpenAIBackend("stub", server.base_url, max_retries=0, **options))[0]


def sent(one: Ask, **options: Any) -> dict[str, Any]:
    """The body of the request that an ask becomes."""
    with StubServer() as server:
        generate(OpenAIBackend("stub", server.base_url, **options), one)
        return server.requests[0].json


def in_turn(*answers: Answer | str) -> Callable[[Request], Answer | str]:
    return lambda request: answers[min(request.number, len(answers) - 1)]


def picture(color: str, size: tuple[int, int], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def opened(part: dict[str, Any]) -> Image.Image:
    head, _, data = part["image_url"]["url"].partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:{image.get_format_mimetype()};base64"
    return image


def failure(answers: Sequence[Answer | str], **options: Any) -> tuple[BackendError, int]:
    """What a back-end raises, and how many requests it made."""
    with StubServer(in_turn(*answers)) as server:
        with pytest.raises(BackendError) as caught:
            generate(OpenAIBackend("stub", server.base_url, **options))
        return caught.value, server.chats
