"""Short exercises of what an episode hangs on: where a detail is, what it is, which line answers.

A judge of random weights learns the form of an episode from a thousand of them; what it sees and
where it looks are few tokens among many, and it would need a hundred times as many. So it is given
these alone, on pictures and reports of the bundled benchmark's generator (seeds of their own):

* *where*: a question about an object of a grid, answered by the call that zooms in on it
* *what*: what such a call shows, and the detail in words; for `armbench.training.vision`, and
  through the language model
* *which*: some lines of a report's page and a question, answered by the words that the teacher
  would read out
* *columns*: a small table and a question about a place and a year, answered by its row and years
* *same*: something found and up to four answers, answered by comparing each and the verdict
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from random import Random

from PIL import Image

from armbench.images import ImageStore
from armbench.prompt import answer_title, heading
from armbench.tasks.mini.documents import Fact, report
from armbench.tasks.mini.lore import Numbers, people, sites
from armbench.tasks.mini.pages import Mark, Words
from armbench.tasks.mini.scenes import FAMILIES, Family, Scene, detail, region_of, scene
from armbench.tools.image import pixel_box, zoomed
from armbench.training.sources import Demonstration, MadeSource, exercise
from armbench.training.teacher import (
    QUESTION,
    box_around,
    compared,
    look_closer,
    read_out,
    row_for,
    verdict,
    words_for,
)
from armbench.trajectory import Trajectory
from armbench.types import ImagePart

__all__ = ["columns", "named", "same", "what", "where", "which"]

_MOVED = 1
"""Thousandths that each side of a box is moved by at most; of another size, it looks otherwise."""
_GRIDS = 4
"""Families whose objects stand in rows and columns come first."""
_LINES = (5, 16)
"""Lines of a page that are shown, at least and at most."""
_FACTS = 40
"""Questions about a report."""
_ROWS = 6
"""Most rows of a table."""
_drill = partial(exercise, "drills")


def where(scenes: int, seed: int) -> MadeSource:
    """Questions of so many pictures about all their objects, answered by the call."""

    def make() -> Iterator[Demonstration]:
        store = ImageStore()
        for made in _scenes(scenes, seed):
            for spot in made.spots:
                asked = made.family.question.format(where=spot.where)
                call = look_closer(asked, "original_image", box_around(region_of(spot.box)))
                yield _drill(f"{QUESTION}{asked}", call), None, store

    return MadeSource("where", make, {})


def what(scenes: int, max_pixels: int, seed: int) -> Iterator[tuple[Image.Image, str]]:
    """What the calls of so many pictures show, boxes moved about a little, and the details.

    Args:
        scenes: Pictures; all their objects are shown.
        max_pixels: Pixels of a picture as the judge sees it.
        seed: Not that of the evaluation set.
    """
    source = Random(seed)
    for made in _scenes(scenes, seed):
        image = made.image.convert("RGB")  # with a palette it would be enlarged without blending
        for spot in made.spots:
            by = [source.randint(-_MOVED, _MOVED) for _ in range(4)]
            box = box_around(region_of(spot.box))
            moved = [float(side + one) for side, one in zip(box, by, strict=True)]
            pixels, _ = pixel_box(moved, image.size)
            yield zoomed(image, pixels, max_pixels), spot.value


def named(scenes: int, max_pixels: int, seed: int) -> MadeSource:
    """What `what` gives, to be told by the language model."""

    def make() -> Iterator[Demonstration]:
        store = ImageStore()
        for picture, value in what(scenes, max_pixels, seed):
            shown = ImagePart(image=store.add_image(picture))
            yield _drill(shown, f"<think>I see:\n{value}</think>"), None, store

    return MadeSource("what", make, {"max_pixels": max_pixels})


def which(reports: int, seed: int) -> MadeSource:
    """Questions about so many reports, up to 40 about each, answered from some lines."""
    return MadeSource("which", partial(_pages, reports, seed), {})


def columns(many: int, seed: int) -> MadeSource:
    """So many tables, and a question about a place and a year of each."""

    def make() -> Iterator[Demonstration]:
        source, store = Random(seed), ImageStore()
        for _ in range(many):
            yield _column(source), None, store

    return MadeSource("columns", make, {})


def _column(source: Random) -> Trajectory:
    places, first = sites(source, source.randint(1, _ROWS)), source.randint(1951, 1990)
    years = [str(year) for year in range(first, first + source.randint(2, 6))]
    style, numbers = source.choice(("int", "small", "dec")), Numbers(source)
    rows = {place: [numbers.next(style) for _ in years] for place in places}
    lines = [" ".join(("Station", *years)), *(" ".join((p, *row)) for p, row in rows.items())]
    place, year = source.choice(places), source.choice(years)
    question, table = f"What was it at {place} in {year}?", "\n".join(lines)
    value = rows[place][years.index(year)]
    read = read_out(row_for(question, value, table), value)
    return _drill(f"{table}\n\n{question}", f"<think>{read}\n</think>")


def same(many: int, seed: int) -> MadeSource:
    """So many things found, one of up to four answers right, or a single one right or wrong."""

    def make() -> Iterator[Demonstration]:
        source, store = Random(seed), ImageStore()
        for _ in range(many):
            yield _comparison(source), None, store

    return MadeSource("same", make, {})


def _comparison(source: Random) -> Trajectory:
    family = source.choice([None, *FAMILIES])  # None: figures and names, as in reports
    count = source.choice((1, 2, 2, 4))
    values = dict.fromkeys([_value(family, source)])
    while len(values) < max(2, count):
        values[_value(family, source)] = None
    wanted, *others = values
    right = source.randrange(count)
    shown = others[: count - 1]
    shown.insert(right, wanted)
    good = count > 1 or source.random() < 0.5
    shown = shown if good else [others[0]]
    claim = "{v}"
    if family is not None and source.random() < 0.5:
        claim = family.claim.replace("{where}", family.name)
    claims = [(claim.format(v=value), value) for value in shown]
    heads = [heading(answer_title(n, count, f"text_{n}")) for n in range(count)]
    told = "".join(f"{head}{says}\n" for head, (says, _) in zip(heads, claims, strict=True))
    thought = f"I see:\n{wanted}\n{compared(heads, claims, wanted)}"
    return _drill(f"{wanted}\n{told}", verdict(thought, right + 1 if count > 1 else good))


def _value(family: Family | None, source: Random) -> str:
    if family is not None:
        return detail(family.kind, source)
    figure = str(source.randint(100, 9999))
    kinds = (f"{figure[:-1]}.{figure[-1]}", f"{int(figure) + 1000:,}", figure, "Not answerable")
    return source.choice((*kinds, people(source, 1)[0]))


def _scenes(many: int, seed: int) -> Iterator[Scene]:
    for n in range(many):
        yield scene(seed, n // _GRIDS * len(FAMILIES) + n % _GRIDS)


def _pages(many: int, seed: int) -> Iterator[Demonstration]:
    source, store = Random(seed), ImageStore()
    for number in range(many):
        made = report(seed, number)
        texts = [_text(marks) for marks in made.marks()]
        facts = [fact for fact in made.facts if fact.page and fact.category in ("text", "table")]
        for fact in source.sample(facts, min(_FACTS, len(facts))):
            lines, words = _window(fact, texts[(fact.page or 1) - 1], source)
            if words:
                shown = f"{lines}\n\n{fact.question}"
                read = read_out(words, fact.value)
                yield _drill(shown, f"<think>{read}\n</think>"), None, store


def _text(marks: list[Mark]) -> list[str]:
    words = sorted((m for m in marks if isinstance(m, Words)), key=lambda m: (m.y, m.x))
    return [" ".join(m.text for m in line) for _, line in groupby(words, key=lambda m: m.y)]


def _window(fact: Fact, page: list[str], source: Random) -> tuple[str, str]:
    """Some lines of a page that answer, and how."""
    for _ in range(20):
        many = source.randint(*_LINES)
        start = source.randint(0, max(0, len(page) - many))
        text = "\n".join(page[start : start + many])
        words = words_for(fact.question, fact.query, fact.value, text)
        if words:
            return text, words
    return "", ""
