"""A table in any format; hostile text in it stays text."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.results.formats import (
    Block,
    as_csv,
    as_html,
    as_latex,
    as_markdown,
    as_text,
    plain,
)

BLOCK = Block(
    "Accuracy",
    ("judge", "a_b", "macro"),
    (("one", "0.432 [0.366, 0.502]↑", "n/a"), ("two", "1.000 [0.981, 1.000]", "0.500")),
    ("A note of some words.",),
)

HOSTILE = [
    "a|b",
    "a\nb",
    "<script>alert(1)</script>",
    "[click](https://example.org)",
    "https://example.org",
    "\x1b[31mred",
    "\u202etxt.exe",
    "`code` *bold* _it_ ~~gone~~ __b__ $x$",
    "&lt;b&gt;",
    "=1+1",
    "100% of #1 & {x} \\end{table} ^ ~ [",
    "",
    "\ud800",
]


def hostile(text: str) -> Block:
    return Block("t", ("judge", text), ((text, text),), (f"note: {text}",))


# --- unseen characters --------------------------------------------------------------------


@given(st.text(st.characters()))
def test_plain_text_is_one_line_without_unseen_characters(text: str) -> None:
    assert plain(text).isprintable()
    if text.isprintable():
        assert plain(text) == text


def test_what_is_unseen_shows_as_an_escape() -> None:
    assert plain("a\x1b[1m\n\u202eb") == r"a\x1b[1m\n\u202eb"
    assert plain("判断 é 🎈") == "判断 é 🎈"


# --- terminal -----------------------------------------------------------------------------


def test_text_is_aligned_and_its_notes_are_wrapped() -> None:
    assert as_text([BLOCK], 20) == (
        "Accuracy\n\n"
        "judge    a_b\n"
        "-------  ---------------------\n"
        "one      0.432 [0.366, 0.502]↑\n"
        "two      1.000 [0.981, 1.000]\n\n"
        "judge    macro\n"
        "-------  -------\n"
        "one      n/a\n"
        "two      0.500\n\n"
        "A note of some\nwords.\n"
    )


def test_a_wide_table_is_folded_into_tables_of_about_as_many_columns() -> None:
    block = Block("t", tuple("jabcdef"), (("name", *["12345678"] * 6),))
    heads = [line.split() for line in as_text([block], 60).splitlines() if line.startswith("j")]
    assert heads == [list("jabc"), list("jdef")]
    assert all(len(line) <= 60 for line in as_text([block], 60).splitlines())
    assert as_text([block], 200).count("name") == 1
    # Where not even one column fits, there is one in each.
    assert as_text([block], 5).count("name") == 6


# --- Markdown -----------------------------------------------------------------------------


def test_markdown_is_a_table_of_github() -> None:
    assert as_markdown([BLOCK]) == (
        "### Accuracy\n\n"
        "| judge | a_b | macro |\n"
        "|---|---|---|\n"
        "| one | 0.432 [0.366, 0.502]↑ | n/a |\n"
        "| two | 1.000 [0.981, 1.000] | 0.500 |\n\n"
        "A note of some words.\n"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_neither_marks_up_markdown_nor_ends_a_cell(text: str) -> None:
    lines = as_markdown([hostile(text)]).splitlines()
    assert len(lines) == 7
    unescaped = re.sub(r"\\.", "", lines[2])
    assert unescaped.count("|") == 3
    for mark in ("<s", "](", "://", "`", "*", "$", "~", "&l", " _", "_ "):
        assert mark not in unescaped


# --- LaTeX --------------------------------------------------------------------------------


def test_latex_is_a_table_of_booktabs() -> None:
    assert as_latex([BLOCK]).splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Accuracy}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"judge & a\_b & macro \\",
        r"\midrule",
        r"one & 0.432 {[}0.366, 0.502{]}$\uparrow$ & n/a \\",
        r"two & 1.000 {[}0.981, 1.000{]} & 0.500 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip\footnotesize\raggedright",
        r"\par A note of some words.",
        r"\end{table}",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_no_command_of_latex(text: str) -> None:
    row = as_latex([hostile(text)]).splitlines()[8]
    assert row.endswith(r" \\")
    body = row.removesuffix(r"\\")
    known = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}|\{[\[\]*]\}", "", body)
    assert not set(known.replace(" & ", " ", 1)) & set("\\&%$#_{}^~")


# --- HTML ---------------------------------------------------------------------------------


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Elements:
    found = Elements()
    found.feed(html)
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_text_in_html(text: str) -> None:
    page, harmless = as_html(text, [hostile(text)]), as_html("t", [hostile("x")])
    assert read(page).tags == read(harmless).tags
    assert not text or plain(text) in read(page).texts
    assert "script-src 'none'" in page


def test_a_page_needs_nothing_from_elsewhere() -> None:
    page = as_html("Leaderboard", [BLOCK])
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme" in page or "color-scheme: light dark" in page


# --- CSV ----------------------------------------------------------------------------------


def test_csv_holds_numbers_as_numbers_and_nothing_for_none() -> None:
    text = as_csv(("a", "b", "c", "d"), [("x", -0.1, None, 3), ("y", 1 / 3, 0.1 + 0.2, 0.0)])
    assert text == "a,b,c,d\nx,-0.1,,3\ny,0.3333333333,0.3,0.0\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    [_, row] = csv.reader(as_csv(("name", "n"), [(text, -1)]).splitlines())
    assert row[0][0] not in "=+-@\t\r"
    assert row[1] == "-1"


@given(st.lists(st.text(st.characters()), min_size=2, max_size=4))
def test_csv_is_read_back_as_one_line_of_as_many_cells(texts: list[str]) -> None:
    rows = list(csv.reader(as_csv(["h"] * len(texts), [texts]).splitlines()))
    assert [len(row) for row in rows] == [len(texts)] * 2
    assert [cell.removeprefix("'") for cell in rows[1]] == [
        plain(text).removeprefix("'") for text in texts
    ]
