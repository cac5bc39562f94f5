"""Figures of a leaderboard, and what may not be compared in silence."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from armbench.errors import ConfigError
from armbench.models import BACKENDS
from armbench.report import cell
from armbench.results.leaderboard import FLOORS, MACRO, Board, Score, board, boards
from armbench.results.prices import Price, PriceList
from armbench.results.stats import holm, macro_interval, paired_difference
from armbench.score import UNSCORED
from tests.results.boards import episodes, picked, run

TRACKS = {"toy_a": "++-+", "toy_b": "+--"}


def labels(found: Board) -> list[str]:
    return [row.label for row in found.rows]


def score(found: Board, label: str, task: str) -> Score:
    [row] = [row for row in found.rows if row.label == label]
    return row.cells[task]


def flags(found: Board, label: str, task: str = "toy_a") -> str:
    return "; ".join(score(found, label, task).flags)


# --- cells and rows -----------------------------------------------------------------------


def test_columns_are_tasks_and_rows_are_judges_by_their_macro_average() -> None:
    low = run("low", {"toy_b": "---", "toy_a": "++--"})
    high = run("high", {"toy_b": "++-", "toy_a": "++--"})
    found = board([low, high])
    assert found.tasks == ("toy_a", "toy_b")
    assert labels(found) == ["high", "low"]
    of_a = cell(episodes("toy_a", "++--"), "wrong")
    got = score(found, "high", "toy_a")
    assert (got.accuracy, got.low, got.high) == (0.5, of_a.low, of_a.high)
    assert (got.items, got.episodes, got.flags) == (4, 4, ())


def test_the_macro_average_is_the_mean_of_the_columns_with_an_interval() -> None:
    found = score(board([run("m", TRACKS)]), "m", MACRO)
    by_task = {
        task: [(e.cluster, e.item, float(e.counted_as == "correct")) for e in episodes(task, text)]
        for task, text in TRACKS.items()
    }
    expected = macro_interval(by_task)
    assert found.accuracy == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert (found.accuracy, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.items, found.episodes, found.policy) == (7, 7, "wrong")
    mixed = board([run("m", TRACKS, policies={"toy_b": "exclude"})])
    assert [score(mixed, "m", task).policy for task in (*mixed.tasks, MACRO)] == [
        "wrong",
        "exclude",
        None,
    ]
    assert list(mixed.rows[0].cells) == ["toy_a", "toy_b", MACRO]


def test_a_judge_that_lacks_a_track_has_no_macro_average_and_stands_last() -> None:
    found = board([run("part", {"toy_a": "++++"}), run("whole", TRACKS)])
    assert labels(found) == ["whole", "part"]
    macro = score(found, "part", MACRO)
    assert (macro.accuracy, macro.low, macro.high) == (None, None, None)
    assert macro.flags == ("not judged: toy_b",)
    assert "toy_b" not in found.rows[1].cells


def test_equal_judges_stand_in_the_order_of_their_names() -> None:
    assert labels(board([run("b"), run("a"), run("c")])) == ["a", "b", "c"]


def test_floors_are_told_by_their_back_end() -> None:
    named = [
        run("first", config={"judge": {"backend": "first"}}),
        run("rules", config={"judge": {"backend": "openai"}}),
        run("random"),
        run("qwen"),
    ]
    found = {row.label: row.floor for row in board(named).rows}
    assert found == {"first": True, "rules": False, "random": True, "qwen": False}
    known = [name for name, (_, _, meaning) in BACKENDS.items() if meaning.startswith("floor")]
    assert set(FLOORS) == set(known)


def test_chance_is_that_of_the_items() -> None:
    found = board([run("m", {"toy_a": "++"}), run("n", {"toy_b": "+"}, chance=0.25)])
    assert found.chance == {"toy_a": 0.5, "toy_b": 0.25, MACRO: 0.375}
    assert board([run("m", chance=None)]).chance == {"toy_a": None, "toy_b": None, MACRO: None}


# --- rates --------------------------------------------------------------------------------


def test_rates_are_means_of_an_episode() -> None:
    one = run("m", {"toy_a": "+-"}, calls=3, seconds=1.5, input_tokens=70, output_tokens=7)
    two = run("m", {"toy_b": "++"}, calls=1, seconds=0.5, input_tokens=30, output_tokens=3)
    [row] = board([replace(one, episodes=one.episodes + two.episodes)]).rows
    rates = row.rates
    assert (rates.items, rates.episodes) == (4, 4)
    assert (rates.calls, rates.seconds) == (2.0, 1.0)
    assert (rates.input_tokens, rates.output_tokens) == (50.0, 5.0)


@pytest.mark.parametrize("name", ["calls", "input_tokens", "output_tokens", "seconds"])
def test_a_rate_that_any_episode_does_not_tell_is_not_known(name: str) -> None:
    made = run("m", {"toy_a": "+-"})
    first = replace(made.episodes[0], **{name: None})
    [row] = board([replace(made, episodes=(first, *made.episodes[1:]))]).rows
    assert getattr(row.rates, name) is None


def test_unscored_episodes_are_counted_by_kind() -> None:
    [row] = board([run("m", {"toy_a": "+-mmu", "toy_b": "?art!"})]).rows
    expected = dict.fromkeys(UNSCORED, 1 / 10) | {"malformed": 2 / 10}
    assert row.rates.unscored == expected


def test_consistency_is_that_of_the_items_judged_in_several_orders() -> None:
    made = run("m", {"toy_a": "+-+-"})
    picks = [picked("x", 1, 1), picked("x", 2, 1), picked("y", 1, 1), picked("y", 1, 2)]
    both = [replace(e, pick=p) for e, p in zip(made.episodes, picks, strict=True)]
    assert board([replace(made, episodes=tuple(both))]).rows[0].rates.consistency == 0.5
    assert board([made]).rows[0].rates.consistency is None


def test_costs_are_per_episode_and_only_known_with_a_price() -> None:
    prices = PriceList((("gpt*", Price(input=10.0, output=100.0)),))
    found = board([run("gpt-x"), run("qwen")], prices=prices)
    costs = {row.label: row.rates.cost for row in found.rows}
    assert costs == {"gpt-x": pytest.approx((100 * 10 + 10 * 100) / 1e6), "qwen": None}
    assert {row.rates.cost for row in board([run("gpt-x")]).rows} == {None}


# --- policies -----------------------------------------------------------------------------


def test_the_policy_is_that_of_each_run_unless_told_otherwise() -> None:
    made = run("m", {"toy_a": "+-mm"}, policies={"toy_a": "exclude"})
    assert score(board([made]), "m", "toy_a").accuracy == 0.5
    assert board([made]).policies == {"toy_a": "exclude"}
    assert score(board([made], policy="wrong"), "m", "toy_a").accuracy == 0.25
    assert board([made], policy="wrong").policies == {"toy_a": "wrong"}


def test_rows_under_another_policy_are_marked() -> None:
    rows = [run(name, {"toy_a": "+-m"}) for name in "ab"]
    rows.append(run("c", {"toy_a": "+-m"}, policies={"toy_a": "exclude"}))
    found = board(rows)
    assert flags(found, "a") == ""
    assert flags(found, "c") == "unscored episodes are left out, unlike those of a"
    assert flags(found, "c", MACRO) == flags(found, "c")
    assert not any(flags(board(rows, policy="exclude"), name) for name in "abc")


# --- what cannot be compared --------------------------------------------------------------


def test_rows_on_other_items_are_marked_with_how_many_they_share() -> None:
    found = board([run("a", {"toy_a": "+-+-"}), run("b", {"toy_a": "++"}), run("c", TRACKS)])
    assert flags(found, "b") == "2 items, 2 of them among the 4 of a"
    assert (flags(found, "a"), flags(found, "c")) == ("", "")
    other = replace(run("d"), episodes=tuple(episodes("toy_a", "++", model="d", item="other")))
    found = board([run("a", {"toy_a": "+-"}), run("b", {"toy_a": "+-"}), other], baseline="a")
    assert flags(found, "d") == "1 items, none of them among the 2 of a"
    assert score(found, "d", "toy_a").difference is None


def test_what_a_column_is_read_against_is_the_baseline_or_else_what_most_rows_have() -> None:
    rows = [run("a", {"toy_a": "+-"}), run("b", {"toy_a": "+-+"}), run("c", {"toy_a": "+--"})]
    assert [bool(flags(board(rows), name)) for name in "abc"] == [True, False, False]
    found = board(rows, baseline="a")
    assert [bool(flags(found, name)) for name in "abc"] == [False, True, True]


def test_other_orders_or_repeats_of_the_same_items_are_marked() -> None:
    for change in ({"order": (1, 0)}, {"repeat": 1}):
        found = board([run("a"), run("b"), run("c", **change)])
        assert flags(found, "c") == "other orders or repeats of the items than a"


def made_by(data: str = "d0", version: str = "1", prompt: str = "p0") -> dict[str, Any]:
    entry = {"spec": {"version": version}, "data": data}
    return {"tasks": {"toy_a": entry}, "prompt": prompt}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (made_by(data="d1"), "hash of the data: d1, but d0 of a"),
        (made_by(version="2"), "version of the task: 2, but 1 of a"),
        (made_by(prompt="p1"), "hash of the prompts: p1, but p0 of a"),
        (made_by(), ""),
        ({}, ""),  # a host that keeps none of it
    ],
)
def test_other_data_tasks_and_prompts_are_marked(other: dict[str, Any], says: str) -> None:
    tracks = {"toy_a": "+-"}
    rows = [run("a", tracks, config=made_by()), run("b", tracks, config=made_by())]
    assert flags(board([*rows, run("c", tracks, config=other)]), "c") == says


def test_notes_of_a_run_are_those_of_the_board() -> None:
    assert board([run("a", notes=("no tokens",)), run("b")]).notes == ("a: no tokens",)


# --- differences --------------------------------------------------------------------------

LONG = {
    "base": {"toy_a": "+-" * 30, "toy_b": "+-" * 20},
    "good": {"toy_a": "+" * 60, "toy_b": "+-" * 20},
    "half": {"toy_a": "+-+--+" * 10, "toy_b": "-+" * 20},
}


def pairs(a: str, b: str) -> list[tuple[str, float, float]]:
    return [(f"toy_a-{n}", float(x == "+"), float(y == "+")) for n, (x, y) in enumerate(zip(a, b))]  # noqa: B905


def test_every_other_row_is_compared_with_the_baseline_and_corrected_over_the_board() -> None:
    found = board([run(name, tracks) for name, tracks in LONG.items()], baseline="base")
    assert (found.baseline, found.comparisons) == ("base", 4)
    expected = paired_difference(pairs(LONG["good"]["toy_a"], LONG["base"]["toy_a"]))
    got = score(found, "good", "toy_a")
    assert got.difference == expected
    assert expected.difference == 0.5
    compared = [
        s for row in found.rows for s in row.cells.values() if s.difference and s.p_holm is not None
    ]
    assert len(compared) == 4
    raw = [s.difference.p_value for s in compared if s.difference]
    assert [s.p_holm for s in compared] == pytest.approx(holm([p for p in raw if p is not None]))
    for task in ("toy_a", "toy_b", MACRO):
        assert score(found, "base", task).difference is None


def test_differences_are_over_the_episodes_that_both_have() -> None:
    base = run("base", {"toy_a": "+-+-"})
    other = run("other", {"toy_a": "++"})
    got = score(board([base, other], baseline="base"), "other", "toy_a").difference
    assert got == paired_difference(pairs("++", "+-"))
    assert got is not None
    assert got.pairs == 2


def test_pairs_count_where_both_have_a_credit() -> None:
    base = run("base", {"toy_a": "+-mu"})
    other = run("other", {"toy_a": "m+-u"})
    tables = [base, other]
    wrong = score(board(tables, baseline="base"), "other", "toy_a").difference
    assert wrong is not None
    assert (wrong.pairs, wrong.difference) == (3, 0.0)
    left = score(board(tables, baseline="base", policy="exclude"), "other", "toy_a").difference
    assert left is not None
    assert (left.pairs, left.difference) == (1, 1.0)


def test_runs_without_a_common_task_are_boards_of_their_own() -> None:
    runs = [run("a", {"x": "++"}), run("b", {"y": "+-"}), run("c", {"x": "--"})]
    of_x, of_y = boards(runs, baseline="c")
    assert (of_x.tasks, labels(of_x), of_x.baseline) == (("x",), ["a", "c"], "c")
    assert (of_y.tasks, labels(of_y), of_y.baseline) == (("y",), ["b"], None)
    with pytest.raises(ConfigError, match="no run is called 'z'"):
        boards(runs, baseline="z")


def test_without_a_baseline_nothing_is_compared() -> None:
    found = board([run("a"), run("b")])
    assert (found.baseline, found.comparisons) == (None, 0)
    assert all(s.difference is None for row in found.rows for s in row.cells.values())
    with pytest.raises(ConfigError, match="no run is called 'z'"):
        board([run("a")], baseline="z")


# --- odd runs -----------------------------------------------------------------------------


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    if isinstance(value, (list, tuple)):
        return [n for inner in value for n in numbers(inner)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("policy", ["wrong", "exclude"])
@pytest.mark.parametrize("outcomes", ["+", "-", "m", "u", "mmm", "uuu", "+" * 40, "!?"])
def test_no_run_is_too_odd_for_the_board(outcomes: str, policy: Any) -> None:
    rows = [run("odd", {"toy_a": outcomes}), run("base", {"toy_a": "+-+-"}, chance=None)]
    for baseline in ("base", "odd"):
        found = board(rows, baseline=baseline, policy=policy)
        assert {"odd", "base"} == set(labels(found))
        assert all(map(math.isfinite, numbers(asdict(found))))


def test_nothing_to_divide_by_is_no_figure() -> None:
    for policy, expected in (("wrong", 0.0), ("exclude", None)):
        got = score(board([run("m", {"toy_a": "m?!"})], policy=policy), "m", "toy_a")  # type: ignore[arg-type]
        assert got.accuracy == expected
        assert (got.low is None) == (expected is None)


def test_runs_of_one_path_do_not_hide_each_other() -> None:
    a, b = run("a", path=Path("x")), run("a", path=Path("y"))
    assert len(set(labels(board([a, b], baseline="x")))) == 2
