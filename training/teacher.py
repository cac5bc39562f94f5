"""Demonstrations for the bundled benchmark: a teacher that knows the evidence.

The teacher is a back-end: it plays the items of `armbench.tasks.mini`'s training generator
through the ordinary loop, with the real tools, so that what a student learns from is what it
will see. It reads where the evidence is from the item; whether that settles the item it reads
from the results, as the student has to.

A share of the episodes is judged without a call, from what the question shows. A student of
both calls only part of the time, which is what reinforcement learning needs to start from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, cast

from armbench.prompt import heading
from armbench.tasks.mini.scenes import FAMILIES
from armbench.types import Reply, Sample, Usage, derive_seed

if TYPE_CHECKING:
    from armbench.episode import Ask

__all__ = [
    "NOTHING",
    "QUESTION",
    "SEARCHED",
    "Teacher",
    "box_around",
    "compared",
    "look_closer",
    "read_out",
    "row_for",
    "verdict",
    "words_for",
]

QUESTION = heading("Question")
"""Heading of the question as it is shown."""
NOTHING = "It is not in the text."
"""The thought of a verdict that nothing led to."""
SEARCHED = frozenset(family.name for family in FAMILIES[4:])
"""Kinds of pictures in which an object has to be looked for first, before it can be zoomed in on:
in the others it stands in rows and columns, and the question tells where. The first kind is judged
without a call: a student this small does not learn to search, and would learn to guess boxes."""
_WIDE, _HIGH = 10, 13
"""The box that is zoomed into, in thousandths: a plate and no more, for a small eye."""
_CHECKED = re.compile(r"Check result: (True|False)")


class Teacher:
    """Plays items whose evidence it is told.

    Args:
        samples: The items by id; their ``meta.evidence`` is what `armbench.tasks.mini` writes.
        direct: Share of the episodes without a call, 0 to 1, drawn by the episode's seed.
    """

    name = "teacher"

    def __init__(self, samples: Mapping[str, Sample], direct: float) -> None:
        self._samples, self._direct = samples, direct

    def generate_batch(self, asks: Sequence[Ask]) -> list[Reply]:
        """A turn for each request."""
        return [self._reply(ask) for ask in asks]

    def _reply(self, ask: Ask) -> Reply:
        sample = self._samples[ask.shown.sample_id]
        source = Random(derive_seed(0, "teacher", sample.task, sample.id, *ask.shown.candidates))
        results = [message.text for message in ask.messages if message.role == "tool"]
        plain = source.random() < self._direct or not ask.shown.tools
        plain = plain or sample.category in SEARCHED
        text = _direct(sample, ask) if plain else _STEPS[_kind(sample)](sample, ask, results)
        return Reply(text=text, usage=Usage(output_tokens=len(text.split())))


def _evidence(sample: Sample) -> dict[str, Any]:
    return cast(dict[str, Any], sample.meta["evidence"])


def _kind(sample: Sample) -> str:
    evidence = _evidence(sample)
    return next(kind for kind in ("region", "pages", "checks") if kind in evidence)


def _direct(sample: Sample, ask: Ask) -> str:
    return verdict("I judge by what I see.", _right(sample, ask))


def _right(sample: Sample, ask: Ask) -> Any:
    """The right verdict in shown order."""
    if sample.mode != "pair":
        return sample.gold
    return ask.shown.candidates.index(sample.candidates[int(sample.gold or 1) - 1]) + 1


def verdict(thought: str, found: Any) -> str:
    """The last turn: True or False, the number of the better answer, or a rating (a float)."""
    if isinstance(found, bool):
        says = f"Overall Judgment: {found}"
    elif isinstance(found, int):
        says = f"Overall Judgment: Answer {found} is better"
    else:
        says = f"Rating: {found:g}"
    return f"<think>{thought}</think>\n<answer>{says}</answer>"


def _call(thought: str, name: str, **arguments: Any) -> str:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<think>{thought}</think>\n<tool_call>\n{body}\n</tool_call>"


def _look(sample: Sample, ask: Ask, results: list[str]) -> str:
    """Repeat the question, zoom in on the detail, name it, compare with the answers."""
    evidence = _evidence(sample)
    if not results:
        image = next(iter(ask.shown.images))
        return look_closer(sample.text, image, box_around(evidence["region"]))
    value = evidence["value"]
    claims = [_claim(answer, sample.category) for answer in ask.shown.candidates]
    return verdict(_compared(f"I see:\n{value}", ask, claims, value), _right(sample, ask))


def look_closer(question: str, image: str, box: list[int]) -> str:
    """The turn that zooms in, after the question: where it asks about is then close by."""
    thought = f"I look closer.\n{QUESTION}{question}"
    return _call(thought, "image_zoom_in_tool", image=image, bbox_2d=box)


def box_around(region: Sequence[int]) -> list[int]:
    """The box that is zoomed into for a detail; both in thousandths."""
    x1, y1, x2, y2 = region
    left, right = _around((x1 + x2) // 2, _WIDE)
    top, bottom = _around((y1 + y2) // 2, _HIGH)
    return [left, top, right, bottom]


def _around(middle: int, size: int) -> tuple[int, int]:
    low = min(max(0, middle - size // 2), 1000 - size)
    return low, low + size


_CLAIMS = {
    family.name: re.compile(
        re.escape(family.claim).replace(r"\{where\}", ".*?").replace(r"\{v\}", r"(?P<value>.+?)")
    )
    for family in FAMILIES
}


def _claim(answer: str, category: str) -> tuple[str, str]:
    """What an answer says, in its own words and in short."""
    found = _CLAIMS[category].match(answer)
    return (found[0], found["value"]) if found else (answer, answer)


def _compared(seen: str, ask: Ask, claims: Iterable[tuple[str, str]], wanted: str) -> str:
    """What was seen, compared with the answers."""
    heads = re.findall(r"^=== Answer.*? ===\n", _asked(ask), re.MULTILINE)
    return f"{seen}\n{compared(heads, claims, wanted)}"


def compared(heads: Iterable[str], claims: Iterable[tuple[str, str]], wanted: str) -> str:
    """Each answer between its headings, then what was wanted again: a heading follows, or none.

    All of it is copying, which a small model can: what follows a heading is what followed it
    before, and what follows the thing wanted is the heading after the claim that is the same.
    Saying of each claim whether it is "same" or "other" is hardly learned.

    Args:
        heads: Headings of the answers as they are shown, each with its line break.
        claims: What each says, in its own words and in short.
        wanted: What is right, in short.
    """
    said, right = "", "\n"
    for head, (words, claim) in zip(heads, claims, strict=True):
        both = claim if words == claim else f"{words}\n{claim}"
        said += f"{head}{both}{head}"
        right = head if claim == wanted else right
    return f"{said}{wanted}{right}"


def _asked(ask: Ask) -> str:
    """The text of the item as it is shown."""
    return next(message.text for message in ask.messages if message.role == "user")


def _read(sample: Sample, ask: Ask, results: list[str]) -> str:
    """Look the question up, repeat the words that answer it, compare."""
    evidence = _evidence(sample)
    question = sample.text
    if not results:
        name = ask.shown.documents[0]
        return _call("I look it up.", "doc_page_retrieval_by_query", filename=name, query=question)
    value = str(evidence["value"])
    words = words_for(question, evidence["query"], value, results[0])
    if not words:
        return verdict(NOTHING, _right(sample, ask))
    claims = [(answer, answer) for answer in ask.shown.candidates]
    return verdict(_compared(read_out(words, value), ask, claims, value), _right(sample, ask))


def read_out(words: str, value: str) -> str:
    """What was read, then the answer in it as a detail that was seen: both are compared alike."""
    return f"I read:\n{words}\nI see:\n{value}"


def words_for(question: str, query: str, value: str, text: str) -> str:
    """What of a text answers a question: a row with its years, or a passage; "" if nothing."""
    return row_for(question, value, text) or _passage(query, value, text)


_YEAR = re.compile(r"\b\d{4}\b")


def row_for(question: str, value: str, text: str) -> str:
    """The row of a table that a question about a place and a year is answered by.

    After it each year with its figure, up to the one asked for; "" if there is no such row.
    """
    year, years = _YEAR.search(question), list[str]()
    for line in text.split("\n"):
        name, *figures = line.split(" ")
        if years and len(figures) == len(years) and year and f" {name} " in f"{question[:-1]} ":
            pairs = dict(zip(years, figures, strict=True))
            if pairs.get(year[0]) == value:
                upto = years[: years.index(year[0]) + 1]
                return "\n".join([line, *(f"{one} {pairs[one]}" for one in upto)])
        found = _YEAR.findall(line)
        years = found if len(found) > 1 and line.endswith(" ".join(found)) else years
    return ""


def _passage(query: str, value: str, text: str) -> str:
    """The query's words up to the answer; "" if they are not there, or ask for a year.

    Sentences about years are told apart by two things at once (a place and its figure, a year),
    which a student this small does not learn.
    """
    if _YEAR.search(query):
        return ""
    there = rf"{re.escape(query)}[^.\d]{{0,120}}?(?<![\w.,]){re.escape(value)}(?!\w|[.,]\d)"
    found = re.search(there.replace(r"\ ", r"\s"), text)
    return found[0] if found else ""


def _check(sample: Sample, ask: Ask, results: list[str]) -> str:
    """Repeat each instruction in turn and run its checker, then count."""
    checks = _evidence(sample)["checks"]
    kept = [_outcome(result) for result in results]
    # Said anew each turn, so that only the last result and the last turn need be looked at.
    told = "Kept: " + (", ".join("yes" if one else "no" for one in kept) or "?") + "."
    if len(results) < len(checks):
        check, number = checks[len(results)], len(results) + 1
        [words] = re.findall(rf"^{number}\. .*$", _listed(ask), re.MULTILINE)
        thought = f"{told}\nInstruction {number} of {len(checks)}.\n{words}"
        return _call(thought, check["tool"], response="text_0", **check["arguments"])
    right = all(kept) if sample.mode == "single" else float(sum(kept))
    return verdict(f"{told} {sum(kept)} of {len(kept)}.", right)


def _listed(ask: Ask) -> str:
    """The instructions as they are shown."""
    found = re.search(r"=== Instructions [^\n]*===\n(.*?)\n=== end ===", _asked(ask), re.DOTALL)
    return found[1] if found else ""


def _outcome(result: str) -> bool:
    found = _CHECKED.search(result)
    return found is not None and found[1] == "True"


_STEPS: dict[str, Callable[[Sample, Ask, list[str]], str]] = {
    "region": _look,
    "pages": _read,
    "checks": _check,
}
