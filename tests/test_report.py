"""Every figure of a report, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import norm, t

from armbench.intervals import wilson
from armbench.report import Episode, Report, position, report
from armbench.score import UNSCORED, Pick, Record, pick, score
from armbench.trajectory import ModelEvent, ToolEvent
from armbench.types import Reply, Sample, ToolCall, ToolFailure, ToolResult, Usage
from tests.helpers import make_sample, make_trajectory


def record(sample: Sample, verdict: Any = None, **fields: Any) -> Episode:
    return Episode.of(full_record(sample, verdict, **fields))


def full_record(sample: Sample, verdict: Any = None, **fields: Any) -> Record:
    trajectory = make_trajectory(sample, verdict, **fields)
    return Record(sample, trajectory, score(trajectory, sample))


# --- reports ------------------------------------------------------------------------------


def items(count: int, **fields: Any) -> list[Sample]:
    return [make_sample(id=f"i{n}", **fields) for n in range(count)]


def small_report(policy: Any) -> Report:
    a, b, c, d = items(4)
    records = [
        record(a, 1),
        record(b, 2),
        record(c, parse="malformed"),
        record(d, stop="error"),
    ]
    return report(records, {"toy": policy})


def test_unscored_episodes_lower_accuracy_or_are_left_out_as_the_task_says() -> None:
    wrong, exclude = small_report("wrong").tasks["toy"], small_report("exclude").tasks["toy"]
    assert (wrong.overall.accuracy, wrong.policy) == (1 / 4, "wrong")
    assert (exclude.overall.accuracy, exclude.policy) == (1 / 2, "exclude")
    assert (wrong.overall.low, wrong.overall.high) == wilson(1 / 4, 4)
    assert (exclude.overall.low, exclude.overall.high) == wilson(1 / 2, 2)
    for found in (wrong, exclude):
        assert found.counts == {"correct": 1, "wrong": 1, "malformed": 1, "infrastructure": 1}
        assert found.unscored == 2
        assert (found.overall.items, found.overall.episodes) == (4, 4)


def test_the_policy_is_wrong_where_none_is_stated() -> None:
    found = report([record(make_sample(), parse="missing")], {})
    assert found.tasks["toy"].policy == "wrong"
    assert found.macro == found.micro == 0.0


@pytest.mark.parametrize("name", UNSCORED)
def test_no_failure_earns_part_of_a_point(name: str) -> None:
    parse = name if name in ("malformed", "missing", "ambiguous") else "missing"
    stops = {"refused": "refused", "truncated": "max_tokens", "infrastructure": "error"}
    made = record(make_sample(), parse=parse, stop=stops.get(name, "answered"))  # type: ignore[arg-type]
    assert made.counted_as == name
    assert report([made], {"toy": "wrong"}).micro == 0.0
    assert report([made], {"toy": "exclude"}).micro is None


def test_items_without_label_never_count() -> None:
    labelled, free, silent = make_sample(id="a"), *(make_sample(id=i, gold=None) for i in "bc")
    records = [record(labelled, 1), record(free, 2), record(silent, parse="malformed")]
    for policy in ("wrong", "exclude"):
        found = report(records, {"toy": policy}).tasks["toy"]  # type: ignore[dict-item]
        assert found.overall.accuracy == 1.0
        assert (found.overall.low, found.overall.high) == wilson(1.0, 1)
        assert found.counts == {"correct": 1, "unlabelled": 1, "malformed": 1}
    nothing = report(records[1:], {}).tasks["toy"].overall
    assert (nothing.accuracy, nothing.low, nothing.high, nothing.items) == (None, None, None, 2)


def test_macro_is_the_mean_of_tasks_and_micro_of_episodes() -> None:
    small = [record(s, 1) for s in items(1, task="small")]
    large = [record(s, 2 if n else 1) for n, s in enumerate(items(4, task="large"))]
    found = report(large + small, {})
    assert [t.overall.accuracy for t in found.tasks.values()] == [1 / 4, 1.0]
    assert list(found.tasks) == ["large", "small"]
    assert found.macro == (1 / 4 + 1) / 2
    assert found.micro == 2 / 5
    # One task without any figure leaves no mean over the tasks.
    blank = report([*small, record(make_sample(gold=None, task="blank"), 1)], {})
    assert (blank.macro, blank.micro) == (None, 1.0)
    empty = report([], {})
    assert (empty.tasks, empty.macro, empty.micro) == ({}, None, None)


def test_formats_and_categories_have_cells_of_their_own() -> None:
    pair = make_sample(id="p", format="2-way", category="x")
    four = make_sample(id="q", format="4-way", candidates=("a", "b", "c", "d"))
    found = report([record(pair, 1), record(four, 2)], {}).tasks["toy"]
    assert {k: (c.accuracy, c.chance) for k, c in found.formats.items()} == {
        "2-way": (1.0, 1 / 2),
        "4-way": (0.0, 1 / 4),
    }
    assert {k: c.accuracy for k, c in found.categories.items()} == {"-": 0.0, "x": 1.0}
    assert found.overall.chance == pytest.approx(3 / 8)


def test_orders_and_repeats_are_episodes_of_one_item() -> None:
    sample = make_sample()
    found = report([record(sample, 1), record(sample, 1, order=(1, 0))], {}).tasks["toy"]
    cell = found.overall
    assert (cell.items, cell.episodes, cell.accuracy) == (1, 2, 0.5)
    assert (cell.low, cell.high) == wilson(0.5, 1)  # two looks at one item are no two items


def test_rows_on_one_picture_are_one_cluster() -> None:
    rows = [make_sample(id=f"{c}{n}", cluster=c) for c in "abcd" for n in range(5)]
    alike = [record(s, 1 if s.cluster in "ab" else 2) for s in rows]
    cell = report(alike, {}).tasks["toy"].overall
    # Four independent answers, with the t of three (and a bit) degrees of freedom.
    widening = t.ppf(0.975, 1 / (1 / 3 - 1 / 19)) / norm.ppf(0.975)
    assert (cell.low, cell.high) == pytest.approx(wilson(0.5, 4 / widening**2))


def test_figures_that_a_source_does_not_give_are_none_and_not_zero() -> None:
    known = record(make_sample(id="a"), 1)
    found = report([known, replace(known, sample_id="b", calls=None)], {}).tasks["toy"]
    assert (found.calls, found.call_errors) == (None, 0)


def test_calls_turns_and_tokens_are_added_up() -> None:
    good = ToolEvent(call=ToolCall(id="1"), result=ToolResult())
    bad = ToolEvent(
        call=ToolCall(id="2"), result=ToolResult(error=ToolFailure(kind="k", message="m"))
    )
    turn = ModelEvent(reply=Reply(text=""), kept=0, calls=1)
    made = full_record(make_sample(), 1, events=(turn, good, turn, bad, turn))
    usage = Usage(input_tokens=5, output_tokens=7)
    one = Episode.of(replace(made, trajectory=made.trajectory.model_copy(update={"usage": usage})))
    found = report([one, one], {}).tasks["toy"]
    assert (found.calls, found.call_errors, found.turns) == (4, 2, 6)
    assert (found.input_tokens, found.output_tokens) == (10, 14)


def test_a_report_survives_json() -> None:
    found = small_report("wrong")
    assert Report.model_validate_json(found.model_dump_json()) == found


# --- position -----------------------------------------------------------------------------

BOTH = ((0, 1), (1, 0))
LATIN = ((0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2))


def picks(sample: Sample, orders: Any, verdicts: Any, repeat: int = 0) -> list[Pick | None]:
    return [
        pick(make_trajectory(sample, v, order=o, repeat=repeat), sample)
        for o, v in zip(orders, verdicts, strict=True)
    ]


def test_a_judge_that_always_takes_the_first_is_found_out() -> None:
    found = position(picks(make_sample(), BOTH, (1, 1)))
    assert found.model_dump() == {
        "first_rate": 1.0, "first_expected": 0.5, "consistency": 0.0, "items": 1
    }  # fmt: skip
    four = make_sample(candidates=("a", "b", "c", "d"))
    found = position(picks(four, LATIN, (1, 1, 1, 1)))
    assert (found.first_rate, found.first_expected, found.consistency) == (1.0, 0.25, 0.0)


def test_a_judge_that_ignores_position_is_consistent() -> None:
    found = position(picks(make_sample(), BOTH, (2, 1)))
    assert (found.first_rate, found.consistency, found.items) == (0.5, 1.0, 1)
    four = make_sample(candidates=("a", "b", "c", "d"))
    verdicts = [order.index(2) + 1 for order in LATIN]
    found = position(picks(four, LATIN, verdicts))
    assert (found.first_rate, found.consistency, found.items) == (0.25, 1.0, 1)
    verdicts[3] = verdicts[3] % 4 + 1  # one order of four disagrees
    assert position(picks(four, LATIN, verdicts)).consistency == 0.0


def test_consistency_is_within_a_repeat_and_over_items_seen_in_several_orders() -> None:
    a, b, c = items(3)
    made = [
        *picks(a, BOTH, (1, 2), repeat=0),  # consistent
        *picks(a, BOTH, (2, 1), repeat=1),  # consistent, with another choice
        *picks(b, BOTH, (1, None)),  # one order could not be read
        *picks(c, BOTH, (1, 1)),  # inconsistent
        None,
    ]
    found = position(made)
    assert found.consistency == pytest.approx(2 / 3)
    assert found.items == 3
    assert found.first_rate == pytest.approx(5 / 7)


def test_only_choices_among_answers_have_a_position() -> None:
    single = make_sample(mode="single")
    assert pick(make_trajectory(single, True), single) is None
    rated = make_sample(mode="rating")
    assert pick(make_trajectory(rated, 1.0), rated) is None
    empty = position([])
    assert (empty.first_rate, empty.first_expected, empty.consistency) == (None, None, None)
    assert empty.items == 0


def test_a_report_holds_the_order_effects_of_its_pairs() -> None:
    sample = make_sample()
    records = [record(sample, 1, order=order) for order in BOTH]
    records.append(record(make_sample(mode="single", id="s"), True))
    found = report(records, {}).tasks["toy"].position
    assert (found.first_rate, found.consistency, found.items) == (1.0, 0.0, 1)
    assert not math.isnan(found.first_expected or math.nan)
