"""Two runs over the same episodes: who is better, by how much, and where they part.

Only what both runs judged is compared (`armbench.results.pairing`), under one policy for both;
the rest is counted by reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from armbench.errors import ConfigError
from armbench.report import Episode
from armbench.results.agreement import Kappa, cohen_kappa
from armbench.results.lift import with_and_without
from armbench.results.pairing import Match, Pair, hashed, match, nothing_in_common
from armbench.results.runs import RunTable
from armbench.results.stats import (
    Difference,
    design_effect,
    holm,
    mcnemar_exact,
    minimum_detectable_effect,
    paired_difference,
)
from armbench.score import UnscoredPolicy, mean
from armbench.trajectory import CountedAs


@dataclass(frozen=True)
class Row:
    """Both runs over a set of common episodes; counted are those that count in both.

    Attributes:
        name: What the set is: task, or task and category, …
        items: Different items of the counted episodes.
        episodes: Counted episodes.
        left_out: Common episodes that the policy or a missing label leaves out.
        a: Accuracy of the first run; None if nothing is counted.
        b: Accuracy of the second run.
        difference: First less second, episodes paired and clustered.
        p_holm: Its p after Holm's correction over the rows of the table.
        won: Items on which the first run earned more, over their counted episodes.
        lost: Items on which the second run did.
        mcnemar: Exact p of won against lost: McNemar's test where items have one episode,
            a sign test where they have several; None if nothing is counted.
        detectable: Smallest true difference that as many items would show with a probability
            of 80%, if the runs part on as many episodes as here; None if not even the largest.
    """

    name: tuple[str, ...]
    items: int
    episodes: int
    left_out: int
    a: float | None
    b: float | None
    difference: Difference
    p_holm: float | None
    won: int
    lost: int
    mcnemar: float | None
    detectable: float | None


@dataclass(frozen=True)
class Side:
    """One run over the common episodes; the means are None where its source does not say.

    Attributes:
        counts: Episodes by what they count as.
        calls: Tool calls per episode.
        call_errors: Calls answered with an error, per episode.
        turns: Generations per episode.
        input_tokens: Prompt tokens per episode.
        output_tokens: Generated tokens per episode.
        seconds: Wall-clock seconds per episode.
    """

    counts: dict[CountedAs, int]
    calls: float | None
    call_errors: float | None
    turns: float | None
    input_tokens: float | None
    output_tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        a: The first run.
        b: The second run.
        match: What they have in common.
        policies: What unscored episodes were counted as, by task.
        overall: All common episodes, pooled.
        tasks: By task.
        categories: By task and category.
        formats: By task and item format.
        sides: What each run did.
        same_place: Agreement on the answer chosen, by its place as shown (pair items); by
            number of answers, since chance depends on it.
        same_outcome: Agreement on being right or wrong, over episodes scored in both.
        lost: Counted episodes that the first run got right and the second did not.
        won: The reverse.
        by_calling: By whether the first run called a tool; None unless asked for.
        notes: What a reader should know.
    """

    a: RunTable
    b: RunTable
    match: Match
    policies: dict[str, UnscoredPolicy]
    overall: Row
    tasks: tuple[Row, ...]
    categories: tuple[Row, ...]
    formats: tuple[Row, ...]
    sides: tuple[Side, Side]
    same_place: dict[int, Kappa]
    same_outcome: Kappa
    lost: tuple[Pair, ...]
    won: tuple[Pair, ...]
    by_calling: tuple[Row, ...] | None
    notes: tuple[str, ...]


def compare(
    a: RunTable,
    b: RunTable,
    *,
    policy: UnscoredPolicy | None = None,
    tools_lift: bool = False,
) -> Comparison:
    """Compare two runs.

    Args:
        a: The first run.
        b: The second run.
        policy: What unscored episodes count as; None keeps what the runs state, and
            takes ``wrong`` for tasks on which they differ.
        tools_lift: The runs are one judge with and without tools: the one with tools
            comes first, and what else differs is noted.

    Raises:
        ConfigError: If the runs have no episode in common; says why.
    """
    notes: list[str] = []
    if tools_lift:
        a, b, notes = with_and_without(a, b)
    found = match(a.episodes, b.episodes)
    if not found.pairs:
        raise ConfigError(nothing_in_common(a, b, found))
    tasks = dict.fromkeys(pair.a.task for pair in found.pairs)
    policies, said = _policies(a, b, tasks, policy)
    judge = _Judging(policies)
    lost, won = _flips(found.pairs, judge)
    return Comparison(
        a=a,
        b=b,
        match=found,
        policies=policies,
        overall=_row(("all",), found.pairs, judge),
        tasks=_rows(found.pairs, lambda p: (p.a.task,), judge),
        categories=_rows(found.pairs, lambda p: (p.a.task, p.a.category), judge),
        formats=_rows(found.pairs, lambda p: (p.a.task, p.a.format), judge),
        sides=(_side([p.a for p in found.pairs]), _side([p.b for p in found.pairs])),
        same_place=_same_place(found.pairs),
        same_outcome=_same_outcome(found.pairs),
        lost=lost,
        won=won,
        by_calling=_rows(found.pairs, _calling, judge) if tools_lift else None,
        notes=(*notes, *said, *(f"{run.path}: {note}" for run in (a, b) for note in run.notes)),
    )


def _policies(
    a: RunTable, b: RunTable, tasks: Iterable[str], policy: UnscoredPolicy | None
) -> tuple[dict[str, UnscoredPolicy], list[str]]:
    """One policy for both runs on each task, and where that is not what a run states."""
    used: dict[str, UnscoredPolicy] = {}
    overruled: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for task in tasks:
        first, second = (run.policies.get(task, "wrong") for run in (a, b))
        used[task] = policy or (first if first == second else "wrong")
        if {first, second} != {used[task]}:
            overruled[first, second, used[task]].append(task)
    notes = [
        f"policy for unscored episodes: {chosen!r} for both runs; the first states {first!r}, the "
        f"second {second!r} ({', '.join(names)})"
        for (first, second, chosen), names in overruled.items()
    ]
    return used, notes


class _Judging:
    """What an episode of either run earns, under one policy for both."""

    def __init__(self, policies: dict[str, UnscoredPolicy]) -> None:
        self._policies = policies

    def credits(self, pair: Pair) -> tuple[float, float] | None:
        """What both earn; None if either does not count."""
        policy = self._policies[pair.a.task]
        a, b = pair.a.credit(policy), pair.b.credit(policy)
        return None if a is None or b is None else (a, b)


def _cluster(pair: Pair) -> tuple[str, str]:
    # A run that keeps no hash of its items cannot know what they share.
    kept = pair.a if hashed(pair.a) else pair.b
    return (kept.task, kept.cluster)


def _row(name: tuple[str, ...], pairs: Sequence[Pair], judge: _Judging) -> Row:
    counted = [(pair, earned) for pair in pairs if (earned := judge.credits(pair)) is not None]
    gains: dict[tuple[str, str], float] = defaultdict(float)
    for p, (a, b) in counted:
        gains[p.a.task, p.a.item] += a - b  # whole numbers: no rounding
    won, lost = sum(gain > 0 for gain in gains.values()), sum(gain < 0 for gain in gains.values())
    return Row(
        name=name,
        items=len(gains),
        episodes=len(counted),
        left_out=len(pairs) - len(counted),
        a=mean([earned[0] for _, earned in counted]),
        b=mean([earned[1] for _, earned in counted]),
        difference=paired_difference([(_cluster(p), *earned) for p, earned in counted]),
        p_holm=None,
        won=won,
        lost=lost,
        mcnemar=mcnemar_exact(won, lost) if counted else None,
        detectable=_detectable([(_cluster(p), p.a.item, a - b) for p, (a, b) in counted]),
    )


def _detectable(differences: Sequence[tuple[Hashable, Hashable, float]]) -> float | None:
    worth = design_effect(differences)
    if worth is None:
        return None
    items = len({(cluster, item) for cluster, item, _ in differences})
    apart = sum(abs(difference) for *_, difference in differences) / len(differences)
    found: float | None = minimum_detectable_effect(items, discordance=apart, design_effect=worth)
    return found


def _rows(
    pairs: Iterable[Pair], name: Callable[[Pair], tuple[str, ...]], judge: _Judging
) -> tuple[Row, ...]:
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[name(pair)].append(pair)
    rows = [_row(key, group, judge) for key, group in sorted(groups.items())]
    tested = [row for row in rows if row.difference.p_value is not None]
    corrected = iter(holm([row.difference.p_value or 0.0 for row in tested]))
    return tuple(
        row if row.difference.p_value is None else replace(row, p_holm=next(corrected))
        for row in rows
    )


def _calling(pair: Pair) -> tuple[str, ...]:
    if pair.a.calls is None:
        return ("not known",)
    return ("a tool was called",) if pair.a.calls else ("no tool was called",)


def _side(episodes: Sequence[Episode]) -> Side:
    def per_episode(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return mean(known) if len(known) == len(episodes) else None

    return Side(
        counts=dict(Counter(e.counted_as for e in episodes)),
        calls=per_episode(e.calls for e in episodes),
        call_errors=per_episode(e.call_errors for e in episodes),
        turns=per_episode(e.turns for e in episodes),
        input_tokens=per_episode(e.input_tokens for e in episodes),
        output_tokens=per_episode(e.output_tokens for e in episodes),
        seconds=per_episode(e.seconds for e in episodes),
    )


def _same_place(pairs: Iterable[Pair]) -> dict[int, Kappa]:
    by_answers: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.a.pick is not None and pair.b.pick is not None:
            by_answers[pair.a.pick.candidates].append(pair)
    return {
        answers: _kappa(both, lambda e: e.pick and e.pick.shown)
        for answers, both in sorted(by_answers.items())
    }


def _same_outcome(pairs: Iterable[Pair]) -> Kappa:
    scored = ("correct", "wrong")
    both = [p for p in pairs if p.a.counted_as in scored and p.b.counted_as in scored]
    return _kappa(both, lambda e: e.counted_as)


def _kappa(pairs: Sequence[Pair], label: Callable[[Episode], Hashable]) -> Kappa:
    return cohen_kappa(
        [label(pair.a) for pair in pairs],
        [label(pair.b) for pair in pairs],
        clusters=[_cluster(pair) for pair in pairs],
    )


def _flips(pairs: Iterable[Pair], judge: _Judging) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    earned = [(pair, judge.credits(pair)) for pair in pairs]
    return (
        tuple(pair for pair, credits in earned if credits == (1.0, 0.0)),
        tuple(pair for pair, credits in earned if credits == (0.0, 1.0)),
    )
