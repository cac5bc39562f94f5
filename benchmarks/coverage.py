"""How often the intervals hold the truth: simulated sets of known accuracy.

Items come in clusters of uneven size, each with a probability of its own (beta, with the
stated intra-cluster correlation). Unless told otherwise every item is judged in two orders,
of which the second repeats the first's outcome with probability 0.6. Prints, for each method
and setting, the share of simulations whose 95% interval held the truth, its Monte-Carlo
error and the mean width. Ends with 1 if a setting that the method's docstring promises is
outside 93% to 97%.

    python -m benchmarks.coverage
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from tabulate import tabulate

from armbench.intervals import clustered_wilson, wilson
from armbench.progress import SlowProgress
from armbench.results.agreement import cohen_kappa
from armbench.results.stats import bootstrap_interval, macro_interval, paired_difference
from armbench.types import derive_seed

PROMISED = (0.93, 0.97)
_LIKE = 0.6
"""Probability that the second order has the outcome of the first."""

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Setting:
    """One line of the table.

    Attributes:
        method: Name of the interval.
        what: What was simulated.
        promised: Whether the method's docstring promises its coverage here.
        runs: Simulations.
        truth: What the interval has to hold.
        interval: Draws a set and works the interval out.
    """

    method: str
    what: str
    promised: bool
    runs: int
    truth: float
    interval: Callable[[np.random.Generator], Ends]


# --- sets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Clusters of 1 to 2 `size` - 1 items; wholly independent items if `size` is 1."""

    clusters: int
    size: int
    icc: float
    orders: int = 2

    def __str__(self) -> str:
        once = ", one order" if self.orders == 1 else ""
        if self.size == 1:
            return f"{self.clusters} independent items{once}"
        most = 2 * self.size - 1
        return f"{self.clusters} clusters of 1-{most} (mean {self.size}), ICC {self.icc}{once}"

    def outcomes(
        self, rng: np.random.Generator, shares: tuple[float, ...]
    ) -> Iterator[tuple[int, int, int]]:
        """Draw (cluster, item, kind of outcome), kinds having `shares` on the mean."""
        sizes = rng.integers(1, 2 * self.size, self.clusters)
        of_item = np.repeat(np.arange(self.clusters), sizes)
        chances = np.broadcast_to(np.array(shares), (self.clusters, len(shares)))
        if self.icc:
            chances = rng.dirichlet(np.array(shares) * (1 - self.icc) / self.icc, self.clusters)
        limits = chances.cumsum(axis=1)[of_item, :-1]
        first = (rng.random((len(of_item), 1)) > limits).sum(axis=1)
        for order in range(self.orders):
            again = (rng.random((len(of_item), 1)) > limits).sum(axis=1)
            same = rng.random(len(of_item)) < (_LIKE if order else 1.0)
            kinds = np.where(same, first, again)
            yield from zip(of_item.tolist(), range(len(of_item)), kinds.tolist(), strict=True)

    def credits(self, rng: np.random.Generator, accuracy: float) -> list[tuple[int, int, float]]:
        """Draw (cluster, item, credit)."""
        return [(c, i, 1.0 - k) for c, i, k in self.outcomes(rng, (accuracy, 1 - accuracy))]

    def filled(self, share: float) -> float:
        """How many clusters the rarer outcome would fill."""
        return round(self.clusters * min(share, 1 - share), 6)


# --- methods ------------------------------------------------------------------------------


def plain_wilson() -> Iterator[Setting]:
    for n, p in product((100, 300, 600), (0.5, 0.7, 0.9)):
        what = f"{n} independent items, one order, accuracy {p}"
        yield Setting("Wilson", what, True, 20_000, p, partial(_wilson, n, p))


def _wilson(n: int, p: float, rng: np.random.Generator) -> Ends:
    return wilson(rng.binomial(n, p) / n, n)


def clustered() -> Iterator[Setting]:
    for shape, p in (
        *product((Shape(100, 1, 0.0), Shape(500, 1, 0.0)), (0.5, 0.9)),
        *product((Shape(10, 10, 0.0), Shape(10, 10, 0.5)), (0.5, 0.7, 0.9)),
        *product((Shape(10, 10, 0.0, 1), Shape(15, 10, 0.0, 1), Shape(15, 10, 0.5, 1)), (0.5,)),
        *product((Shape(20, 10, 0.1), Shape(20, 10, 0.5)), (0.5, 0.7, 0.9)),
        *product((Shape(50, 6, 0.1), Shape(50, 6, 0.5), Shape(100, 6, 0.3)), (0.7, 0.9)),
    ):
        promised = shape.clusters >= 15 and shape.filled(p) >= 5
        what = f"{shape}, accuracy {p}"
        yield Setting("clustered Wilson", what, promised, 3000, p, partial(_clustered, shape, p))


def _clustered(shape: Shape, p: float, rng: np.random.Generator) -> Ends:
    return clustered_wilson(shape.credits(rng, p))


def bootstrap() -> Iterator[Setting]:
    for shape, p in (
        (Shape(100, 1, 0.0), 0.7),
        (Shape(30, 10, 0.1), 0.5),
        (Shape(30, 10, 0.5), 0.7),
        (Shape(50, 6, 0.5), 0.9),
        (Shape(100, 3, 0.3), 0.9),
        (Shape(10, 10, 0.3), 0.7),
    ):
        promised = shape.clusters >= 30 and shape.filled(p) >= 5
        what = f"{shape}, accuracy {p}"
        yield Setting("cluster bootstrap", what, promised, 1000, p, partial(_bootstrap, shape, p))


def _bootstrap(shape: Shape, p: float, rng: np.random.Generator) -> Ends:
    return _ends(bootstrap_interval([(c, v) for c, _, v in shape.credits(rng, p)]))


def macro() -> Iterator[Setting]:
    for tasks in (  # pairs of a shape and an accuracy
        ((Shape(100, 1, 0.0), 0.9), (Shape(100, 1, 0.0), 0.5)),
        ((Shape(10, 10, 0.3), 0.5), (Shape(20, 5, 0.3), 0.6), (Shape(20, 10, 0.5), 0.7)),
        ((Shape(50, 4, 0.3), 0.9), (Shape(100, 1, 0.0), 0.7), (Shape(10, 10, 0.5), 0.5)),
        ((Shape(10, 5, 0.2), 0.5),) * 6,
        ((Shape(50, 3, 0.3), 0.9),) * 4,
    ):
        promised = all(s.clusters >= 10 and s.filled(p) >= 5 for s, p in tasks)
        truth = sum(p for _, p in tasks) / len(tasks)
        # Equal tasks are told once, with their number.
        what = "; ".join(
            f"{many} x ({s}, accuracy {p})" if many > 1 else f"{s}, accuracy {p}"
            for (s, p), many in Counter(tasks).items()
        )
        yield Setting("macro average", what, promised, 2000, truth, partial(_macro, tasks))


def _macro(tasks: tuple[tuple[Shape, float], ...], rng: np.random.Generator) -> Ends:
    return _ends(macro_interval({str(n): s.credits(rng, p) for n, (s, p) in enumerate(tasks)}))


def paired() -> Iterator[Setting]:
    for shape, (up, down) in (
        *product((Shape(100, 1, 0.0), Shape(400, 1, 0.0)), ((0.05, 0.05), (0.25, 0.05))),
        *product((Shape(10, 10, 0.0), Shape(10, 10, 0.5)), ((0.1, 0.1), (0.25, 0.05))),
        *product((Shape(50, 6, 0.0, 1),), ((0.1, 0.1), (0.25, 0.05))),
        *product((Shape(20, 10, 0.1), Shape(20, 10, 0.5)), ((0.1, 0.1), (0.35, 0.25))),
        *product((Shape(50, 6, 0.1), Shape(50, 6, 0.5)), ((0.1, 0.1), (0.25, 0.05))),
        *product((Shape(100, 6, 0.3),), ((0.1, 0.1), (0.25, 0.05))),
    ):
        promised = shape.clusters >= 20 and round(shape.clusters * (up + down), 6) >= 12
        what = f"{shape}, only A right {up}, only B {down}"
        draw = partial(_paired, shape, up, down)
        yield Setting("paired difference", what, promised, 3000, up - down, draw)


def _paired(shape: Shape, up: float, down: float, rng: np.random.Generator) -> Ends:
    earned = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    drawn = shape.outcomes(rng, (up, down, 1 - up - down))
    return _ends(paired_difference([(cluster, *earned[kind]) for cluster, _, kind in drawn]))


def kappa() -> Iterator[Setting]:
    for shape, (common, apart) in product(
        (Shape(100, 1, 0.0, 1), Shape(300, 1, 0.0, 1), Shape(20, 10, 0.2, 1), Shape(50, 6, 0.5, 1)),
        ((0.5, 0.1), (0.7, 0.3)),
    ):
        promised = shape.clusters >= 20 and shape.filled(apart) >= 5
        what = f"{shape}, {apart} disagree, first label {common}"
        both = common * (1 - apart) + (1 - common) * apart
        expected = common * both + (1 - common) * (1 - both)
        truth = (1 - apart - expected) / (1 - expected)
        draw = partial(_kappa, shape, common, apart)
        yield Setting("Cohen's kappa", what, promised, 2000, truth, draw)


def _kappa(shape: Shape, common: float, apart: float, rng: np.random.Generator) -> Ends:
    of_first = (common, 1 - common)
    shares = tuple(share * of for share in (1 - apart, apart) for of in of_first)
    drawn = list(shape.outcomes(rng, shares))
    first = [kind % 2 for _, _, kind in drawn]
    second = [kind % 2 if kind < 2 else 1 - kind % 2 for _, _, kind in drawn]
    return _ends(cohen_kappa(first, second, clusters=[cluster for cluster, _, _ in drawn]))


def _ends(found: Any) -> Ends:
    return found.low, found.high


# --- table --------------------------------------------------------------------------------


def measure(setting: Setting) -> tuple[float, float, float]:
    """Coverage, its Monte-Carlo error and the mean width; no interval holds nothing."""
    rng = np.random.default_rng(derive_seed(0, setting.method, setting.what))
    held, width = 0, 0.0
    for _ in range(setting.runs):
        low, high = setting.interval(rng)
        if low is not None and high is not None:
            held += low <= setting.truth <= high
            width += high - low
    coverage = held / setting.runs
    return coverage, (coverage * (1 - coverage) / setting.runs) ** 0.5, width / setting.runs


def main() -> int:
    settings = [
        setting
        for method in (plain_wilson, clustered, bootstrap, macro, paired, kappa)
        for setting in method()
    ]
    progress = SlowProgress("simulating")
    rows, broken = [], 0
    for n, setting in enumerate(settings):
        progress(n, len(settings), setting.method)
        coverage, error, width = measure(setting)
        outside = not PROMISED[0] <= coverage <= PROMISED[1]
        broken += outside and setting.promised
        word = ("FAILS" if outside else "ok") if setting.promised else "not promised"
        figures = (f"{coverage:.1%}", f"{error:.1%}", f"{width:.3f}")
        rows.append((setting.method, setting.what, setting.runs, *figures, word))
    head = ("method", "set", "runs", "coverage", "error", "width", "93% to 97%")
    print(tabulate(rows, head, disable_numparse=True))
    promised = sum(setting.promised for setting in settings)
    print(f"\n{promised - broken} of {promised} promised settings within 93% to 97%")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
