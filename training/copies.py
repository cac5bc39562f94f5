"""Copying, which a small model of random weights is taught before anything else.

Lines of random words, to be said again in another order: first short ones, then few, then many
(with many at once it does not catch on within minutes). Most of what a judge of the bundled
benchmark writes is what it was shown (arguments of a checker, words of a query, an answer), and
finding the words that followed the same ones before is how it gets there. A model that has to
learn that from episodes learns their usual words by heart instead; here nothing else helps,
since words, order and distances are drawn anew for each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from random import Random
from typing import Any

from armbench.images import ImageStore
from armbench.training.sources import Demonstration, MadeSource, exercise

__all__ = ["LEVELS", "Level", "copy_source"]


@dataclass(frozen=True)
class Level:
    """How long texts are.

    Attributes:
        lines: Fewest and most lines of a text.
        words: Fewest and most words of a line.
        known: Fewest and most different words of a text (at most all there are); of few, one
            word of context does not tell which comes next, as in prose and figures.
        enough: Accuracy at which it is learnt: short of what two words of context can give,
            and more than one word can.
    """

    lines: tuple[int, int]
    words: tuple[int, int]
    known: tuple[int, int]
    enough: float


LEVELS = (
    # Lines, and not one: a single one is said again by counting, without a look at its words.
    Level((2, 4), (2, 4), known=(4, 10_000), enough=0.80),
    Level((1, 8), (3, 10), known=(6, 45), enough=0.82),
    Level((2, 24), (3, 16), known=(16, 10_000), enough=0.88),
)
"""From easy to hard."""
_LONG = 64
"""Characters from which what is one token is no heading but a line of the system prompt."""
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
    words = _words(tokenizer)
    least, most = (log2(min(n, len(words))) for n in level.known)

    def make() -> Iterator[Demonstration]:
        source, store = Random(seed), ImageStore()
        for number in range(many):
            known = source.sample(words, round(2 ** source.uniform(least, most)))
            lines = [
                "".join(source.choices(known, k=source.randint(*level.words)))
                for _ in range(source.randint(*level.lines))
            ]
            again = source.sample(lines, min(_SAID, len(lines)))
            said = exercise("copies", "\n".join(lines), "\n".join(again), f"copy-{number}")
            yield said, None, store

    return MadeSource("copies", make, {})


def _words(tokenizer: Any) -> list[str]:
    """What a text may hold: words, and headings that are one token; no marks of the template."""
    added = set(tokenizer.get_added_vocab().values())
    told = {n: tokenizer.decode([n]) for n in range(len(tokenizer))}
    headings = [word for n, word in told.items() if n in added and len(word) < _LONG]
    words = [word for n, word in told.items() if n not in added and word.isprintable()]
    return [word for word in words if word.isascii()] + [h for h in headings if "<" not in h]
