"""The tables in ``results/tables`` are those that their command makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from armbench.results.leaderboard import MACRO, Board, board
from benchmarks import tables

README = Path(__file__).resolve().parents[2] / "README.md"
INSTRUCTION = "armbench_mini_instruction"
EVERYTHING = ("first", "random", "longest")
OF_THE_WHOLE_BOARD = {"p_holm", "run", "flags"}
"""Columns that change when `rules` is run on one track alone, as is done here to save time."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Board:
    out = tmp_path_factory.mktemp("runs")
    runs = [tables.judged(name, [tables.BENCHMARK], out) for name in EVERYTHING]
    runs.append(tables.judged("rules", [INSTRUCTION], out))
    return board(runs, baseline=tables.BASELINE)


def committed(form: str) -> str:
    return (tables.FOLDER / f"{tables.BENCHMARK}.{form}").read_text("utf-8")


def test_the_committed_figures_are_those_of_runs_made_now(made: Board) -> None:
    old = tables.lines_of(committed("csv"))
    new = tables.lines_of(tables.rendered(made)[f"{tables.BENCHMARK}.csv"])
    assert {judge for judge, _, _ in old} == {"(chance)", *tables.JUDGES}
    keys = [key for key in old if key[0] != "rules" or key[1] == INSTRUCTION]
    assert len(keys) > 40
    for key in keys:
        differing = {name for name in old[key] if old[key][name] != new[key][name]}
        assert differing <= OF_THE_WHOLE_BOARD, (key, differing)
        if key[0] != "rules":
            assert old[key]["run"] == new[key]["run"]


def test_the_markdown_says_what_the_csv_says() -> None:
    lines, text = tables.lines_of(committed("csv")), committed("md")
    rows = {
        row.split("|")[1].split()[0]: row
        for row in text.split("\n### ")[1].splitlines()
        if "|" in row
    }
    for (judge, task, metric), line in lines.items():
        if judge in tables.JUDGES and metric == "accuracy":
            low, high = float(line["low"]), float(line["high"])
            assert f"{float(line['value']):.3f} [{low:.3f}, {high:.3f}]" in rows[judge], task
    assert f"{float(lines['(chance)', MACRO, 'accuracy']['value']):.3f} |" in rows["(chance)"]


def test_the_readme_shows_the_committed_table() -> None:
    shown = committed("md").split("\n### ")[1].strip().splitlines()
    table = [line for line in shown if line.startswith("|")]
    assert "\n".join(table) in README.read_text("utf-8")


def test_a_figure_that_is_out_of_date_is_named(made: Board) -> None:
    name = f"{tables.BENCHMARK}.csv"
    files = {f"{tables.BENCHMARK}.{form}": committed(form) for form in ("md", "csv")}
    assert list(tables.outdated(files)) == []
    line = next(
        x for x in files[name].splitlines() if x.startswith("measured,longest") and MACRO in x
    )
    cells = line.split(",")
    changed = files | {name: files[name].replace(line, ",".join([*cells[:6], "0.5", *cells[7:]]))}
    assert list(tables.outdated(changed)) == [
        f"{name}: longest {MACRO} accuracy: value is {cells[6]}, should be 0.5"
    ]
    [other] = tables.outdated(files | {"armbench_mini.md": "else"})
    assert other.startswith("armbench_mini.md: ")
