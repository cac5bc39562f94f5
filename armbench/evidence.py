"""What the evidence for an item is, and how much of it an episode brought before the judge.

Read from the events of a trajectory only, never from text that the judge wrote.
Analysis, the viewer and rewards use the same figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from armbench.prompt import image_names
from armbench.trajectory import Event, ToolEvent
from armbench.types import ImagePart, Sample

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in thousandths of a picture's width and height."""

WHOLE_IMAGE: Box = (0.0, 0.0, 1000.0, 1000.0)
WHOLE_SHARE = 0.9
"""A crop of at least this share of the picture shows nothing that was not shown before."""
HIT_COVERAGE = 0.5
"""A crop that holds at least this share of the evidence's box has hit it."""


@dataclass(frozen=True)
class Evidence:
    """Where the answer to an item can be found, as its data says.

    Attributes:
        region: Box on the question's first picture.
        pages: 1-based pages of the item's document.
        checks: (checker, arguments but for the response) whose outcomes settle the item.
    """

    region: Box | None = None
    pages: tuple[int, ...] = ()
    checks: tuple[tuple[str, dict[str, Any]], ...] = ()

    @classmethod
    def of(cls, sample: Sample) -> Evidence:
        """Read ``meta.evidence`` of an item; what is not there or not usable is left out."""
        raw = sample.meta.get("evidence")
        found: dict[str, Any] = raw if isinstance(raw, dict) else {}
        pages, checks = found.get("pages"), found.get("checks")
        return cls(
            region=_box(found.get("region")),
            pages=tuple(p for p in pages if isinstance(p, int)) if isinstance(pages, list) else (),
            checks=tuple(filter(None, map(_checker, checks if isinstance(checks, list) else ()))),
        )

    def __bool__(self) -> bool:
        return self.region is not None or bool(self.pages) or bool(self.checks)


@dataclass(frozen=True)
class Sight:
    """What one call without error brought, held against the evidence.

    Attributes:
        event: Index of the tool event in the trajectory.
        picture: Name of the question's picture that a crop was cut from, through crops of crops.
        box: The crop on that picture.
        iou: Overlap of crop and evidence box over their union.
        coverage: Share of the evidence box inside the crop.
        pages: Pages that were shown.
        check: Index of the evidence's check that was run.
        repeated: True if an earlier call of the episode was the same.
    """

    event: int
    picture: str = ""
    box: Box | None = None
    iou: float | None = None
    coverage: float | None = None
    pages: tuple[int, ...] = ()
    check: int | None = None
    repeated: bool = False

    @property
    def whole(self) -> bool:
        """True for a crop of (nearly) the whole picture."""
        return self.box is not None and _area(self.box) >= WHOLE_SHARE * _area(WHOLE_IMAGE)

    @property
    def hit(self) -> bool:
        """True if the crop is a real one and holds the evidence's box, by `HIT_COVERAGE`."""
        return not self.whole and (self.coverage or 0.0) >= HIT_COVERAGE


@dataclass(frozen=True)
class Seen:
    """How much of the evidence an episode brought before the judge.

    Attributes:
        sights: The calls without error, in order.
        share: Evidence seen: best coverage of the box by a real crop, share of the pages
            shown, or share of the checks run; None if the item names no evidence.
    """

    sights: tuple[Sight, ...] = ()
    share: float | None = None

    @property
    def enough(self) -> bool | None:
        """True if a crop hit the box, or every page or check was seen; None without evidence."""
        if self.share is None:
            return None
        if any(sight.coverage is not None for sight in self.sights):
            return any(sight.hit for sight in self.sights)
        return self.share >= 1.0


def seen(events: Iterable[Event], sample: Sample) -> Seen:
    """Hold the calls of an episode against the item's evidence.

    Args:
        events: The trajectory's events.
        sample: The item.
    """
    watcher = _Watcher(sample)
    calls: list[tuple[str, Any]] = []
    for index, event in enumerate(events):
        if isinstance(event, ToolEvent):
            call = (event.call.name, event.call.arguments)
            if event.result.error is None:
                watcher.look(index, event, call in calls)
            calls.append(call)
    return Seen(tuple(watcher.sights), _share(watcher.sights, watcher.evidence))


class _Watcher:
    """Follows an episode's calls; knows where on the question's pictures each crop lies."""

    def __init__(self, sample: Sample) -> None:
        names = image_names(len(sample.images))
        self.evidence = Evidence.of(sample)
        self.sights: list[Sight] = []
        self._first = next(iter(names), "")
        self._homes = {name: (name, WHOLE_IMAGE) for name in names}

    def look(self, index: int, event: ToolEvent, repeated: bool) -> None:
        meta = event.result.meta
        box, pages = _box(meta.get("bbox_2d")), meta.get("pages")
        if box is not None:
            made = [part.name for part in event.result.parts if isinstance(part, ImagePart)]
            sight = self._crop(index, str(meta.get("image", "")), box, made)
        elif isinstance(pages, list):
            sight = Sight(index, pages=tuple(p for p in pages if isinstance(p, int)))
        else:
            sight = Sight(index, check=_check(event, self.evidence))
        self.sights.append(replace(sight, repeated=repeated))

    def _crop(self, index: int, name: str, box: Box, made: Iterable[str]) -> Sight:
        if name not in self._homes:
            return Sight(index)
        picture, (x1, y1, x2, y2) = self._homes[name]
        width, height = (x2 - x1) / 1000, (y2 - y1) / 1000
        inside = (x1 + box[0] * width, y1 + box[1] * height,
                  x1 + box[2] * width, y1 + box[3] * height)  # fmt: skip
        self._homes.update((new, (picture, inside)) for new in made)
        region = self.evidence.region
        if region is None or picture != self._first:
            return Sight(index, picture, inside)
        both = overlap(inside, region)
        union = _area(inside) + _area(region) - both
        return Sight(index, picture, inside, both / union, both / _area(region))


def _check(event: ToolEvent, evidence: Evidence) -> int | None:
    arguments = {k: v for k, v in (event.call.arguments or {}).items() if k != "response"}
    call = (event.call.name, arguments)
    return next((n for n, check in enumerate(evidence.checks) if check == call), None)


def _share(sights: list[Sight], evidence: Evidence) -> float | None:
    if evidence.region is not None:
        return max((s.coverage or 0.0 for s in sights if not s.whole), default=0.0)
    if evidence.pages:
        shown = {page for sight in sights for page in sight.pages}
        return len(shown & set(evidence.pages)) / len(set(evidence.pages))
    if evidence.checks:
        return len({s.check for s in sights if s.check is not None}) / len(evidence.checks)
    return None


def _checker(raw: Any) -> tuple[str, dict[str, Any]] | None:
    if isinstance(raw, dict) and isinstance(raw.get("arguments"), dict) and "tool" in raw:
        return str(raw["tool"]), raw["arguments"]
    return None


def overlap(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _box(value: Any) -> Box | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(v, (int, float)) for v in value):
        return None
    x1, y1, x2, y2 = map(float, value)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
