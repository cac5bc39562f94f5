"""The figures of a run, from its scored episodes.

Every source of episodes (run directories, result folders of hosts) is reduced to
`Episode` first, so that their figures are worked out by the same code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from armbench.intervals import clustered_wilson
from armbench.score import UNSCORED, Pick, Record, UnscoredPolicy, chance, mean, pick
from armbench.trajectory import CountedAs, ModelEvent, ToolEvent
from armbench.types import Frozen


@dataclass(frozen=True, slots=True)
class Episode:
    """One scored episode, reduced to what figures are made of.

    Attributes:
        model: Name of the judge.
        task: Name of the task.
        sample_id: `Sample.id`, or the host's name of the row.
        item: Identity of the item: `Sample.hash`, or `sample_id` where a host keeps no hash.
        cluster: Episodes of the same cluster are not independent; never empty.
        format: Item format.
        category: Category; ``-`` if it has none.
        repeat: Repeat number.
        order: Candidate order as shown.
        counted_as: The bucket.
        labelled: False if there is no gold.
        chance: Accuracy of random choice on this item.
        pick: The verdict of a pair item, if it could be read.
        calls: Tool calls run; None (as below) where the source does not say.
        call_errors: Of these, answered with an error.
        turns: Generations.
        input_tokens: Prompt tokens.
        output_tokens: Generated tokens.
        cached_tokens: Prompt tokens, of the above, that the server had cached.
        seconds: Wall-clock seconds.
    """

    model: str
    task: str
    sample_id: str
    item: str
    cluster: str
    format: str
    category: str
    repeat: int
    order: tuple[int, ...]
    counted_as: CountedAs
    labelled: bool
    chance: float | None = None
    pick: Pick | None = None
    calls: int | None = None
    call_errors: int | None = None
    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, record: Record) -> Episode:
        """Reduce a record."""
        sample, trajectory = record.sample, record.trajectory
        results = [e.result for e in trajectory.events if isinstance(e, ToolEvent)]
        return cls(
            model=trajectory.model,
            task=sample.task,
            sample_id=sample.id,
            item=sample.hash,
            cluster=sample.cluster or sample.hash,
            format=sample.format,
            category=sample.category or "-",
            repeat=trajectory.repeat,
            order=trajectory.order,
            counted_as=record.score.counted_as,
            labelled=sample.gold is not None,
            chance=chance(sample),
            pick=pick(trajectory, sample),
            calls=len(results),
            call_errors=sum(result.error is not None for result in results),
            turns=sum(isinstance(e, ModelEvent) for e in trajectory.events),
            input_tokens=trajectory.usage.input_tokens,
            output_tokens=trajectory.usage.output_tokens,
            cached_tokens=trajectory.usage.cached_tokens,
            seconds=trajectory.timing.seconds,
        )

    def credit(self, policy: UnscoredPolicy) -> float | None:
        """1 if correct, 0 if wrong, and unscored as the policy says; None is left out."""
        if self.counted_as == "correct":
            return 1.0
        if self.counted_as == "wrong":
            return 0.0
        return 0.0 if policy == "wrong" and self.labelled else None


class Cell(Frozen):
    """Accuracy of a set of episodes."""

    items: int
    """Different samples, with or without label."""
    episodes: int
    """Episodes (orders and repeats of an item are episodes of their own)."""
    accuracy: float | None
    """Share of correct ones under the task's policy; None if there is nothing to divide by."""
    low: float | None = None
    """Lower end of the 95% interval, clustered (`armbench.intervals.clustered_wilson`)."""
    high: float | None = None
    """Upper end of the 95% interval."""
    chance: float | None = None
    """Expected accuracy of random choice on these items."""


class Position(Frozen):
    """How much the order of the candidates mattered (pair items)."""

    first_rate: float | None
    """Share of verdicts for the first position."""
    first_expected: float | None
    """The same for a judge that ignores position."""
    consistency: float | None
    """Share of items, judged in several orders, where every order chose the same candidate."""
    items: int
    """Items that were judged and scored in several orders."""


class TaskReport(Frozen):
    """The figures of one task in one run."""

    task: str
    """Task name."""
    policy: UnscoredPolicy
    """What unscored episodes do to accuracy."""
    overall: Cell
    """All labelled episodes."""
    counts: dict[CountedAs, int]
    """Episodes by what they count as."""
    formats: dict[str, Cell]
    """By item format."""
    categories: dict[str, Cell]
    """By category."""
    position: Position
    """Order effects."""
    calls: int | None
    """Tool calls run; None (as below) where the source does not say."""
    call_errors: int | None
    """Of these, answered with an error."""
    turns: int | None
    """Generations."""
    input_tokens: int | None
    """Prompt tokens."""
    output_tokens: int | None
    """Generated tokens."""

    @property
    def unscored(self) -> int:
        """Episodes without a usable verdict."""
        return sum(self.counts.get(name, 0) for name in UNSCORED)


class Report(Frozen):
    """The figures of a run: what `scores.json` holds."""

    tasks: dict[str, TaskReport]
    """By task."""
    macro: float | None
    """Unweighted mean of the tasks' accuracies; None if one has none."""
    micro: float | None
    """Accuracy over all episodes."""


_Key = Callable[[Episode], str]


def report(episodes: Iterable[Episode], policies: dict[str, UnscoredPolicy]) -> Report:
    """Work out every figure.

    Args:
        episodes: Scored episodes.
        policies: Unscored policy by task; ``wrong`` where absent.
    """
    by_task = _grouped(episodes, lambda e: e.task)
    tasks = {
        task: _task_report(task, group, policies.get(task, "wrong"))
        for task, group in by_task.items()
    }
    each = [t.overall.accuracy for t in tasks.values()]
    known = [a for a in each if a is not None]
    credits = [
        credit
        for task, group in by_task.items()
        for e in group
        if (credit := e.credit(policies.get(task, "wrong"))) is not None
    ]
    return Report(
        tasks=tasks,
        macro=mean(known) if len(known) == len(each) else None,
        micro=mean(credits),
    )


def _task_report(task: str, group: list[Episode], policy: UnscoredPolicy) -> TaskReport:
    counts = Counter(e.counted_as for e in group)
    return TaskReport(
        task=task,
        policy=policy,
        overall=cell(group, policy),
        counts={name: counts[name] for name in get_args(CountedAs) if counts[name]},
        formats=_cells(group, policy, lambda e: e.format),
        categories=_cells(group, policy, lambda e: e.category),
        position=position(e.pick for e in group),
        calls=_total(e.calls for e in group),
        call_errors=_total(e.call_errors for e in group),
        turns=_total(e.turns for e in group),
        input_tokens=_total(e.input_tokens for e in group),
        output_tokens=_total(e.output_tokens for e in group),
    )


def _grouped(episodes: Iterable[Episode], key: _Key) -> dict[str, list[Episode]]:
    parts: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        parts[key(episode)].append(episode)
    return dict(sorted(parts.items()))


def _cells(group: list[Episode], policy: UnscoredPolicy, key: _Key) -> dict[str, Cell]:
    return {name: cell(part, policy) for name, part in _grouped(group, key).items()}


def cell(group: Sequence[Episode], policy: UnscoredPolicy) -> Cell:
    """Accuracy of a set of episodes, with its interval."""
    counted = [
        (e.cluster, e.item, credit) for e in group if (credit := e.credit(policy)) is not None
    ]
    low, high = clustered_wilson(counted) if counted else (None, None)
    chances = {e.item: e.chance for e in group if e.chance is not None}
    return Cell(
        items=len({e.item for e in group}),
        episodes=len(group),
        accuracy=mean([credit for _, _, credit in counted]),
        low=low,
        high=high,
        chance=mean(list(chances.values())),
    )


def _total(numbers: Iterable[int | None]) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def position(picks: Iterable[Pick | None]) -> Position:
    """Order effects over the pair items whose verdict could be read."""
    made = [p for p in picks if p is not None]
    by_item: dict[tuple[str, int], list[int]] = defaultdict(list)
    for p in made:
        by_item[p.sample_hash, p.repeat].append(p.chosen)
    several = [set(numbers) for numbers in by_item.values() if len(numbers) > 1]
    return Position(
        first_rate=mean([float(p.shown == 1) for p in made]),
        first_expected=mean([1 / p.candidates for p in made]),
        consistency=mean([float(len(numbers) == 1) for numbers in several]),
        items=len(several),
    )
