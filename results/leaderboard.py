"""The figures of a leaderboard: judges in rows, tasks in columns.

Rows are only compared where they can be. A cell that was judged on other items or data, in
other orders, by another prompt or under another policy than the rest of its column carries a
flag that says so, and differences are taken over the episodes that two runs have in common.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from armbench.report import Episode, cell, position
from armbench.results.prices import PriceList, cost
from armbench.results.rows import find, labels, together
from armbench.results.runs import RunTable
from armbench.results.stats import Difference, holm, macro_interval, paired_difference
from armbench.score import UNSCORED, UnscoredPolicy, mean

FLOORS = ("first", "random", "longest", "rules")
"""Judges that do not look, by their back-end."""

ALPHA = 0.05
"""Level of the significance marks, after correction."""

MACRO = "(macro)"
"""Where the unweighted mean over the tasks stands beside the tasks; no task is called so."""


@dataclass(frozen=True)
class Score:
    """One cell of the board.

    Attributes:
        accuracy: Share of correct episodes; None if there is nothing to divide by.
        low: Lower end of the 95% interval; None with `accuracy`.
        high: Upper end.
        items: Items judged.
        episodes: Episodes.
        difference: This less the baseline, over the episodes that both have; None where
            nothing can be compared.
        p_holm: Its p-value after Holm's correction over the board; None with `difference`.
        policy: What unscored episodes did to accuracy; None where its tasks differ.
        flags: Why the cell cannot be read beside the others of its column, in words.
    """

    accuracy: float | None
    low: float | None
    high: float | None
    items: int
    episodes: int
    difference: Difference | None = None
    p_holm: float | None = None
    policy: UnscoredPolicy | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rates:
    """Figures of a whole run, the last five as means of an episode; None where not known.

    Attributes:
        items: Items judged.
        episodes: Episodes; an item judged in two orders is two.
        consistency: Share of items, judged in several orders, judged alike in all.
        unscored: Share of episodes without a usable verdict, by name; has all names, None for
            kinds that the source counts as wrong.
        calls: Tool calls.
        input_tokens: Prompt tokens.
        output_tokens: Generated tokens.
        seconds: Wall-clock seconds.
        cost: In the currency of the price file.
    """

    items: int
    episodes: int
    consistency: float | None
    unscored: dict[str, float | None]
    calls: float | None
    input_tokens: float | None
    output_tokens: float | None
    seconds: float | None
    cost: float | None


@dataclass(frozen=True)
class Row:
    """A run on the board.

    Attributes:
        label: Its name on the board.
        run: The run.
        floor: True for a judge that does not look.
        cells: By task, and `MACRO`; tasks it did not judge are absent.
        rates: How it went and what it took.
    """

    label: str
    run: RunTable
    floor: bool
    cells: dict[str, Score]
    rates: Rates


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        tasks: The columns, without `MACRO`.
        rows: Best macro average first, those without one last.
        chance: Accuracy of random choice by task, and `MACRO`.
        baseline: Label of the row that others are compared with, if one was chosen.
        comparisons: How many p-values Holm's correction took together.
        policies: How unscored episodes count, by task.
        notes: What a reader should know beside the flags.
    """

    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    chance: dict[str, float | None]
    baseline: str | None
    comparisons: int
    policies: dict[str, UnscoredPolicy]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """The episodes of one run on one task, and what their figures depend on."""

    label: str
    task: str
    episodes: tuple[Episode, ...]
    policy: UnscoredPolicy
    made: tuple[tuple[str, str], ...]
    """What the run's configuration says of the task, as far as its source keeps it."""

    @cached_property
    def items(self) -> frozenset[str]:
        return frozenset(e.item for e in self.episodes)

    @cached_property
    def keys(self) -> frozenset[tuple[str, int, tuple[int, ...]]]:
        return frozenset((e.item, e.repeat, e.order) for e in self.episodes)


def boards(
    runs: Sequence[RunTable],
    *,
    baseline: str | None = None,
    policy: UnscoredPolicy | None = None,
    prices: PriceList | None = None,
) -> list[Board]:
    """A leaderboard for each set of runs that have tasks in common; see `board`."""
    base = None if baseline is None else runs[find(baseline, runs, labels(runs))]
    return [
        board(
            group,
            baseline=str(base.path) if base is not None and base in group else None,
            policy=policy,
            prices=prices,
        )
        for group in together(runs)
    ]


def board(
    runs: Sequence[RunTable],
    *,
    baseline: str | None = None,
    policy: UnscoredPolicy | None = None,
    prices: PriceList | None = None,
) -> Board:
    """Work out a leaderboard.

    Args:
        runs: At least one.
        baseline: Label, judge or path of the run to compare the others with.
        policy: What unscored episodes do to accuracy; None keeps what each run states.
        prices: What tokens cost.

    Raises:
        ConfigError: If `baseline` names no run, or several.
    """
    names = labels(runs)
    base = None if baseline is None else find(baseline, runs, names)
    parts = [_parts(run, name, policy) for run, name in zip(runs, names, strict=True)]
    tasks = sorted({task for by_task in parts for task in by_task})
    references = {task: _reference(task, parts, base) for task in tasks}
    compared = {} if base is None else _compared(parts, parts[base])
    rows = [
        _row(run, name, by_task, references, compared, prices)
        for run, name, by_task in zip(runs, names, parts, strict=True)
    ]
    chance = {task: cell(ref.episodes, ref.policy).chance for task, ref in references.items()}
    return Board(
        tasks=tuple(tasks),
        rows=tuple(sorted(rows, key=_rank)),
        chance={**chance, MACRO: _mean_of_all(chance.values())},
        baseline=None if base is None else names[base],
        comparisons=len(compared),
        policies={task: ref.policy for task, ref in references.items()},
        notes=tuple(f"{row.label}: {note}" for row in rows for note in row.run.notes),
    )


def _rank(row: Row) -> tuple[float, str]:
    accuracy = row.cells[MACRO].accuracy
    return (1.0 if accuracy is None else -accuracy, row.label)


def _parts(run: RunTable, label: str, policy: UnscoredPolicy | None) -> dict[str, _Part]:
    by_task: dict[str, list[Episode]] = defaultdict(list)
    for episode in run.episodes:
        by_task[episode.task].append(episode)
    return {
        task: _Part(
            label=label,
            task=task,
            episodes=tuple(episodes),
            policy=policy or run.policies.get(task, "wrong"),
            made=_made(run, task),
        )
        for task, episodes in by_task.items()
    }


def _made(run: RunTable, task: str) -> tuple[tuple[str, str], ...]:
    config = run.config
    entry = config.get("tasks", {}).get(task, {})
    found = {
        "version of the task": entry.get("spec", {}).get("version"),
        "hash of the data": entry.get("data"),
        "hash of the prompts": config.get("prompt"),
    }
    return tuple((name, str(value)) for name, value in found.items() if value is not None)


def _reference(task: str, parts: Sequence[dict[str, _Part]], base: int | None) -> _Part:
    """What a column is read against: the baseline, else what most of its runs were judged on."""
    if base is not None and task in parts[base]:
        return parts[base][task]
    candidates = [by_task[task] for by_task in parts if task in by_task]
    alike = Counter(part.keys for part in candidates)
    exactly = Counter((part.keys, part.policy, part.made) for part in candidates)
    return max(
        candidates,
        key=lambda p: (alike[p.keys], exactly[p.keys, p.policy, p.made], len(p.keys)),
    )


def _flags(part: _Part, ref: _Part) -> tuple[str, ...]:
    flags = []
    if part.items != ref.items:
        common = len(part.items & ref.items)
        flags.append(
            f"{len(part.items)} items, {common or 'none'} of them among the {len(ref.items)} "
            f"of {ref.label}"
        )
    elif part.keys != ref.keys:
        flags.append(f"other orders or repeats of the items than {ref.label}")
    theirs = dict(ref.made)
    flags += [
        f"{name}: {value}, but {theirs[name]} of {ref.label}"
        for name, value in part.made
        if theirs.get(name, value) != value
    ]
    if part.policy != ref.policy:
        does = "are left out" if part.policy == "exclude" else "count as wrong"
        flags.append(f"unscored episodes {does}, unlike those of {ref.label}")
    return tuple(flags)


_Compared = dict[tuple[str, str], tuple[Difference, float]]
"""Differences with their corrected p, by label and task."""


def _compared(parts: Sequence[dict[str, _Part]], base: dict[str, _Part]) -> _Compared:
    """Every other run against the baseline on each task where they have something in common."""
    found = {
        (part.label, task): _difference(part, base[task])
        for by_task in parts
        for task, part in by_task.items()
        if task in base and part is not base[task]
    }
    found = {key: difference for key, difference in found.items() if difference.pairs}
    corrected = holm([d.p_value for d in found.values() if d.p_value is not None])
    return {key: (d, p) for (key, d), p in zip(found.items(), corrected, strict=True)}


def _difference(part: _Part, base: _Part) -> Difference:
    theirs = {(e.item, e.repeat, e.order): e.credit(base.policy) for e in base.episodes}
    pairs = [
        (e.cluster, mine, other)
        for e in part.episodes
        if (mine := e.credit(part.policy)) is not None
        and (other := theirs.get((e.item, e.repeat, e.order))) is not None
    ]
    return paired_difference(pairs)


def _row(
    run: RunTable,
    label: str,
    parts: dict[str, _Part],
    references: dict[str, _Part],
    compared: _Compared,
    prices: PriceList | None,
) -> Row:
    cells = {
        task: _score(parts[task], ref, compared)
        for task, ref in references.items()
        if task in parts
    }
    missing = [task for task in references if task not in parts]
    flags = dict.fromkeys(flag for score in cells.values() for flag in score.flags)
    if missing:
        flags[f"not judged: {', '.join(missing)}"] = None
    macro = macro_interval(
        {task: _counted(parts[task]) if task in parts else [] for task in references}
    )
    policies = {part.policy for part in parts.values()}
    cells[MACRO] = Score(
        accuracy=macro.value,
        low=macro.low,
        high=macro.high,
        items=sum(score.items for score in cells.values()),
        episodes=sum(score.episodes for score in cells.values()),
        policy=policies.pop() if len(policies) == 1 else None,
        flags=tuple(flags),
    )
    backend = run.config.get("judge", {}).get("backend", run.judge)
    return Row(
        label=label,
        run=run,
        floor=backend in FLOORS,
        cells=cells,
        rates=_rates(run, prices),
    )


def _score(part: _Part, ref: _Part, compared: _Compared) -> Score:
    found = cell(part.episodes, part.policy)
    difference, p_holm = compared.get((part.label, part.task), (None, None))
    return Score(
        accuracy=found.accuracy,
        low=found.low,
        high=found.high,
        items=found.items,
        episodes=found.episodes,
        difference=difference,
        p_holm=p_holm,
        policy=part.policy,
        flags=_flags(part, ref),
    )


def _counted(part: _Part) -> list[tuple[str, str, float]]:
    """What `macro_interval` wants: cluster, item and credit of what counts."""
    return [
        (e.cluster, e.item, credit)
        for e in part.episodes
        if (credit := e.credit(part.policy)) is not None
    ]


def _rates(run: RunTable, prices: PriceList | None) -> Rates:
    episodes = run.episodes
    price = prices.of(run.judge) if prices else None
    total = cost(episodes, price) if price else None
    counts = Counter(e.counted_as for e in episodes)
    return Rates(
        items=len({(e.task, e.item) for e in episodes}),
        episodes=len(episodes),
        consistency=position(e.pick for e in episodes).consistency,
        unscored={
            name: counts[name] / len(episodes) if name in run.unscored_kinds else None
            for name in UNSCORED
        },
        calls=_mean_of_all(e.calls for e in episodes),
        input_tokens=_mean_of_all(e.input_tokens for e in episodes),
        output_tokens=_mean_of_all(e.output_tokens for e in episodes),
        seconds=_mean_of_all(e.seconds for e in episodes),
        cost=None if total is None else total / len(episodes),
    )


def _mean_of_all(values: Iterable[float | None]) -> float | None:
    """Arithmetic mean; None if any value is, or of nothing."""
    known = list(values)
    return None if None in known else mean([float(value) for value in known if value is not None])
