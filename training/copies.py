"""Copying, which a small model of random weights is taught before anything else.

Lines of random words, to be said again in another order: first one line, then few, then many
(with many at once it does not catch on within minutes). Most of what a judge of the bundled
benchmark writes is what it was shown (arguments of a checker, words of a query, an answer), and
finding the words that followed the same ones before is how it gets there. A model that has to
learn that from episodes learns their usual words by heart instead; here nothing else helps,
since words, order and distances are drawn anew for each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from armbench.images import ImageStore
from armbench.training.sources import Demonstration, MadeSource
from armbench.trajectory import Judgement, ModelEvent, Trajectory
from armbench.types import Message, Reply, TextPart

__all__ = ["LEVELS", "Level", "copy_source"]


@dataclass(frozen=True)
class Level:
    """How long texts are.

    Attributes:
        lines: Fewest and most lines of a text.
        words: Fewest and most words of a line.
    """

    lines: tuple[int, int]
    words: tuple[int, int]


LEVELS = (Level((1, 1), (4, 16)), Level((1, 8), (3, 10)), Level((2, 24), (3, 16)))
"""From easy to hard."""
_SAID = 12
"""Most lines that are said again."""


def copy_source(tokenizer: Any, level: Level, many: int, seed: int) -> MadeSource:
    """Texts of random words of a tokenizer, whose lines are to be said again.

    Args:
        tokenizer: The model's.
        level: How long the texts are.
        many: How many texts.
        seed: Of the draw.
    """
    reserved = set(tokenizer.get_added_vocab().values())
    words = [tokenizer.decode([n]) for n in range(len(tokenizer)) if n not in reserved]
    words = [word for word in words if word.isascii() and word.isprintable()]

    def make() -> Iterator[Demonstration]:
        source, store = Random(seed), ImageStore()
        for number in range(many):
            lines = [
                "".join(source.choices(words, k=source.randint(*level.words)))
                for _ in range(source.randint(*level.lines))
            ]
            again = source.sample(lines, min(_SAID, len(lines)))
            yield _copy(number, "\n".join(lines), "\n".join(again)), None, store

    return MadeSource("copies", make, {})


def _copy(number: int, text: str, again: str) -> Trajectory:
    return Trajectory(
        sample_id=f"copy-{number}",
        sample_hash="",
        task="copies",
        dialect="hermes",
        messages=(Message(role="user", parts=(TextPart(text=text),)),),
        events=(ModelEvent(reply=Reply(text=again), kept=len(again)),),
        judgement=Judgement(parse="missing"),
    )
