"""Fine-grained perception: large pictures with details that vanish when they are shrunk.

A question names one object in words; its detail is 12 to 15 pixels high on a plate of its
own. Wrong answers are the details of the nearest other objects, so they come from the
same distribution as right ones and are what a box beside the target would show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random

from PIL import Image

from armbench.tasks.mini import marks, scenery
from armbench.tasks.mini.items import ARITY, Asset, Item, cycled, place, rng, share
from armbench.tasks.mini.raster import Box, Canvas, Pixels, extent
from armbench.tasks.mini.scenery import SIZE, Place

VIEW_PIXELS = 1280 * 28 * 28
"""Pixels of the view in which no detail can be read."""

FORMATS = {"pair_rm": 80, "2-way-pair_rm": 60, "4-way-pair_rm": 60}
"""Items of each format out of 200."""

PER_IMAGE = (3, 2)
"""Questions per picture, alternating."""

_MARGIN = 10
_PLATE = 11


@dataclass(frozen=True)
class Family:
    """A kind of scene."""

    name: str
    """Category of its items."""
    draw: Callable[[Canvas, Random], list[Place]]
    """Draws the background."""
    kind: str
    """What its details are: shape, arrow, count, hatch, or the pattern of a code."""
    question: str
    """Asks for the detail; ``{where}`` is the place in words."""
    claim: str
    """States an answer ``{v}`` in a full sentence."""


FAMILIES = (
    Family(
        "shelf",
        scenery.shelf,
        "shape",
        "Which symbol is stamped on the small grey plate of the box {where}?",
        "The symbol on the box {where} is a {v}.",
    ),
    Family(
        "panel",
        scenery.panel,
        "arrow",
        "Which way does the small arrow in the grey window of the gauge {where} point?",
        "The small arrow of the gauge {where} points {v}.",
    ),
    Family(
        "tickets",
        scenery.tickets,
        "count",
        "How many dots are punched in the small grey field of the ticket {where}?",
        "The field of the ticket {where} has a dot count of {v}.",
    ),
    Family(
        "hooks",
        scenery.hooks,
        "hatch",
        "Which way do the lines on the tag of the key {where} run, seen from left to right?",
        "The lines on the tag of the key {where} are {v}.",
    ),
    Family(
        "street",
        scenery.street,
        "DDD",
        "Which number is on the door of the {where}?",
        "The door of the {where} bears the number {v}.",
    ),
    Family(
        "bottles",
        scenery.bottles,
        "LDL",
        "What is the code on the tag of the {where}?",
        "The tag of the {where} carries the code {v}.",
    ),
    Family(
        "map",
        scenery.island_map,
        "shape",
        "Which symbol is drawn on the small grey plate just below {where} on the map?",
        "The symbol just below {where} is a {v}.",
    ),
    Family(
        "harbour",
        scenery.harbour,
        "LDDL",
        "What is the registration on the hull of the boat with {where} on its sail?",
        "The boat with {where} on its sail is registered as {v}.",
    ),
)

_REASONS = (
    "Seen from close by, the mark there has exactly that form and leaves no room for another.",
    "I went over that small spot twice, and what is visible there agrees with this each time.",
    "The objects beside it carry marks of their own, but the one asked about shows just this.",
    "Its plate is tiny in the picture, yet on close inspection nothing else would fit there.",
    "After finding the object by its position, I read its plate and this is what it displays.",
    "Comparing it with the marks of its neighbours confirms that this reading is the right one.",
)


@dataclass(frozen=True)
class Spot:
    """One object of a scene with its detail."""

    where: str
    """The place in words."""
    value: str
    """The detail in words: the right answer to a question about it."""
    box: Box
    """Bounding box of the detail (of all six dots for counts), in pixels."""


@dataclass(frozen=True)
class Scene:
    """A rendered picture and what is where in it."""

    family: Family
    """What kind of scene it is."""
    spots: tuple[Spot, ...]
    """Its objects."""
    image: Image.Image
    """The picture at full resolution."""


def detail(kind: str, source: Random) -> str:
    """A detail of a kind, in words, drawn alike among all."""
    if kind in _CHOICES:
        return source.choice(_CHOICES[kind])
    alphabet = {"D": marks.CODE_DIGITS, "L": marks.CODE_LETTERS}
    return "".join(source.choice(alphabet[letter]) for letter in kind)


def details() -> list[str]:
    """All details there are in words, codes aside."""
    return [value for values in _CHOICES.values() for value in values]


_CHOICES: dict[str, tuple[str, ...]] = {
    "shape": marks.SHAPES,
    "arrow": marks.ARROWS,
    "count": ("1", "2", "3", "4", "5", "6"),
    "hatch": marks.HATCHES,
}


_FIELDS = {"count": marks.pips(6), "hatch": marks.field()}
"""Pixels that a detail takes whatever its value."""


def ink_of(kind: str, value: str) -> Pixels:
    """The dark pixels of a detail."""
    if kind == "shape":
        return marks.shape(value)
    if kind == "arrow":
        return marks.arrow(value)
    if kind == "hatch":
        return marks.hatch(value)
    return marks.pips(int(value)) if kind == "count" else marks.code(value)


def stamp(canvas: Canvas, kind: str, x: int, y: int, value: str) -> Spot:
    """Draw a plate with a detail on it; the returned spot has no words yet."""
    ink = ink_of(kind, value)
    x0, y0, x1, y1 = extent(_FIELDS.get(kind, ink))
    left, top = x - (x1 - x0) // 2, y - (y1 - y0) // 2
    # A field of one dot is as large as one of six: the box must not tell the count.
    field = (left, top, left + x1 - x0, top + y1 - y0)
    _plate(canvas, field)
    light = marks.field() - ink if kind == "hatch" else None
    canvas.engrave(left - x0, top - y0, ink, light)
    return Spot("", value, field)


def _plate(canvas: Canvas, box: Box) -> None:
    x0, y0, x1, y1 = box
    canvas.rect(x0 - _PLATE - 3, y0 - _PLATE - 3, x1 + _PLATE + 3, y1 + _PLATE + 3, "black")
    canvas.rect(x0 - _PLATE, y0 - _PLATE, x1 + _PLATE, y1 + _PLATE, "plate")


@lru_cache(maxsize=2)
def scene(seed: int, number: int) -> Scene:
    """Draw picture `number` of a seed; families take turns."""
    family = FAMILIES[number % len(FAMILIES)]
    source = rng(seed, "fine", "scene", number)
    canvas = Canvas(*SIZE)
    spots = []
    for spot in family.draw(canvas, source):
        x, y = scenery.jittered(spot, source)
        made = stamp(canvas, family.kind, x, y, detail(family.kind, source))
        spots.append(Spot(spot.where, made.value, made.box))
    return Scene(family, tuple(spots), canvas.image)


def region_of(box: Box) -> list[int]:
    """A zoom box around a detail, each side of 0..1000, with its plate in view."""
    x0, y0, x1, y1 = box
    width, height = SIZE
    return [
        max(0, math.floor((x0 - _MARGIN) * 1000 / width)),
        max(0, math.floor((y0 - _MARGIN) * 1000 / height)),
        min(1000, math.ceil((x1 + _MARGIN) * 1000 / width)),
        min(1000, math.ceil((y1 + _MARGIN) * 1000 / height)),
    ]


def _wrong(spots: tuple[Spot, ...], target: Spot, count: int) -> list[str]:
    """The values of the nearest objects that differ from the target's and one another."""

    def distance(spot: Spot) -> int:
        return (spot.box[0] - target.box[0]) ** 2 + (spot.box[1] - target.box[1]) ** 2

    values = dict.fromkeys(spot.value for spot in sorted(spots, key=distance))
    return [value for value in values if value != target.value][:count]


def _answers(
    family: Family, spot: Spot, values: tuple[str, ...], source: Random
) -> tuple[str, ...]:
    """Full sentences, one per value, with justifications drawn alike for right and wrong."""
    reasons = source.sample(_REASONS, len(values))
    claims = (family.claim.format(where=spot.where, v=value) for value in values)
    return tuple(f"{claim} {reason}" for claim, reason in zip(claims, reasons, strict=True))


def items(seed: int, count: int, per_image: tuple[int, ...] = PER_IMAGE) -> Iterator[Item]:
    """Yield the items of this track.

    Args:
        seed: Decides everything.
        count: How many items.
        per_image: Questions per picture, taken in turns; raise it to make many
            training items from few pictures (at most 10).
    """
    source = rng(seed, "fine", "plan", count)
    formats = [tag for tag, many in share(count, FORMATS).items() for _ in range(many)]
    places = [
        (tag, position)
        for tag in FORMATS
        for position in cycled(range(1, ARITY[tag] + 1), formats.count(tag), source)
    ]
    source.shuffle(places)
    number = index = 0
    while index < count:
        # Shifted every round, so that each family meets each number of questions.
        turn = number + number // len(FAMILIES)
        group = places[index : index + per_image[turn % len(per_image)]]
        yield from _questions(seed, number, index, group)
        index += len(group)
        number += 1


def _questions(seed: int, number: int, start: int, group: list[tuple[str, int]]) -> Iterator[Item]:
    made = scene(seed, number)
    family, path = made.family, f"images/scene-{number:03d}-{made.family.name}.png"
    asset = Asset(path, partial(_render, seed, number))
    source = rng(seed, "fine", "questions", number)
    targets = source.sample(made.spots, len(group))
    for offset, (target, (tag, position)) in enumerate(zip(targets, group, strict=True)):
        values = place(target.value, _wrong(made.spots, target, ARITY[tag] - 1), position)
        preds = values if tag != "pair_rm" else _answers(family, target, values, source)
        yield Item(
            idx=start + offset,
            id=f"fine-{seed}-{start + offset:04d}",
            question=family.question.format(where=target.where),
            preds=preds,
            gt=str(position),
            rm_tag=tag,
            category=family.name,
            cluster=path.split("/")[1].removesuffix(".png"),
            evidence=_evidence(family, target),
            images=(path,),
            assets=(asset,),
        )


def _render(seed: int, number: int) -> Image.Image:
    return scene(seed, number).image


def _evidence(family: Family, spot: Spot) -> dict[str, object]:
    return {
        "region": region_of(spot.box),
        "value": spot.value,
        "kind": family.kind if family.kind in _CHOICES else "code",
        "where": spot.where,
        "box_px": list(spot.box),
    }


__all__ = [
    "FAMILIES",
    "FORMATS",
    "VIEW_PIXELS",
    "Family",
    "Scene",
    "Spot",
    "detail",
    "details",
    "ink_of",
    "items",
    "region_of",
    "scene",
    "stamp",
]
