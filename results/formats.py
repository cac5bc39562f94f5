"""A table as text, Markdown, LaTeX, HTML or CSV; whatever it says stands inert in each."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from textwrap import wrap

from tabulate import tabulate

from armbench.results.page import page


@dataclass(frozen=True)
class Block:
    """One table.

    Attributes:
        title: Heading.
        head: Column heads; the first column names the rows.
        rows: Cells, as many as heads.
        notes: What stands below it, a paragraph each.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def plain(text: str) -> str:
    """One line without control, direction or other unseen characters, which show as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


# --- terminal -----------------------------------------------------------------------------


def as_text(blocks: Iterable[Block], width: int) -> str:
    """Tables for a terminal; wider ones are folded, the names of the rows repeated."""
    return "\n\n".join(_text(block, width) for block in blocks) + "\n"


def _text(block: Block, width: int) -> str:
    columns = [
        [plain(cell) for cell in column] for column in zip(block.head, *block.rows, strict=True)
    ]
    tables = []
    for fold in _folds([max(map(len, column)) for column in columns], width) if columns else ():
        head, *rows = zip(*(columns[n] for n in (0, *fold)), strict=True)
        tables.append(tabulate(rows, head, tablefmt="simple", disable_numparse=True))
    notes = "\n".join(_wrapped(plain(note), width) for note in block.notes)
    return "\n\n".join(filter(None, [plain(block.title), *tables, notes]))


def _folds(widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns from the second on, in as few tables as fit the width, about as many in each."""
    most = len(widths)
    while True:
        folds: list[list[int]] = [[]]
        for n in range(1, len(widths)):
            across = sum(widths[i] + 2 for i in (0, *folds[-1], n)) - 2  # two spaces between
            if folds[-1] and (across > width or len(folds[-1]) == most):
                folds.append([])
            folds[-1].append(n)
        even = -(-(len(widths) - 1) // len(folds))
        if even >= most:
            return folds
        most = even


def _wrapped(text: str, width: int) -> str:
    return "\n".join(wrap(text, width, break_long_words=False, break_on_hyphens=False))


# --- Markdown -----------------------------------------------------------------------------

_MARKDOWN = re.compile(
    r"[\\`*|~$@]|(?<![^\W_])_|_(?![^\W_])|<(?=[a-z/!?])|&(?=[a-z#])|\](?=[\[(:])|:(?=//)|(?<=www)\.",
    re.I,
)
"""What marks up, links or ends a cell within a line; lines begin with words of ours."""


def as_markdown(blocks: Iterable[Block]) -> str:
    """Tables in GitHub's Markdown."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    rows = [[in_markdown(cell) for cell in row] for row in (block.head, *block.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|{'---|' * len(block.head)}")
    notes = [in_markdown(note) for note in block.notes]
    return "\n\n".join([f"### {in_markdown(block.title)}", "\n".join(lines), *notes])


def in_markdown(text: str) -> str:
    """Text that stands for itself within a line of GitHub's Markdown."""
    return _MARKDOWN.sub(r"\\\g<0>", plain(text))


# --- LaTeX --------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line's end it would open an option
    "]": "{]}",
    "*": "{*}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": r"\textasciigrave{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def as_latex(blocks: Iterable[Block]) -> str:
    """Tables for a LaTeX document that uses booktabs."""
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(map(_latex, blocks)) + "\n"


def _latex(block: Block) -> str:
    head, *rows = (" & ".join(map(_tex, row)) + r" \\" for row in (block.head, *block.rows))
    notes = [rf"\par {_tex(note)}" for note in block.notes]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(block.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(block.head) - 1)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip\footnotesize\raggedright", *notes] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _tex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in plain(text))


# --- HTML ---------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881 }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 80rem }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
div { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line) }
thead th { border-bottom-width: 2px }
th:first-child { text-align: left; position: sticky; left: 0; background: Canvas }
tbody th { font-weight: normal; unicode-bidi: isolate }
tbody th { min-width: 8rem; max-width: 45vw; white-space: normal; overflow-wrap: anywhere }
tbody tr:hover td { background: var(--soft) }
p { font-size: .875rem; margin: .4rem 0; max-width: 60rem; overflow-wrap: anywhere }
"""


def as_html(title: str, blocks: Iterable[Block]) -> str:
    """A self-contained page."""
    body = "\n".join([f"<h1>{_in_html(title)}</h1>", *map(_html, blocks)])
    html: str = page(title, body, _STYLE)
    return html


def _html(block: Block) -> str:
    notes = [f"<p>{_in_html(note)}</p>" for note in block.notes]
    heading = f"<section><h2>{_in_html(block.title)}</h2>"
    return "\n".join([heading, html_table(block), *notes, "</section>"])


def html_table(block: Block) -> str:
    """The table of a block in a box that scrolls by itself."""
    head = "".join(f'<th scope="col">{_in_html(cell)}</th>' for cell in block.head)
    rows = [
        f'<tr><th scope="row">{_in_html(name)}</th>'
        + "".join(f"<td>{_in_html(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in block.rows
    ]
    opening = f'<div tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>'
    return "\n".join([opening, *rows, "</tbody></table></div>"])


def _in_html(text: str) -> str:
    return escape(plain(text))


# --- CSV ----------------------------------------------------------------------------------


def as_csv(head: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> str:
    """Comma-separated values: ten digits of numbers, nothing for None, no text as formula."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_in_csv(value) for value in row] for row in rows)
    return out.getvalue()


def _in_csv(value: str | int | float | None) -> str | int | float | None:
    if not isinstance(value, str):
        # Digits that differ between machines are no information.
        return float(f"{value:.10g}") if isinstance(value, float) else value
    text = plain(value)
    # A spreadsheet takes text that begins so for a formula (OWASP, "CSV injection").
    return f"'{text}" if text[:1] in tuple("=+-@＝＋－＠") else text  # noqa: RUF001
