"""What a leaderboard says, as tables in any format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

from armbench.results.formats import Block, as_csv, as_html, as_latex, as_markdown, as_text
from armbench.results.leaderboard import ALPHA, MACRO, Board, Row, Score
from armbench.results.published import Published
from armbench.results.stats import Difference
from armbench.score import UNSCORED
from armbench.trajectory import CountedAs

Format = Literal["table", "md", "latex", "html", "csv"]

UP, DOWN = "↑", "↓"
NA = "n/a"
"""What is not known or cannot be divided; never a number in disguise."""


def render(
    boards: Sequence[Board],
    form: Format,
    numbers: Sequence[Published] = (),
    *,
    clock: bool = True,
    width: int = 120,
) -> str:
    """Leaderboards in one of the formats.

    Args:
        boards: The measured figures.
        form: Which format.
        numbers: Published figures, shown apart.
        clock: False leaves out wall-clock time, which differs between equal runs.
        width: Characters in a line of ``table``; wider tables are folded.
    """
    if form == "csv":
        lines = [line for board in boards for line in _csv(board, clock)]
        lines += map(_csv_published, numbers)
        return str(as_csv(_CSV_HEAD, lines))
    blocks = [block for board in boards for block in _measured(board, clock)]
    blocks += _published(numbers)
    written: dict[Format, Callable[[], str]] = {
        "table": lambda: as_text(blocks, width),
        "md": lambda: as_markdown(blocks),
        "latex": lambda: as_latex(blocks),
        "html": lambda: as_html("Leaderboard", blocks),
    }
    return written[form]()


def short_heads(tasks: Sequence[str]) -> tuple[str, list[str]]:
    """The words that all of several tasks begin with, and the names without them."""
    words = [task.split("_") for task in tasks]
    same = 0
    while len(tasks) > 1 and min(map(len, words)) > same + 1 and len({w[same] for w in words}) == 1:
        same += 1
    return "_".join(words[0][:same]), ["_".join(w[same:]) for w in words]


class _Figure(NamedTuple):
    """A column of the second table."""

    head: str
    digits: str
    of: Callable[[Row], float | None]


def _figures(board: Board, clock: bool) -> list[_Figure]:
    met = [kind for kind in UNSCORED if any(row.rates.unscored[kind] for row in board.rows)]
    return [
        _Figure("items", ".0f", lambda row: row.rates.items),
        _Figure("episodes", ".0f", lambda row: row.rates.episodes),
        _Figure("consistency", ".3f", lambda row: row.rates.consistency),
        _Figure("unscored", ".3f", _all_unscored),
        *(_Figure(kind, ".3f", partial(_unscored, kind)) for kind in met),
        _Figure("calls", ".2f", lambda row: row.rates.calls),
        _Figure("tokens in", ".1f", lambda row: row.rates.input_tokens),
        _Figure("tokens out", ".1f", lambda row: row.rates.output_tokens),
        *([_Figure("seconds", ".3f", lambda row: row.rates.seconds)] if clock else []),
        _Figure("cost", ".6f", lambda row: row.rates.cost),
    ]


def _unscored(kind: CountedAs, row: Row) -> float | None:
    return row.rates.unscored[kind]


def _all_unscored(row: Row) -> float | None:
    shares = row.rates.unscored.values()
    return None if None in shares else sum(share or 0.0 for share in shares)


def _measured(board: Board, clock: bool) -> list[Block]:
    names = [f"{row.label} (floor)" if row.floor else row.label for row in board.rows]
    marks, figures = _marks(board), _figures(board, clock)
    common, heads = short_heads(board.tasks)
    columns = dict(zip(board.tasks, heads, strict=True))
    if len(columns) > 1:
        columns[MACRO] = "macro"
    scores = [[_score(row.cells.get(task), marks) for task in columns] for row in board.rows]
    chances = [_number(board.chance.get(task), ".3f") for task in columns]
    rates = [[_number(f.of(row), f.digits) for f in figures] for row in board.rows]
    return [
        Block(
            f"{common}: accuracy [95% interval]" if common else "Accuracy [95% interval]",
            ("judge", *columns.values()),
            (*_rows(names, scores), ("(chance)", *chances)),
            (*_legend(board), *(f"({mark}) {flag}." for flag, mark in marks.items())),
        ),
        Block(
            f"{common}: behaviour and spending" if common else "Behaviour and spending",
            ("judge", *(figure.head for figure in figures)),
            tuple(_rows(names, rates)),
            (_rates_legend(clock),),
        ),
    ]


def _rows(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    return [(name, *line) for name, line in zip(names, cells, strict=True)]


def _marks(board: Board) -> dict[str, str]:
    """A letter for each flag on the board."""
    cells = [row.cells.get(task) for row in board.rows for task in (*board.tasks, MACRO)]
    flags = dict.fromkeys(flag for cell in cells if cell for flag in cell.flags)
    return {flag: _letter(n) for n, flag in enumerate(flags)}


def _letter(n: int) -> str:
    return (_letter(n // 26 - 1) if n >= 26 else "") + chr(ord("a") + n % 26)


def _score(score: Score | None, marks: dict[str, str]) -> str:
    if score is None:
        return NA
    text = _number(score.accuracy, ".3f")
    if score.low is not None and score.high is not None:
        text += f" [{score.low:.3f}, {score.high:.3f}]"
    if score.difference and score.p_holm is not None and score.p_holm < ALPHA:
        text += UP if (score.difference.difference or 0) > 0 else DOWN
    return text + "".join(f" ({marks[flag]})" for flag in score.flags)


def _number(value: float | None, digits: str) -> str:
    return NA if value is None else f"{value:{digits}}"


_INTERVALS = (
    "Intervals: Wilson's at the effective number of items; episodes on one picture, document "
    "or item are one cluster."
)
_POLICY = {"wrong": "count as wrong", "exclude": "are left out"}


def _rates_legend(clock: bool) -> str:
    means = "tool calls, tokens, seconds and cost" if clock else "tool calls, tokens and cost"
    return (
        "consistency: share of items judged alike in every order. unscored: share of episodes "
        f"without a usable verdict, then by kind. {means}: mean of an episode; an item judged in "
        f"two orders is two episodes. cost: from the price file alone. {NA}: not known."
    )


def _legend(board: Board) -> list[str]:
    notes = [_INTERVALS]
    if len(board.tasks) > 1:
        notes[0] += " macro: unweighted mean of the columns."
    by_policy = {
        policy: [t for t, p in board.policies.items() if p == policy]
        for policy in dict.fromkeys(board.policies.values())
    }
    notes += [
        f"Unscored episodes {_POLICY[policy]}"
        + (f" in {', '.join(tasks)}." if len(by_policy) > 1 else ".")
        for policy, tasks in by_policy.items()
    ]
    if any(row.floor for row in board.rows):
        notes.append("(floor): no model, but a fixed rule or a coin.")
    if board.baseline is not None:
        many = f"{board.comparisons} comparison{'s' * (board.comparisons != 1)}"
        notes.append(
            f"{UP} {DOWN}: above or below {board.baseline} (paired difference over common "
            f"episodes, p < {ALPHA} after Holm's correction over {many})."
        )
    return notes + list(board.notes)


_PUBLISHED_NOTE = (
    "Published figures in percent, as printed there, under the authors' own settings; not "
    "measured here. The bundled armbench_mini is another data set than ARMBench-VL: its rows "
    "are not comparable with these."
)


def _published(numbers: Sequence[Published]) -> list[Block]:
    """A table for each published one; a benchmark with several metrics gets one of its own."""
    metrics = {(n.table, n.benchmark): set[str]() for n in numbers}
    for n in numbers:
        metrics[n.table, n.benchmark].add(n.metric)
    groups: dict[tuple[str, str, str], list[Published]] = {}
    for n in numbers:
        own = n.benchmark if len(metrics[n.table, n.benchmark]) > 1 else ""
        groups.setdefault((n.source, n.table, own), []).append(n)
    blocks = [_published_block(*key, group) for key, group in groups.items()]
    return [*blocks[:-1], replace(blocks[-1], notes=(_PUBLISHED_NOTE,))] if blocks else []


def _published_block(source: str, table: str, own: str, group: Sequence[Published]) -> Block:
    columns = dict.fromkeys((n.benchmark, n.metric) for n in group)
    values = {(n.label, n.benchmark, n.metric): n.value for n in group}
    labels = list(dict.fromkeys(n.label for n in group))
    cells = [[_number(values.get((name, *column)), ".1f") for column in columns] for name in labels]
    heads = [metric if own else benchmark for benchmark, metric in columns]
    what = own or "benchmarks"
    title = f"Published, not measured here: {what} in percent ({source}, {table})"
    return Block(title, ("model", *heads), tuple(_rows(labels, cells)))


# --- CSV ----------------------------------------------------------------------------------

_CSV_HEAD = (
    "origin", "judge", "run", "floor", "task", "metric", "value", "low", "high",
    "items", "episodes", "difference", "difference_low", "difference_high",
    "p", "p_holm", "policy", "flags",
)  # fmt: skip
"""One figure a line: ``measured`` with task and metric, or ``published`` in percent."""

_Line = tuple[str | int | float | None, ...]


def _csv(board: Board, clock: bool) -> list[_Line]:
    lines: list[_Line] = []
    for task in (*board.tasks, MACRO):
        lines.append(
            _csv_line(["measured", "(chance)", "", 1, task, "accuracy", board.chance[task]])
        )
    for row in board.rows:
        who = ["measured", row.label, str(row.run.path), int(row.floor)]
        lines += [_csv_score(who, task, score) for task, score in row.cells.items()]
        rates = row.rates
        figures = {
            "consistency": rates.consistency,
            **{f"unscored_{kind}": share for kind, share in rates.unscored.items()},
            "calls_per_episode": rates.calls,
            "input_tokens_per_episode": rates.input_tokens,
            "output_tokens_per_episode": rates.output_tokens,
            **({"seconds_per_episode": rates.seconds} if clock else {}),
            "cost_per_episode": rates.cost,
        }
        lines += [_csv_line([*who, "", name, value]) for name, value in figures.items()]
    return lines


def _csv_score(who: list[str | int], task: str, score: Score) -> _Line:
    line = [*who, task, "accuracy", score.accuracy, score.low, score.high]
    found = score.difference or Difference(None, None, None, None, 0, 0)
    against = [found.difference, found.low, found.high, found.p_value, score.p_holm]
    return _csv_line(
        [*line, score.items, score.episodes, *against, score.policy, "; ".join(score.flags)]
    )


def _csv_published(number: Published) -> _Line:
    where = f"{number.source}, {number.table}"
    name = [number.benchmark, number.metric]
    return _csv_line(["published", number.label, where, 0, *name, number.value])


def _csv_line(cells: Sequence[str | int | float | None]) -> _Line:
    return (*cells, *[None] * (len(_CSV_HEAD) - len(cells)))
