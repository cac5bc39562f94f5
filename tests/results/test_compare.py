"""Two runs on the same episodes: every figure worked out by hand, everything left out named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from armbench.cli import main
from armbench.errors import ConfigError
from armbench.report import Episode
from armbench.results.compare import Comparison, compare
from armbench.results.compare_text import render
from armbench.results.pairing import match
from armbench.results.runs import RunTable, anchor
from armbench.results.stats import (
    holm,
    mcnemar_exact,
    minimum_detectable_effect,
    paired_difference,
)
from armbench.score import UNSCORED, Pick
from tests.results.boards import episodes, run, run_dir


def both(a: str, b: str, **options: Any) -> Comparison:
    """Two runs on one task, an item for each letter."""
    return compare(run("a", {"toy": a}), run("b", {"toy": b}), **options)


def table(made: list[Episode], judge: str = "a", **fields: Any) -> RunTable:
    return replace(run(judge, {"toy": "+"}), episodes=tuple(made), **fields)


def hashed(*outcomes: str, content: str = "h", **fields: Any) -> list[Episode]:
    """Episodes of items with a hash of their content; a text for each order."""
    return [
        replace(e, item=f"{content}-{e.sample_id}", order=(n, 1 - n), cluster=f"c-{e.sample_id}")
        for n, text in enumerate(outcomes)
        for e in episodes("toy", text, **fields)
    ]


# --- what is compared ---------------------------------------------------------------------


def test_only_what_both_judged_and_the_rest_by_reason() -> None:
    a = hashed("+++", "++")  # order 0-1 of three items, order 1-0 of two
    found = match(a, hashed("++"))
    assert [p.a.sample_id for p in found.pairs] == ["toy-0", "toy-1"]
    assert [(x.episode.sample_id, x.reason) for x in found.only_a] == [
        ("toy-0", "other order or repeat"),
        ("toy-1", "other order or repeat"),
        ("toy-2", "not judged"),
    ]
    assert found.only_b == ()


def test_items_of_one_id_with_other_content_are_not_compared() -> None:
    found = match(hashed("++"), [*hashed("+", content="new"), *hashed("++")[1:]])
    assert [p.a.sample_id for p in found.pairs] == ["toy-1"]
    assert [x.reason for x in (*found.only_a, *found.only_b)] == ["other content"] * 2


def test_a_source_without_hashes_is_matched_by_id() -> None:
    bare = [replace(e, order=(0, 1)) for e in episodes("toy", "+-")]
    found = match(hashed("++"), bare)
    assert [(p.a.sample_id, p.b.sample_id) for p in found.pairs] == [
        ("toy-0", "toy-0"),
        ("toy-1", "toy-1"),
    ]
    # The clusters are those of the run that knows them.
    shared = [replace(e, cluster="one picture") for e in hashed("++")]
    for a, b in ((shared, bare), (bare, shared)):
        assert compare(table(a), table(b)).overall.difference.clusters == 1


def test_single_answers_have_one_order_however_it_is_written() -> None:
    a = [replace(e, order=(0,)) for e in episodes("toy", "+")]
    b = [replace(e, order=()) for e in episodes("toy", "-")]
    assert len(match(a, b).pairs) == 1


def test_repeats_are_paired_with_their_like() -> None:
    a = [*episodes("toy", "+"), *episodes("toy", "-", repeat=1)]
    b = [*episodes("toy", "-", repeat=1), *episodes("toy", "+", repeat=2)]
    found = match(a, b)
    assert [(p.a.repeat, p.b.repeat) for p in found.pairs] == [(1, 1)]
    assert [x.reason for x in (*found.only_a, *found.only_b)] == ["other order or repeat"] * 2


@pytest.mark.parametrize(
    ("b", "why"),
    [
        (episodes("other", "+"), "A judged items of toy, B of other"),
        (hashed("+", content="new"), "items of the same id differ in content"),
        (hashed("+", "+")[1:], "the same items were shown in other orders"),
    ],
)
def test_nothing_in_common_says_why(b: list[Episode], why: str) -> None:
    with pytest.raises(ConfigError, match=f"have no episode in common: {why}"):
        compare(table(hashed("+")), table(b))


# --- figures ------------------------------------------------------------------------------


def test_accuracies_difference_and_items_won_and_lost() -> None:
    row = both("+++-+-", "+--+--").overall
    assert (row.episodes, row.items, row.left_out) == (6, 6, 0)
    assert (row.a, row.b) == (4 / 6, 2 / 6)
    assert (row.won, row.lost) == (3, 1)
    assert row.mcnemar == mcnemar_exact(3, 1) == pytest.approx(0.625)  # 2 * (1 + 4) / 16
    credits = zip([1, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0], strict=True)
    pairs = [(f"toy-{n}", float(a), float(b)) for n, (a, b) in enumerate(credits)]
    expected = paired_difference(pairs)
    assert row.difference.difference == pytest.approx(2 / 6)
    assert row.difference == expected


def test_an_item_is_won_by_who_got_more_of_its_episodes_right() -> None:
    # By item and order: a ++, +-, -+, --; b -+, -+, --, --.
    row = compare(table(hashed("++--", "+-+-")), table(hashed("----", "++--"), "b")).overall
    assert (row.items, row.episodes) == (4, 8)
    assert (row.won, row.lost) == (2, 0)
    assert row.difference.clusters == 4


def test_holms_correction_is_over_the_rows_of_a_table() -> None:
    a = run("a", {"one": "++++++++", "two": "++++----", "three": "+-+-+-+-"})
    b = run("b", {"one": "--------", "two": "----+---", "three": "+-+-+-+-"})
    found = compare(a, b)
    raw = [row.difference.p_value for row in found.tasks]
    assert [row.p_holm for row in found.tasks] == holm([p for p in raw if p is not None])
    assert found.overall.p_holm is None
    assert [row.name for row in found.tasks] == [("one",), ("three",), ("two",)]


def test_categories_and_formats_are_told_apart_by_task() -> None:
    a = [
        *episodes("x", "++", category="c", format="pair"),
        *episodes("y", "+-", category="c", format="single"),
        *[replace(e, sample_id="z") for e in episodes("y", "-", category="d", format="single")],
    ]
    found = compare(table(a), table(a))
    assert [(row.name, row.episodes) for row in found.categories] == [
        (("x", "c"), 2),
        (("y", "c"), 2),
        (("y", "d"), 1),
    ]
    assert [row.name for row in found.formats] == [("x", "pair"), ("y", "single")]
    assert all(row.difference.difference == 0.0 for row in found.categories)


def test_unscored_is_kept_apart_by_kind_in_both() -> None:
    found = both("+m?art!", "-++++++")
    a, b = found.sides
    assert {kind: a.counts.get(kind, 0) for kind in UNSCORED} == dict.fromkeys(UNSCORED, 1)
    assert b.counts == {"correct": 6, "wrong": 1}
    text = render(found, "table", width=200)
    for kind in UNSCORED:
        assert kind in text


def test_what_a_source_does_not_say_is_not_known() -> None:
    a = run("a", {"toy": "+-"}, calls=2, input_tokens=30, seconds=1.5)
    b = run("b", {"toy": "--"}, calls=None, turns=None, input_tokens=None, seconds=None)
    found = compare(a, b)
    assert (found.sides[0].calls, found.sides[0].input_tokens) == (2.0, 30.0)
    assert (found.sides[1].calls, found.sides[1].turns, found.sides[1].seconds) == (None,) * 3
    assert "n/a" in render(found, "table")


def test_agreement_on_the_answer_and_on_being_right() -> None:
    def picks(shown: str) -> list[Episode]:
        made = episodes("toy", "+-+-")
        return [
            replace(e, pick=Pick(e.item, 0, 2, int(s), int(s)) if s != "?" else None)
            for e, s in zip(made, shown, strict=True)
        ]

    found = compare(table(picks("1122")), table(picks("112?")))
    assert (found.same_place[2].pairs, found.same_place[2].agreement) == (3, 1.0)
    found = both("++--m", "+-+-+")
    assert (found.same_outcome.pairs, found.same_outcome.agreement) == (4, 0.5)
    assert found.same_outcome.kappa == pytest.approx(0.0)


def test_guesses_between_two_and_between_four_answers_do_not_agree_beyond_chance() -> None:
    def guesses(first: Callable[[int, int], int]) -> RunTable:
        made = episodes("toy", "+" * 32)
        picks = [(4 if n < 16 else 2, n % 16) for n in range(32)]
        return table([
            replace(e, pick=Pick(e.item, 0, of, shown := 1 + first(n, of) % of, shown))
            for e, (of, n) in zip(made, picks, strict=True)
        ])  # fmt: skip

    found = compare(guesses(lambda n, of: n), guesses(lambda n, of: n // of))
    assert {answers: kappa.kappa for answers, kappa in found.same_place.items()} == {
        2: pytest.approx(0.0),
        4: pytest.approx(0.0),
    }


def test_the_detectable_difference_is_that_of_the_items_and_of_how_often_the_runs_part() -> None:
    row = both("+" * 30 + "-" * 10 + "+-" * 30, "-" * 30 + "+" * 10 + "+-" * 30).overall
    assert row.detectable == minimum_detectable_effect(100, discordance=0.4)
    assert f"{row.detectable:.3f}" in render(
        both("+" * 40 + "-" * 60, "-" * 40 + "-" * 60), "table"
    )
    assert both("+-+-", "+-+-").overall.detectable is None


def test_flips_both_ways() -> None:
    found = both("+-+m+", "-++++")
    assert [p.a.sample_id for p in found.lost] == ["toy-0"]
    assert [p.a.sample_id for p in found.won] == ["toy-1", "toy-3"]


# --- policies and bad input ---------------------------------------------------------------


def test_runs_of_different_policies_are_compared_under_one() -> None:
    a = run("a", {"toy": "+m--"}, policies={"toy": "exclude"})
    b = run("b", {"toy": "-+-?"})
    found = compare(a, b)
    assert found.policies == {"toy": "wrong"}
    assert (found.overall.episodes, found.overall.a, found.overall.b) == (4, 1 / 4, 1 / 4)
    (note,) = found.notes
    assert "'wrong' for both runs; the first states 'exclude', the second 'wrong' (toy)" in note
    found = compare(a, b, policy="exclude")
    # What is unscored in one run is left out of both.
    assert (found.overall.episodes, found.overall.left_out) == (2, 2)
    assert (found.overall.a, found.overall.b) == (0.5, 0.0)
    assert found.won == ()


def test_a_policy_that_both_state_needs_no_note() -> None:
    stated = {"policies": {"toy": "exclude"}}
    found = compare(run("a", {"toy": "+m"}, **stated), run("b", {"toy": "++"}, **stated))
    assert found.overall.episodes == 1
    assert found.notes == ()


@pytest.mark.parametrize(("a", "b"), [("mm", "??"), ("uu", "uu"), ("m", "+")])
def test_nothing_to_divide_by_is_not_a_number(a: str, b: str) -> None:
    found = both(a, b, policy="exclude")
    row = found.overall
    assert (row.a, row.b, row.difference.difference, row.mcnemar) == (None,) * 4
    for form in ("table", "md"):
        text = render(found, form)  # type: ignore[arg-type]
        assert "n/a" in text
        assert "nan" not in text.lower().replace("n/a", "")


def test_one_item() -> None:
    row = both("+", "-").overall
    assert (row.a, row.b, row.won, row.lost) == (1.0, 0.0, 1, 0)
    numbers = (row.difference.low, row.difference.high, row.difference.p_value)
    assert all(n is not None and math.isfinite(n) for n in numbers)


# --- with and without tools ---------------------------------------------------------------


def config(tools: Any = None, **judge: Any) -> dict[str, Any]:
    spec = {"tools": ["image", {"name": "document", "config": {}}], "orders": "both"}
    return {
        "tasks": {"toy": {"spec": spec, "data": "d"}},
        "judge": {"backend": "openai", "args": {"model": "m"}, "tools": tools, **judge},
    }


def lift(
    a: dict[str, Any], b: dict[str, Any], calls: int | None = 1, judges: str = "mm"
) -> Comparison:
    first = run(judges[0], {"toy": "++-"}, config=a, calls=calls)
    return compare(first, run(judges[1], {"toy": "+--"}, config=b, calls=0), tools_lift=True)


def test_a_judge_with_and_without_tools_has_nothing_to_warn_of() -> None:
    found = lift(config(), config([]))
    assert found.notes == ()
    assert found.overall.difference.difference == pytest.approx(1 / 3)
    assert "Lift by tools" in render(found, "table")


def test_the_run_with_tools_comes_first() -> None:
    found = lift(config([]), config())
    assert found.a.config == config()
    assert found.overall.difference.difference == pytest.approx(-1 / 3)
    assert found.notes == ("the second run given is the one with tools: it comes first here",)


def test_what_else_differs_is_named() -> None:
    found = lift(config(), config([], args={"model": "n"}, loop={"max_turns": 2}), judges="mn")
    (note,) = found.notes
    assert "judge (m and n), judge.args.model, judge.loop" in note
    changed = config([])
    changed["tasks"]["toy"]["data"] = "other"
    changed["tasks"]["more"] = {"spec": {}, "data": "x"}  # not compared, so it does not matter
    (note,) = lift(config(), changed).notes
    assert "(tasks.toy.data)" in note


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (config(), config(["image"]), "offered document, image, the second image"),
        (config([]), config([]), "offered none, the second none"),
        ({}, config([]), "cannot be checked"),
    ],
)
def test_what_is_no_such_pair_is_a_warning(a: dict[str, Any], b: dict[str, Any], said: str) -> None:
    (note,) = lift(a, b).notes
    assert note.startswith("warning: ")
    assert said in note


def test_lift_by_whether_a_tool_was_called() -> None:
    made = [*episodes("toy", "++-", calls=2), *episodes("toy", "-+", calls=0, repeat=1)]
    plain = [*episodes("toy", "---", calls=0), *episodes("toy", "-+", calls=0, repeat=1)]
    found = compare(table(made, config=config()), table(plain, config=config([])), tools_lift=True)
    assert found.by_calling is not None
    assert [(r.name[0], r.episodes, r.difference.difference) for r in found.by_calling] == [
        ("a tool was called", 3, pytest.approx(2 / 3)),
        ("no tool was called", 2, 0.0),
    ]
    assert "not what calling brought about" in " ".join(render(found, "table").split())
    unknown = lift(config(), config([]), calls=None).by_calling
    assert unknown is not None
    assert [row.name for row in unknown] == [("not known",)]


# --- as text ------------------------------------------------------------------------------


def test_lists_are_cut_and_say_so_unless_all_is_asked_for() -> None:
    found = both("+" * 25, "-" * 25)
    text = render(found, "table")
    assert "… and 5 more (--all)" in text
    assert "toy-9," not in text
    whole = render(found, "table", all=True)
    assert "toy-9," in whole
    assert "more (--all)" not in whole


def test_flips_link_into_the_viewer() -> None:
    found = both("+", "-")
    name = anchor("toy", "toy-0", 0, (0, 1))
    assert f"out/a.html#e={name}&compare=1" in render(found, "table", view="out/a.html")
    assert f"([view](a%20%29.html#e={name}&compare=1))" in render(found, "md", view="a ).html")
    assert "#e=" not in render(found, "table")


def test_what_is_not_compared_is_listed() -> None:
    text = render(both("+++", "+"), "table")
    assert "not compared: 2 episodes in A only (in the other: 2 not judged)" in text
    assert "toy toy-2" in text.split("Not compared")[1]


def test_foreign_text_stands_inert() -> None:
    evil = "\x1b[31m|x|<script>\u202e\n# head [a](javascript:x)"
    a = [replace(e, sample_id=evil, category=evil) for e in episodes("toy", "+-")]
    a = [replace(e, repeat=n) for n, e in enumerate(a)]
    b = [replace(e, counted_as="wrong") for e in a]
    found = compare(table(a, evil), table(b, evil))
    for form in ("table", "md"):
        text = render(found, form)  # type: ignore[arg-type]
        assert not {"\x1b", "\u202e"} & set(text)
        assert "\n# head" not in text
    assert "\\<script>" in text  # of the Markdown
    assert "a](javascript" not in text
    assert "a\\](javascript" in text


def test_equal_input_gives_equal_bytes_in_any_order() -> None:
    made = hashed("+-+", "--+")
    found = [
        render(compare(table(rows), table(rows[::-1], "b")), "md") for rows in (made, made[::-1])
    ]
    assert found[0] == found[1]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = run_dir(tmp_path, "a", "11?2"), run_dir(tmp_path, "b", "1211")
    assert main(["compare", str(a), str(b), "--view", "r.html"]) == 0
    out = capsys.readouterr().out
    assert "compared: 4 episodes of 4 items" in out
    assert "missing in A, correct in B" in out
    assert "r.html#e=" in out
    assert main(["compare", str(a), str(b), "--policy", "exclude", "--format", "md"]) == 0
    assert "3 (+1 left out)" in capsys.readouterr().out
    other = run_dir(tmp_path, "c", "1", task="another")
    assert main(["compare", str(a), str(other)]) == 2
    assert "have no episode in common" in capsys.readouterr().err
