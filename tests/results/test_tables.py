"""What a leaderboard prints, in every format and through the command."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from armbench.cli import main
from armbench.results.leaderboard import MACRO, boards
from armbench.results.prices import Price, PriceList
from armbench.results.published import published
from armbench.results.tables import DOWN, UP, Format, render, short_heads
from armbench.runlog import write_json
from tests.results.boards import episodes, run, run_dir

LONG = {
    "base": {"toy_a": "+-" * 30, "toy_b": "+-" * 20},
    "good": {"toy_a": "+" * 60, "toy_b": "+-" * 20},
    "poor": {"toy_a": "-" * 60, "toy_b": "-+" * 20},
}


def lines_of(text: str) -> dict[tuple[str, str, str], dict[str, str]]:
    lines = csv.DictReader(text.splitlines())
    return {(line["judge"], line["task"], line["metric"]): line for line in lines}


def row_of(text: str, name: str, number: int = 0) -> list[str]:
    found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return found[number].split("  ")


def cells_of(text: str, name: str, number: int = 0) -> list[str]:
    return [cell.strip() for cell in row_of(text, name, number) if cell.strip()]


# --- heads --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "heads"),
    [
        (["mini_fine_grained", "mini_instruction"], ("mini", ["fine_grained", "instruction"])),
        (["a_b_c", "a_b_d_e"], ("a_b", ["c", "d_e"])),
        (["judge_pairs", "judge"], ("", ["judge_pairs", "judge"])),
        (["abc", "abd"], ("", ["abc", "abd"])),
        (["mini_instruction"], ("", ["mini_instruction"])),
    ],
)
def test_heads_leave_out_the_words_that_all_tasks_begin_with(
    tasks: list[str], heads: tuple[str, list[str]]
) -> None:
    assert short_heads(tasks) == heads


# --- text ---------------------------------------------------------------------------------


def test_a_table_has_accuracy_by_track_and_what_it_took() -> None:
    prices = PriceList((("m", Price(input=10.0, output=100.0)),))
    text = render(boards([run("m", {"toy_a": "+-m", "toy_b": "+"})], prices=prices), "table")
    assert cells_of(text, "judge") == ["judge", "a", "b", "macro"]
    assert cells_of(text, "m")[1].startswith("0.333 [0.061, 0.792]")
    assert cells_of(text, "(chance)") == ["(chance)", "0.500", "0.500", "0.500"]
    spent = dict(zip(cells_of(text, "judge", 1), cells_of(text, "m", 1), strict=True))
    assert spent == {
        "judge": "m",
        "items": "4",
        "episodes": "4",
        "consistency": "n/a",
        "unscored": "0.250",
        "malformed": "0.250",
        "calls": "1.00",
        "tokens in": "100.0",
        "tokens out": "10.0",
        "seconds": "0.500",
        "cost": "0.002000",
    }
    assert "Unscored episodes count as wrong." in text


def test_marks_say_what_is_significantly_above_or_below_the_baseline() -> None:
    runs = [run(name, tracks) for name, tracks in LONG.items()]
    text = render(boards(runs, baseline="base"), "table")
    assert cells_of(text, "good")[1].endswith(UP)
    assert cells_of(text, "poor")[1].endswith(DOWN)
    assert all(UP not in c and DOWN not in c for c in cells_of(text, "base"))
    assert "above or below base" in text
    assert "Holm's correction over 4 comparisons" in " ".join(text.split())
    assert UP not in render(boards(runs), "table")


def test_cells_that_cannot_be_compared_carry_the_letter_of_a_note() -> None:
    runs = [
        run("a"),
        run("b"),
        run("c", {"toy_a": "++", "toy_b": "+--"}),
        run("d", {"toy_a": "++-"}),
    ]
    text = render(boards([*runs, replace(run("e"), notes=("kept no tokens",))]), "table")
    assert cells_of(text, "c")[1].endswith("(a)")
    assert "(a)" not in cells_of(text, "c")[2]
    assert cells_of(text, "c")[3].endswith("(a)")
    assert "(a) 2 items, 2 of them among the 3 of a." in text
    assert cells_of(text, "d")[2:] == ["n/a", "n/a (b)"]
    assert "(b) not judged: toy_b." in text
    assert "e: kept no tokens" in text


def test_runs_without_a_common_task_have_tables_of_their_own() -> None:
    runs = [
        run("a"),
        run("b", {"other": "+-"}),
        run("c", {"toy_b": "+-+"}),
        run("d", {"other": "--"}),
    ]
    text = render(boards(runs, baseline="b"), "table")
    assert [cells_of(text, "judge", n) for n in (0, 2)] == [
        ["judge", "other"],  # a single task needs no mean
        ["judge", "a", "b", "macro"],
    ]
    assert text.count("above or below b") == 1
    assert "toy: accuracy [95% interval]" in text
    lines = lines_of(render(boards(runs), "csv"))
    assert lines["(chance)", "other", "accuracy"]["value"] == "0.5"
    assert lines["a", MACRO, "accuracy"]["value"] == "0.5"


def test_policies_that_differ_by_track_are_told_by_track() -> None:
    made = run("m", policies={"toy_b": "exclude"})
    text = render(boards([made]), "table")
    assert "Unscored episodes count as wrong in toy_a." in text
    assert "Unscored episodes are left out in toy_b." in text


def test_unscored_kinds_that_nowhere_occur_take_no_column() -> None:
    text = render(boards([run("m", {"toy_a": "+t"}), run("n", {"toy_a": "+-"})]), "table")
    assert {"unscored", "truncated"} <= set(cells_of(text, "judge", 1))
    assert "malformed" not in text


# --- all formats --------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["wrong", "exclude"])
@pytest.mark.parametrize("outcomes", ["+", "m", "u", "uuu", "!!"])
def test_no_table_holds_a_nan_and_each_is_the_same_every_time(outcomes: str, policy: Any) -> None:
    runs = [run("odd", {"toy_a": outcomes}, chance=None, seconds=None), run("base")]
    one, two = (boards(runs, baseline="base", policy=policy) for _ in range(2))
    for form in get_args(Format):
        text = render(one, form, published())
        assert text == render(two, form, published())
        words = re.split(r"[\s,|&<>]+", text.lower())
        assert not {"nan", "inf", "-inf", "none"} & set(words)


@pytest.mark.parametrize("form", get_args(Format))
def test_wall_clock_time_can_be_left_out(form: Format) -> None:
    fast, slow = (boards([run("m", seconds=s)]) for s in (1.25, 9.75))
    assert render(fast, form) != render(slow, form)
    assert render(fast, form, clock=False) == render(slow, form, clock=False)


@pytest.mark.parametrize("form", get_args(Format))
def test_published_figures_stand_apart_and_say_so(form: Format) -> None:
    found = boards([run("m")])
    alone, beside = render(found, form), render(found, form, published())
    assert "ublished" not in alone
    assert "InternVL3" in beside
    if form == "csv":
        assert beside.startswith(alone)
        origins = {line["judge"]: line["origin"] for line in csv.DictReader(beside.splitlines())}
        assert (origins["m"], origins["GPT-4o"]) == ("measured", "published")
    else:
        assert "not measured here: ARMBench-VL in percent (arXiv 2512.05111v1, Table 2)" in beside
        assert "another data set than ARMBench-VL" in " ".join(beside.split())


@pytest.mark.parametrize("form", get_args(Format))
def test_names_of_judges_and_tasks_are_inert(form: Format) -> None:
    name = "<img src=x>|\x1b[2J\u202e&\n=cmd"
    odd = replace(run(name), path=Path(name), episodes=tuple(episodes(f"{name}_a", "+-")))
    text = render(boards([odd, run("b", {f"{name}_b": "+"})]), form)
    assert "\x1b" not in text
    assert "\u202e" not in text
    if form == "html":
        assert "<img" not in text


def test_published_tables_hold_every_number_once() -> None:
    text = render(boards([run("m")]), "md", published())
    cells = [
        c.strip() for line in text.split("Published", 1)[1].splitlines() for c in line.split("|")
    ]
    printed = sorted(c for c in cells if c.replace(".", "").isdigit())
    assert printed == sorted(f"{number.value:.1f}" for number in published())


# --- CSV ----------------------------------------------------------------------------------


def test_csv_has_raw_numbers_a_figure_a_line() -> None:
    found = boards([run(name, tracks) for name, tracks in LONG.items()], baseline="base")
    lines = lines_of(render(found, "csv"))
    [good] = [row for row in found[0].rows if row.label == "good"]
    score = good.cells["toy_a"]
    line = lines["good", "toy_a", "accuracy"]
    assert score.difference is not None
    for column, value in {
        "value": score.accuracy,
        "low": score.low,
        "high": score.high,
        "items": score.items,
        "episodes": score.episodes,
        "difference": score.difference.difference,
        "difference_low": score.difference.low,
        "difference_high": score.difference.high,
        "p": score.difference.p_value,
        "p_holm": score.p_holm,
    }.items():
        assert float(line[column]) == pytest.approx(value)
    assert (line["run"], line["policy"]) == ("runs/good", "wrong")
    assert lines["base", "toy_a", "accuracy"]["p"] == ""
    assert lines["(chance)", MACRO, "accuracy"]["value"] == "0.5"
    assert lines["good", "", "unscored_refused"]["value"] == "0.0"
    assert lines["good", "", "cost_per_episode"]["value"] == ""


# --- the command --------------------------------------------------------------------------


def command(*args: Any) -> int:
    return main(["leaderboard", *map(str, args)])


def test_the_command_prints_a_table_of_a_folder_of_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir(tmp_path, "one", "1111")
    run_dir(tmp_path, "two", "2222")
    assert command(tmp_path, "--baseline", "two") == 0
    out, err = capsys.readouterr()
    assert cells_of(out, "one")[1].startswith("1.000 [")
    assert cells_of(out, "two")[1].startswith("0.000 [")
    assert err == ""


def test_runs_that_cannot_be_read_are_named_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, newer = run_dir(tmp_path, "good"), run_dir(tmp_path, "newer")
    write_json(newer / "run.json", {"schema_version": 99, "config": {}})
    assert command(good, newer, tmp_path / "absent") == 1
    out, err = capsys.readouterr()
    assert "good" in out
    assert [line.split(":")[0] for line in err.splitlines()] == ["left out", "left out"]
    assert "newer armbench" in err
    assert "absent does not exist" in err
    assert command(newer) == 2
    assert "newer armbench" in capsys.readouterr().err


def test_a_table_can_be_written_to_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run_dir(tmp_path, "one", "12?")
    out = tmp_path / "board.html"
    assert command(made, "--format", "html", "--published", "--out", out) == 0
    assert capsys.readouterr().out == ""
    assert out.read_text("utf-8").startswith("<!doctype html>")
    assert command(made, "--out", tmp_path / "no" / "board") == 2
    assert "cannot write" in capsys.readouterr().err


def test_options_change_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run_dir(tmp_path, "one", "1?")
    prices = tmp_path / "prices.csv"
    prices.write_text("model,input,cached,output\n*,0,,0\n", "utf-8")
    assert command(made, "--policy", "exclude", "--prices", prices, "--format", "csv") == 0
    lines = lines_of(capsys.readouterr().out)
    assert lines["one", "toy", "accuracy"]["value"] == "1.0"
    assert lines["one", "", "cost_per_episode"]["value"] == "0.0"
    assert command(made, "--baseline", "nobody") == 2
    assert command(made, "--prices", tmp_path / "none.yaml") == 2
