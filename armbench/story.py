"""The pieces in which an episode is told: in the terminal, in a notebook, in the viewer.

One reading of the log for all of them, so that they agree on what was dropped,
which candidate was meant and what a call brought.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from armbench.evidence import Evidence, Sight
from armbench.score import Record, chosen
from armbench.trajectory import Event, ModelEvent, Trajectory
from armbench.types import Sample, Verdict

PieceKind = Literal["text", "reasoning", "call", "answer", "dropped"]
"""reasoning, call, answer: inside ``<think>``, ``<tool_call>``, ``<answer>``; dropped: written
after a call, taken out of the conversation."""

_OPEN = re.compile(r"<(think|tool_call|answer)>", re.IGNORECASE)
_CLOSE = {
    name: re.compile(f"</{name}>", re.IGNORECASE) for name in ("think", "tool_call", "answer")
}
_KINDS: dict[str, PieceKind] = {"think": "reasoning", "tool_call": "call", "answer": "answer"}

# What moves a terminal's cursor, changes the direction of the text around it, or cannot be seen:
# C0 but for tab and newline, C1, marks of direction, blanks of no width, line separators,
# annotations, the byte order mark, tag characters. The viewer's script has the same list.
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
_RUN = re.compile(f"[{_UNSEEN}]+")


class Piece(NamedTuple):
    """A stretch of a judge's turn."""

    kind: PieceKind
    before: str
    """Its text, or what stands before the verdict in it."""
    verdict: str = ""
    """The words that were read as the verdict."""
    after: str = ""
    """What follows them."""


def visible(text: str, form: Callable[[str], str] = lambda name: f"⟨{name}⟩") -> str:
    r"""Name the characters that act instead of showing: ``\x1b`` becomes ``⟨U+001B⟩``.

    Args:
        text: Anything; line ends of any kind become newlines.
        form: Makes the sign from a name such as ``U+202E`` or ``U+202E x3``.
    """

    def sign(match: re.Match[str]) -> str:
        marks = match.group()
        names, at = [], 0
        while at < len(marks):
            count = next((n for n in range(at, len(marks)) if marks[n] != marks[at]), len(marks))
            times = f" x{count - at}" if count - at > 1 else ""
            names.append(form(f"U+{ord(marks[at]):04X}{times}"))
            at = count
        return "".join(names)

    return _RUN.sub(sign, text.replace("\r\n", "\n"))


def pieces(event: ModelEvent, span: tuple[int, int] | None = None) -> tuple[Piece, ...]:
    """Take a turn apart by its tags; together the pieces hold all that was said but the tags.

    Args:
        event: The turn.
        span: Where the verdict stands in its text (`Judgement.span`, of the last turn).
    """
    text, kept = event.reply.text, event.kept
    low, high = span or (0, 0)
    told = []
    for start, end, kind in (*_parts(text[:kept]), (kept, len(text), "dropped")):
        if not text[start:end].strip():
            continue
        if kind != "dropped" and start <= low < high <= end:
            before, after = text[start:low].lstrip(), text[high:end].rstrip()
            told.append(Piece(kind, before, text[low:high], after))
        else:
            told.append(Piece(kind, text[start:end].strip()))
    return tuple(told)


def _parts(text: str) -> Iterator[tuple[int, int, PieceKind]]:
    """Stretches of a text without their tags; a tag that is never closed is text."""
    at = 0
    unclosed: set[str] = set()  # looked for once: a text of a thousand open tags is read once
    lead = _CLOSE["think"].search(text)
    first = _OPEN.search(text)
    if lead and (first is None or lead.start() < first.start()):
        # Templates that open the thought themselves leave only its end in the reply.
        yield 0, lead.start(), "reasoning"
        at = lead.end()
    for opening in _OPEN.finditer(text):
        name = opening.group(1).lower()
        if opening.start() < at or name in unclosed:
            continue
        closing = _CLOSE[name].search(text, opening.end())
        if closing is None:
            unclosed.add(name)
            continue
        yield at, opening.start(), "text"
        yield opening.end(), closing.start(), _KINDS[name]
        at = closing.end()
    yield at, len(text), "text"


def last_turn(events: tuple[Event, ...]) -> int | None:
    """Index of the judge's last turn among the events, which is where the verdict is read."""
    turns = [n for n, event in enumerate(events) if isinstance(event, ModelEvent)]
    return turns[-1] if turns else None


@dataclass(frozen=True)
class Candidate:
    """An answer as it was shown.

    Attributes:
        shown: Position in the order shown, from 1.
        number: Number in the data set, from 1.
        text: The answer.
        gold: True if the data set calls it the best (pair items).
        chosen: True if the judge did.
    """

    shown: int
    number: int
    text: str
    gold: bool
    chosen: bool


def candidates(sample: Sample, trajectory: Trajectory) -> tuple[Candidate, ...]:
    """The candidates in the order shown, with the marks of gold and verdict."""
    order = _order(sample, trajectory)
    pair, verdict = sample.mode == "pair", trajectory.judgement.verdict
    gold = int(sample.gold) if pair and sample.gold is not None else 0
    shown = int(verdict) if pair and verdict is not None else 0
    return tuple(
        Candidate(p, i + 1, sample.candidates[i], i + 1 == gold, p == shown)
        for p, i in enumerate(order, 1)
    )


def _order(sample: Sample, trajectory: Trajectory) -> tuple[int, ...]:
    """The order shown; that of the data set where the log's does not fit the item."""
    whole = tuple(range(len(sample.candidates)))
    return trajectory.order if sorted(trajectory.order) == list(whole) else whole


def verdict_words(record: Record) -> str:
    """What the judge said, or why it could not be read."""
    judgement = record.trajectory.judgement
    if judgement.verdict is None and judgement.parse == "ok":
        return "a free answer"
    if judgement.verdict is None:
        return f"none ({judgement.detail or judgement.parse})"
    if record.sample.mode != "pair":
        return plain(judgement.verdict)
    order = _order(record.sample, record.trajectory)
    return f"Answer {judgement.verdict} (no. {chosen(judgement.verdict, order)} in the data set)"


def gold_words(record: Record) -> str:
    """What the data set says."""
    sample = record.sample
    if sample.gold is None:
        return "no label"
    if sample.mode == "rating" and sample.tolerance:
        return f"{plain(sample.gold)} ± {sample.tolerance:g}"
    if sample.mode != "pair":
        return plain(sample.gold)
    order, number = _order(record.sample, record.trajectory), int(sample.gold)
    shown = order.index(number - 1) + 1 if number - 1 in order else "?"
    return f"Answer {shown} (no. {number} in the data set)"


def plain(verdict: Verdict) -> str:
    """A verdict as one would write it: ``True``, ``2``, ``7.5``."""
    return str(verdict) if isinstance(verdict, bool) else f"{verdict:g}"


def sight_words(sight: Sight, evidence: Evidence) -> str:
    """What a call brought of the item's evidence, in words; empty where there is nothing to say."""
    words = []
    if sight.box is not None and sight.coverage is not None:
        verdict = "whole picture" if sight.whole else "hit" if sight.hit else "miss"
        words.append(
            f"evidence: {verdict}; covers {sight.coverage:.0%} of the region, "
            f"IoU {sight.iou or 0.0:.3f}"
        )
    if sight.pages:
        shown = ", ".join(map(str, sight.pages))
        words.append(f"pages {shown}")
        if evidence.pages:
            hits = [page for page in evidence.pages if page in sight.pages]
            found = f"hit ({', '.join(map(str, hits))})" if hits else "miss"
            words.append(f"evidence: {found} of pages {', '.join(map(str, evidence.pages))}")
    if sight.check is not None:
        words.append(f"check {sight.check + 1} of {len(evidence.checks)}")
    if sight.repeated:
        words.append("same call as before")
    return "; ".join(words)
