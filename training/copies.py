"""Copying, which a small model of random weights is taught before anything else.

Random words, to be said again: half of what a judge of the bundled benchmark does is to say
what it was shown (arguments of a checker, words of a query, a value that it read). A model that
has to learn this from episodes spends most of its minutes on it; from these it takes about one.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from armbench.images import ImageStore
from armbench.training.sources import Demonstration, MadeSource
from armbench.trajectory import Judgement, ModelEvent, Trajectory
from armbench.types import Message, Reply, TextPart

__all__ = ["copy_source"]

_WORDS = (4, 16)
"""Fewest and most words to repeat."""


def copy_source(tokenizer: Any, many: int, seed: int) -> MadeSource:
    """Random words of a tokenizer, each text to be repeated.

    Args:
        tokenizer: The model's.
        many: How many texts.
        seed: Of the draw.
    """
    reserved = set(tokenizer.get_added_vocab().values())
    words = [tokenizer.decode([n]) for n in range(len(tokenizer)) if n not in reserved]
    words = [word for word in words if word.isascii() and word.isprintable()]

    def make() -> Iterator[Demonstration]:
        source, store = Random(seed), ImageStore()
        for number in range(many):
            text = "".join(source.choices(words, k=source.randint(*_WORDS)))
            yield _copy(number, text), None, store

    return MadeSource("copies", make, {})


def _copy(number: int, text: str) -> Trajectory:
    return Trajectory(
        sample_id=f"copy-{number}",
        sample_hash="",
        task="copies",
        dialect="hermes",
        messages=(Message(role="user", parts=(TextPart(text=text),)),),
        events=(ModelEvent(reply=Reply(text=text), kept=len(text)),),
        judgement=Judgement(parse="missing"),
    )
