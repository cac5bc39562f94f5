"""A comparison as text or Markdown; sample ids, judges and paths stand inert in both."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal
from urllib.parse import quote

from armbench.report import Episode
from armbench.results.agreement import Kappa
from armbench.results.compare import Comparison, Row, Side
from armbench.results.formats import Block, as_markdown, as_text, in_markdown, plain
from armbench.results.pairing import Lone, Pair, hashed
from armbench.results.rows import labels
from armbench.results.runs import anchor
from armbench.score import UNSCORED

Format = Literal["table", "md"]

NA = "n/a"
"""What is not known or cannot be divided."""
_MOST = 20
"""Entries of a list that are shown unless all are asked for."""


@dataclass(frozen=True)
class _Words:
    """What the two runs are called.

    Attributes:
        a: The first run, as a name.
        b: The second run.
        in_a: The first run, after a verdict.
        in_b: The second run.
        gap: The difference.
    """

    a: str
    b: str
    in_a: str
    in_b: str
    gap: str


_RUNS = _Words("A", "B", "in A", "in B", "A - B")
_TOOLS = _Words("with", "without", "with tools", "without tools", "lift")


@dataclass(frozen=True)
class _Listing:
    """Lines under a heading, some with a link."""

    title: str
    lines: tuple[tuple[str, str], ...]


def render(
    found: Comparison, form: Format, *, view: str = "", all: bool = False, width: int = 120
) -> str:
    """A comparison in one of the formats.

    Args:
        found: The figures.
        form: Which format.
        view: Path of the viewer's page on the two runs; episodes link into it.
        all: Show whole lists and not their beginnings.
        width: Characters in a line of ``table``; wider tables are folded.
    """
    most = None if all else _MOST
    words = _RUNS if found.by_calling is None else _TOOLS
    parts = [
        _head(found, words),
        *_tables(found, words),
        *_flips(found, words, view, most),
        *_apart(found, words, most),
    ]
    texts = [_listed(p, form) if isinstance(p, _Listing) else _table(p, form, width) for p in parts]
    return "\n\n".join(texts) + "\n"


def _table(block: Block, form: Format, width: int) -> str:
    text: str = as_text([block], width) if form == "table" else as_markdown([block])
    return text.rstrip("\n")


def _listed(listing: _Listing, form: Format) -> str:
    if form == "md":
        lines = [
            f"- {in_markdown(text)}" + (f" ([view]({link}))" if link else "")
            for text, link in listing.lines
        ]
        return "\n".join([f"### {in_markdown(listing.title)}", "", *lines])
    indented = [f"  {plain(text)}" + (f"  {link}" if link else "") for text, link in listing.lines]
    return "\n".join([plain(listing.title), *indented])


# --- what is compared ---------------------------------------------------------------------


_POLICIES = {
    "wrong": "count as wrong",
    "exclude": "are left out, of both runs where either has one",
}


def _head(found: Comparison, words: _Words) -> _Listing:
    names = labels([found.a, found.b])
    lines = [
        f"{letter}: {name}, {run.path} ({run.source})"
        for letter, name, run in zip((words.a, words.b), names, (found.a, found.b), strict=True)
    ]
    items = len({(p.a.task, p.a.item) for p in found.match.pairs})
    lines.append(f"compared: {len(found.match.pairs)} episodes of {items} items, judged by both")
    for lone, where in ((found.match.only_a, words.in_a), (found.match.only_b, words.in_b)):
        if lone:
            reasons = Counter(reason for _, reason in lone)
            of = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
            lines.append(f"not compared: {len(lone)} episodes {where} only (in the other: {of})")
    for policy, does in _POLICIES.items():
        tasks = [task for task, used in found.policies.items() if used == policy]
        if tasks:
            which = f" ({', '.join(tasks)})" if len(tasks) < len(found.policies) else ""
            lines.append(f"unscored episodes {does}{which}")
    title = "Comparison" if found.by_calling is None else "Lift by tools"
    return _Listing(title, tuple((line, "") for line in (*lines, *found.notes)))


def _apart(found: Comparison, words: _Words, most: int | None) -> list[_Listing]:
    """The episodes that only one run has, by reason."""
    listings = []
    for lone, where in ((found.match.only_a, words.in_a), (found.match.only_b, words.in_b)):
        groups: dict[str, list[Lone]] = defaultdict(list)
        for one in lone:
            groups[one.reason].append(one)
        for reason, group in sorted(groups.items()):
            lines = [(_where(one.episode), "") for one in group]
            title = f"Not compared: {len(group)} episodes {where} only (in the other: {reason})"
            listings.append(_Listing(title, _cut(lines, most)))
    return listings


def _cut(lines: Sequence[tuple[str, str]], most: int | None) -> tuple[tuple[str, str], ...]:
    shown = tuple(islice(lines, most))
    left = len(lines) - len(shown)
    return (*shown, (f"… and {left} more (--all)", "")) if left else shown


def _where(episode: Episode) -> str:
    order = ", order " + "-".join(str(i + 1) for i in episode.order) if episode.order[1:] else ""
    repeat = f", repeat {episode.repeat}" if episode.repeat else ""
    return f"{episode.task} {episode.sample_id}{order}{repeat}"


# --- tables -------------------------------------------------------------------------------


def _tables(found: Comparison, words: _Words) -> list[Block]:
    gap = f"{words.gap} [95%]"
    head = ("", "episodes", "items", words.a, words.b, gap, "p", "p (Holm)", "won/lost/tied")
    rows = found.tasks if len(found.tasks) == 1 else (*found.tasks, found.overall)
    blocks = [
        Block(
            "Accuracy by task",
            (*head, "McNemar", "detectable"),
            tuple((*_cells(row), _p(row.mcnemar), _number(row.detectable, ".3f")) for row in rows),
            _accuracy_notes(found, words),
        )
    ]
    if found.by_calling is not None:
        title = "Lift by whether a tool was called"
        blocks.append(Block(title, head, tuple(map(_cells, found.by_calling)), (_SELECTION,)))
    for title, parts in (("category", found.categories), ("format", found.formats)):
        if len(parts) > len(found.tasks):
            blocks.append(Block(f"Accuracy by {title}", head, tuple(map(_cells, parts))))
    return [*blocks, _behaviour(found, words), _agreement(found)]


_SELECTION = (
    "The judge chose where to call, so the rows hold different items: they show where calling "
    "went along with gain, not what calling brought about."
)


def _cells(row: Row) -> tuple[str, ...]:
    tied = row.items - row.won - row.lost
    left = f" (+{row.left_out} left out)" if row.left_out else ""
    return (
        ": ".join(row.name),
        f"{row.episodes}{left}",
        str(row.items),
        _number(row.a, ".3f"),
        _number(row.b, ".3f"),
        _signed(row.difference.difference, row.difference.low, row.difference.high),
        _p(row.difference.p_value),
        _p(row.p_holm),
        f"{row.won}/{row.lost}/{tied}",
    )


def _accuracy_notes(found: Comparison, words: _Words) -> tuple[str, ...]:
    notes = [
        f"{words.gap}: paired difference over common episodes, with its 95% interval and p; "
        "episodes on one picture, document or item are one cluster. Holm: corrected over the rows "
        "of a table" + (" (all: pooled episodes, not corrected)." if len(found.tasks) > 1 else "."),
        f"won/lost/tied: items with more episodes right {words.in_a} than {words.in_b}, fewer, or "
        "as many. "
        "McNemar: exact p of won against lost (a sign test where items have several episodes).",
        "detectable: the smallest true difference that as many items would show with a probability "
        "of 80%, if the runs part as often as here.",
    ]
    clusters = found.overall.difference.clusters
    if clusters < found.overall.items:
        notes.append(
            f"McNemar's test takes items for independent; here {found.overall.items} items make "
            f"{clusters} clusters, so the paired difference is the one to believe."
        )
    return tuple(notes)


def _behaviour(found: Comparison, words: _Words) -> Block:
    met = [kind for kind in UNSCORED if any(kind in side.counts for side in found.sides)]
    columns: list[tuple[str, Callable[[Side], str]]] = [
        ("episodes", lambda side: str(sum(side.counts.values()))),
        ("correct", lambda side: str(side.counts.get("correct", 0))),
        ("wrong", lambda side: str(side.counts.get("wrong", 0))),
        ("unscored", lambda side: str(sum(side.counts.get(kind, 0) for kind in UNSCORED))),
        *((kind, lambda side, kind=kind: str(side.counts.get(kind, 0))) for kind in met),
    ]
    if any("unlabelled" in side.counts for side in found.sides):
        columns.append(("unlabelled", lambda side: str(side.counts.get("unlabelled", 0))))
    columns += [
        ("calls", lambda side: _number(side.calls, ".2f")),
        ("call errors", lambda side: _number(side.call_errors, ".2f")),
        ("turns", lambda side: _number(side.turns, ".2f")),
        ("tokens in", lambda side: _number(side.input_tokens, ".1f")),
        ("tokens out", lambda side: _number(side.output_tokens, ".1f")),
        ("seconds", lambda side: _number(side.seconds, ".3f")),
    ]
    rows = [
        (name, *(figure(side) for _, figure in columns))
        for name, side in zip((words.a, words.b), found.sides, strict=True)
    ]
    note = "unscored: episodes without a usable verdict, then by kind. From calls on: per episode."
    head = ("", *(name for name, _ in columns))
    return Block("Outcomes and behaviour on the common episodes", head, tuple(rows), (note,))


def _agreement(found: Comparison) -> Block:
    def row(name: str, kappa: Kappa) -> tuple[str, ...]:
        shares = (_number(kappa.agreement, ".3f"), _number(kappa.expected, ".3f"))
        return (name, str(kappa.pairs), *shares, _bounded(kappa.kappa, kappa.low, kappa.high))

    rows = (
        *(
            row(f"answer chosen of {answers}, by place", kappa)
            for answers, kappa in found.same_place.items()
        ),
        row("right or wrong", found.same_outcome),
    )
    head = ("", "episodes", "agreement", "by chance", "Cohen's kappa [95%]")
    note = "answer chosen: pair items read in both. right or wrong: episodes scored in both."
    return Block("Agreement of the two runs", head, rows, (note,))


# --- flips --------------------------------------------------------------------------------


def _flips(found: Comparison, words: _Words, view: str, most: int | None) -> list[_Listing]:
    listings = []
    for pairs, right, not_right in (
        (found.lost, words.in_a, words.in_b),
        (found.won, words.in_b, words.in_a),
    ):
        items = len({(p.a.task, p.a.item) for p in pairs})
        lines = [
            (
                f"{_where(p.a)}: {p.a.counted_as} {words.in_a}, {p.b.counted_as} {words.in_b}",
                _link(view, p),
            )
            for p in pairs
        ]
        heading = f"Right {right}, not {not_right}: {len(pairs)} episodes of {items} items"
        listings.append(_Listing(heading, _cut(lines, most)))
    return listings


def _link(view: str, pair: Pair) -> str:
    if not view:
        return ""
    kept = pair.a if hashed(pair.a) else pair.b
    name = anchor(kept.task, kept.sample_id, kept.repeat, kept.order)
    return f"{quote(view)}#e={name}&compare=1"


# --- numbers ------------------------------------------------------------------------------


def _number(value: float | None, digits: str) -> str:
    return NA if value is None else f"{value:{digits}}"


def _signed(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return NA
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _bounded(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return NA
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _p(value: float | None) -> str:
    if value is None:
        return NA
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
