"""Training data: from demonstrations of any source to examples, with everything counted.

Sources are those of `armbench.training.sources`. Nothing is left out or cut in silence:
`DataReport` counts what was dropped by name and lists the examples that were too long or could
not be read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from armbench.episode import LoopConfig
from armbench.errors import ConfigError, DataError, problems
from armbench.images import ImageStore
from armbench.progress import SlowProgress
from armbench.training.encode import IGNORE, Encoded, Turn, conversation, encode
from armbench.training.filters import Sieve, swapped
from armbench.training.sources import Source, Unusable
from armbench.trajectory import EpisodeKey, Trajectory
from armbench.types import Frozen, ImagePart, derive_seed

if TYPE_CHECKING:
    import torch

    from armbench.training.recipe import SFT

__all__ = [
    "DataReport",
    "Example",
    "Examples",
    "StepOrder",
    "batch_of",
    "make_examples",
]

KEPT_PIXELS = 4 << 30
"""Bytes of processed pictures that are kept; those beyond are processed again when needed."""


class DataReport(Frozen):
    """What became of the demonstrations."""

    read: dict[str, int]
    """Demonstrations by source."""
    examples: int
    """What is learnt from."""
    swapped: int = 0
    """Of these, added with their answers in the other order."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Left out, by why: a filter's name, ``solved``, ``too long``, ``unusable``."""
    unchecked: dict[str, int] = Field(default_factory=dict)
    """Kept though a filter could not be applied, by the filter's name."""
    too_long: tuple[str, ...] = ()
    """Each example over the longest length, with its length in tokens."""
    unusable: tuple[str, ...] = ()
    """Each demonstration that could not be read (a picture is missing, say), with the reason."""
    longest: int = 0
    """Tokens of the longest example."""
    tokens: int = 0
    """Tokens of all examples."""
    learnt: int = 0
    """Of these, written by the judge."""
    sha256: str = ""
    """Hash of every example's tokens, labels and pictures, in order."""

    def lines(self) -> Iterator[str]:
        """The report in words; names at most five of a kind."""
        for name, count in self.read.items():
            yield f"{count} demonstrations from {name!r}"
        yield (
            f"{self.examples} examples ({self.swapped} with swapped answers), "
            f"{self.tokens} tokens ({self.learnt} learnt), the longest {self.longest}"
        )
        for why, count in self.dropped.items():
            yield f"left out: {count} ({why})"
        for why, count in self.unchecked.items():
            yield f"kept without a check of {why}: {count}"
        for kind, names in (("too long", self.too_long), ("unusable", self.unusable)):
            yield from (f"{kind}: {name!r}" for name in names[:5])
            if len(names) > 5:
                yield f"{kind}: … and {len(names) - 5} more (all in data.json)"


@dataclass(frozen=True)
class Example:
    """One example; its pictures are apart, since many examples show the same ones.

    Attributes:
        name: Says which episode it is.
        inputs: Its tensors but for the pixels; sequences have shape (1, length).
        turns: The judge's turns.
        pixels: Processed pictures in order; None if they are to be made again.
        again: Makes the whole example anew.
    """

    name: str
    inputs: dict[str, torch.Tensor]
    turns: tuple[Turn, ...]
    pixels: tuple[torch.Tensor, ...] | None
    again: Callable[[], Encoded]

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return int(self.inputs["input_ids"].shape[1])

    def tensors(self) -> dict[str, torch.Tensor]:
        """What the model takes, and ``labels``."""
        import torch

        whole = Encoded(dict(self.inputs), self.turns) if self.pixels is not None else self.again()
        found = {**whole.inputs, "labels": whole.labels()}
        if self.pixels:
            found["pixel_values"] = torch.cat(self.pixels)
        return found


class Examples:
    """Examples as torch's data loader takes them; ``row`` is the number of each.

    Args:
        examples: The examples.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        """How many."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One example's tensors."""
        import torch

        tensors: dict[str, Any] = self.examples[index].tensors()
        return {**tensors, "row": torch.tensor([index])}


def batch_of(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Any]:
    """A batch of examples, padded at the end, without an attention mask.

    What comes after a token is out of its sight anyway, so a padded example has the loss that
    it has alone; and without a mask the attention kernels skip half of their work.

    Args:
        rows: Tensors of one example each.
        pad_id: Id of the padding token.
    """
    import torch

    from armbench.models.hf import collate

    left_out = ("labels", "attention_mask")
    kept = [{name: row[name] for name in row if name not in left_out} for row in rows]
    batch = collate(kept, pad_id, pad_right=True)
    longest = batch["input_ids"].shape[1]
    batch["labels"] = torch.cat(
        [
            torch.nn.functional.pad(
                row["labels"], (0, longest - row["labels"].shape[1]), value=IGNORE
            )
            for row in rows
        ]
    )
    return batch


def make_examples(
    sources: Iterable[Source],
    recipe: SFT,
    processor: Any,
    *,
    loop: Mapping[str, Any] | None = None,
    solved: frozenset[str] = frozenset(),
) -> tuple[list[Example], DataReport]:
    """Turn demonstrations into examples, each tokenised once.

    Args:
        sources: Where demonstrations come from.
        recipe: Filters, longest example, order swap, size of pictures.
        processor: The model's processor.
        loop: Settings of the loop over those that the sources know.
        solved: Hashes of items to leave out (see `filters.solved_items`).

    Raises:
        ConfigError: If a setting of the loop does not fit, or nothing is left to learn from.
        DataError: If a source cannot be read.
    """
    maker = _Maker(recipe, processor, loop or {}, Sieve(recipe.filters, solved))
    for source in sources:
        maker.take(source)
    if not maker.examples:
        raise ConfigError("no example is left to learn from: " + "; ".join(maker.report().lines()))
    return maker.examples, maker.report()


class _Maker:
    """Makes examples, and keeps the books."""

    def __init__(self, recipe: SFT, processor: Any, loop: Mapping[str, Any], sieve: Sieve) -> None:
        self._recipe, self._processor, self._sieve = recipe, processor, sieve
        size = {} if recipe.max_pixels is None else {"max_pixels": recipe.max_pixels}
        self._over = {**loop, **size}
        self.examples: list[Example] = []
        self._read: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._too_long: list[str] = []
        self._unusable: list[str] = []
        self._swapped = self._learnt = 0
        self._hash = hashlib.sha256()
        self._pixels: dict[tuple[str, int], torch.Tensor] = {}
        self._room = KEPT_PIXELS
        self._say = SlowProgress("encoding")

    def take(self, source: Source) -> None:
        """Make examples of a source; pairs in the other order come last, unless it has them."""
        self._read[source.name] += 0
        turned: list[tuple[Trajectory, ImageStore, LoopConfig]] = []
        held: set[EpisodeKey] = set()
        for item in source:
            self._read[source.name] += 1
            count = self._read.total()
            self._say(count, count, source.name)
            if isinstance(item, Unusable):
                self._cannot(item.name, str(item))
                continue
            trajectory, sample, store = item
            if why := self._sieve.why_not(trajectory, sample):
                self._dropped[why] += 1
                continue
            settings = self._loop(source.loop(trajectory))
            self._add(trajectory, store, settings)
            held.add(trajectory.key)
            other = swapped(trajectory, sample) if self._recipe.swap_orders else None
            if other is not None:
                turned.append((other, store, settings))
        for other, store, settings in turned:
            if other.key not in held:
                self._swapped += self._add(other, store, settings)

    def _loop(self, known: Mapping[str, Any]) -> LoopConfig:
        try:
            return LoopConfig.model_validate({**known, **self._over})
        except ValidationError as error:
            raise ConfigError(f"loop: {problems(error)}") from None

    def _add(self, trajectory: Trajectory, store: ImageStore, loop: LoopConfig) -> bool:
        name = _name(trajectory)

        def again() -> Encoded:
            return encode(trajectory, self._processor, store, loop)

        try:
            encoded = again()
        except (DataError, ValueError) as error:
            self._cannot(name, str(error))
            return False
        if encoded.length > self._recipe.max_length:
            self._dropped["too long"] += 1
            self._too_long.append(f"{name}: {encoded.length} tokens")
            return False
        labels = encoded.labels()
        self._learnt += int((labels[:, 1:] != IGNORE).sum())
        inputs = dict(encoded.inputs)
        pixels = inputs.pop("pixel_values", None)
        messages, _ = conversation(trajectory, loop.tool_role)
        refs = [p.image.sha256 for m in messages for p in m.parts if isinstance(p, ImagePart)]
        for part in (inputs["input_ids"], labels):
            self._hash.update(part.numpy().tobytes())
        self._hash.update("".join(refs).encode())
        kept = self._keep(refs, loop.max_pixels, pixels, inputs.get("image_grid_thw"))
        self.examples.append(Example(name, inputs, encoded.turns, kept, again))
        return True

    def _keep(
        self, refs: list[str], size: int, pixels: torch.Tensor | None, grid: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...] | None:
        """Processed pictures, each kept once however many examples show it."""
        import torch

        if pixels is None or grid is None:
            return ()
        kept = []
        sizes: list[int] = grid.prod(1).tolist()
        for ref, one in zip(refs, torch.split(pixels, sizes), strict=True):
            known = self._pixels.get((ref, size))
            if known is None:
                if self._room < one.nbytes:
                    return None
                self._room -= one.nbytes
                known = self._pixels[ref, size] = one.clone()
            kept.append(known)
        return tuple(kept)

    def _cannot(self, name: str, why: str) -> None:
        self._dropped["unusable"] += 1
        self._unusable.append(f"{name}: {why}" if name not in why else why)

    def report(self) -> DataReport:
        lengths = [example.length for example in self.examples]
        return DataReport(
            read=dict(self._read),
            examples=len(self.examples),
            swapped=self._swapped,
            dropped=dict(self._dropped),
            unchecked=dict(self._sieve.unchecked),
            too_long=tuple(self._too_long),
            unusable=tuple(self._unusable),
            longest=max(lengths, default=0),
            tokens=sum(lengths),
            learnt=self._learnt,
            sha256=self._hash.hexdigest(),
        )


def _name(trajectory: Trajectory) -> str:
    """Which episode an example is."""
    order = "".join(str(n + 1) for n in trajectory.order)
    shown = f" order {order}" if len(trajectory.order) > 1 else ""
    repeat = f" repeat {trajectory.repeat}" if trajectory.repeat else ""
    return f"{trajectory.task}/{trajectory.sample_id}{shown}{repeat}"


class StepOrder:
    """The order of an epoch: steps of a few runs of like lengths each, sorted by length.

    Windows of a few steps are drawn, sorted by length and cut into quarters of a step; then
    quarters are drawn for steps. Forward passes then hold like lengths, which saves padding
    (half of the time where lengths differ much); and steps hold unlike ones: were whole steps
    of like lengths, short examples would have a step's gradient to themselves and weigh more
    than their share. Depends on seed and epoch alone.

    Args:
        lengths: Tokens of each example.
        step: Examples of an optimiser step.
        seed: Seed of the draw.
    """

    WINDOW = 8
    """Steps that are cut from one draw."""

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self._lengths, self._step, self._seed = lengths, step, seed
        self.epoch = 0

    def __len__(self) -> int:
        """How many examples."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """Numbers of the examples, for `epoch`."""
        source = Random(derive_seed(self._seed, "examples", self.epoch))
        drawn = list(range(len(self._lengths)))
        source.shuffle(drawn)
        window, quarter = self.WINDOW * self._step, max(1, self._step // 4)
        parts = []
        for start in range(0, len(drawn), window):
            alike = sorted(drawn[start : start + window], key=lambda n: -self._lengths[n])
            parts += [alike[k : k + quarter] for k in range(0, len(alike), quarter)]
        source.shuffle(parts)
        mixed = [n for part in parts for n in part]
        for start in range(0, len(mixed), self._step):
            yield from sorted(mixed[start : start + self._step], key=lambda n: -self._lengths[n])
