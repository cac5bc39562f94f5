"""Roll-outs: which items, in what order, with what seeds, and what is left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from armbench.errors import ConfigError
from armbench.evaluate import read_records
from armbench.runlog import RunDir
from armbench.training.advantages import Group, Rollout, advantages, describe, summary, why_flat
from armbench.training.recipe import GRPO, Recipe, Rewards
from armbench.training.rollouts import Items, Player, Shelf, open_tasks, read_plans
from armbench.trajectory import Trajectory
from armbench.types import Reply
from tests.driving import Batch, turn
from tests.helpers import answer, make_plan, make_sample, make_trajectory
from tests.training.taught import ZOOMS, plans

SETTINGS = GRPO(group=3, temperature=0.7, concurrency=8)


def player(script: Any = lambda ask: answer(1), settings: GRPO = SETTINGS) -> Player:
    return Player(Batch(script), settings, "adaptive", seed=5)


def seeded(ask: Any) -> str:
    """Half of the roll-outs call first."""
    return ZOOMS if ask.seed % 2 and turn(ask) == 0 else answer(1 + ask.seed % 2)


# --- advantages


@pytest.mark.parametrize(
    ("rewards", "kind", "expected"),
    [
        ([0.0, 1.0], "std", [-1.0, 1.0]),
        ([0.0, 1.0], "mean", [-0.5, 0.5]),
        ([1.0, 0.0, 0.0, 0.0], "std", [3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)]),
        ([0.3, 0.4, 1.5], "mean", [-13 / 30, -1 / 3, 23 / 30]),
        ([0.3, 0.3], "std", None),
        ([0.3, 0.3 + 1e-9], "std", None),
        ([1.0], "mean", None),
        ([], "std", None),
    ],
)
def test_advantages(rewards: list[float], kind: Any, expected: list[float] | None) -> None:
    found = advantages(rewards, kind)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-5))


def test_what_is_left_out_counts_neither_as_good_nor_as_bad() -> None:
    """A broken episode and one that a limit cut off change nothing for the others."""
    of, playing = make_plan(sample=make_sample()), player()
    kept = [make_trajectory(of.sample, 1), make_trajectory(of.sample, 2)]
    out = [make_trajectory(of.sample, stop=why) for why in ("error", "max_seconds", "max_tokens")]
    judged = [playing.judge(of, trajectory) for trajectory in (*kept, *out)]
    assert [rollout.left for rollout in judged] == ["", "", "broken", "broken", "overlong"]
    rewarded = [with_reward(judged[0], 1.0), with_reward(judged[1], 0.0), *judged[2:]]
    group = Group.of(rewarded, "mean")
    assert group.advantages == (0.5, -0.5, None, None, None)
    assert group.varied
    rows = summary(describe([group]))
    assert (rows["broken"], rows["overlong"], rows["learnt"]) == (2, 1, 2)


def with_reward(rollout: Rollout, value: float) -> Rollout:
    from dataclasses import replace

    from armbench.training.rewards import Reward

    return replace(rollout, reward=Reward(value, {"format": value}))


def test_overlong_episodes_may_be_learnt_from_as_failures() -> None:
    of = make_plan(sample=make_sample())
    cut = make_trajectory(of.sample, stop="max_tokens")
    learn = player(settings=SETTINGS.model_copy(update={"overlong": "learn"}))
    judged = learn.judge(of, cut)
    assert judged.left == ""
    assert judged.reward is not None
    assert judged.reward.total == Rewards().bad_format


def test_figures_of_a_step() -> None:
    playing = player(seeded, SETTINGS.model_copy(update={"group": 8}))
    items = list(Items(plans(1), 0).take(0, 1))
    judged = [playing.judge(*played) for played in playing.play(0, items)]
    row = summary(describe([Group.of(judged, "std")]))
    called = [r.deed.calls for r in judged if r.deed is not None]
    assert 0 < sum(called) < 8
    assert row["calls"] == sum(called) / 8
    assert row["tool_success"] == 1.0
    assert row["format"] == 1.0
    parts = [value for name, value in row.items() if name.startswith("reward_")]
    assert sum(parts) == pytest.approx(row["reward"])
    assert (row["groups"], row["zero_variance"], row["learnt"]) == (1, 0, 8)


def test_without_a_call_there_is_no_tool_success() -> None:
    playing = player()
    judged = [playing.judge(*p) for p in playing.play(0, list(Items(plans(1), 0).take(0, 1)))]
    row = summary(describe([Group.of(judged, "std")]))
    assert "tool_success" not in row
    assert row["zero_variance"] == 1
    assert row["learnt"] == 0


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({"format": 0.0, "calls": 1.0, "accuracy": 0.0}, "no last turn has the required form"),
        ({"format": 1.0, "calls": 0.0, "accuracy": 0.5}, "never calls a tool"),
        ({"format": 1.0, "calls": 1.0, "accuracy": 1.0}, "every verdict is right"),
        ({"format": 1.0, "calls": 1.0, "accuracy": 0.0}, "no verdict is right"),
        ({"format": 1.0, "calls": 1.0, "accuracy": 0.5}, "all alike"),
    ],
)
def test_why_nothing_is_learnt(row: dict[str, float], cause: str) -> None:
    assert cause in why_flat(row)


# --- items


def test_each_pass_shows_every_item_once_in_a_new_order() -> None:
    items = Items(plans(4), seed=3)
    ids = [plan.sample.id for _, plan in items.take(0, 12)]
    passes = [ids[n : n + 4] for n in (0, 4, 8)]
    assert all(sorted(one) == ["item-0", "item-1", "item-2", "item-3"] for one in passes)
    assert len({tuple(one) for one in passes}) > 1
    assert [plan.sample.id for _, plan in items.take(5, 4)] == ids[5:9], "also from amid a pass"
    assert [plan.sample.id for _, plan in Items(plans(4), seed=4).take(0, 12)] != ids


def test_answers_are_shown_in_an_order_drawn_at_each_pass() -> None:
    free = [make_plan(sample=make_sample(id=str(n))) for n in range(30)]
    shown = Counter(plan.order for _, plan in Items(free, seed=1).take(0, 120))
    assert set(shown) == {(0, 1), (1, 0)}
    assert min(shown.values()) > 40
    fixed = Items(plans(4), seed=1).take(0, 8)
    assert {plan.order for _, plan in fixed} == {(0, 1)}, "a plan's own order stays"


def test_roll_outs_differ_and_can_be_played_again() -> None:
    playing = player(seeded)
    items = list(Items(plans(2), 0).take(0, 2))
    played = playing.play(7, items)
    assert [plan.sample.id for plan, _ in played] == [p.sample.id for _, p in items for _ in "123"]
    seeds = [plan.seed for plan, _ in played]
    assert len(set(seeds)) == 6
    assert all(plan.loop.temperature == 0.7 for plan, _ in played)
    again = playing.play(7, items)
    assert [texts(t) for _, t in again] == [texts(t) for _, t in played]
    assert [plan.seed for plan, _ in playing.play(8, items)] != seeds


def texts(trajectory: Trajectory) -> list[str]:
    return [event.reply.text for event in trajectory.events if event.kind == "model"]


def test_pictures_of_a_step_do_not_stay() -> None:
    items = list(Items(plans(1), 0).take(0, 1))
    playing = player(lambda ask: ZOOMS if turn(ask) == 0 else answer(1))
    (one, trajectory), *_ = playing.play(0, items)
    (other, _), *_ = playing.play(1, items)
    assert one.store is not other.store
    crop = next(event.result.parts[0] for event in trajectory.events if event.kind == "tool")
    assert one.store.read(crop.image)
    assert one.store is not items[0][1].store


def rows_file(folder: Path) -> Path:
    good = {"id": 1, "question": "Which?", "candidates": ["one", "two"], "label": 1}
    rows = [good, {**good, "id": 2, "label": None}, {"id": 3}, {**good, "id": 4, "label": 2}]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_items_that_cannot_be_judged_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_file(tmp_path)
    settings = GRPO(tasks=("judge_pairs",), data="rows.jsonl")
    tasks = open_tasks(settings, tmp_path)
    recipe = Recipe(name="r", model="m", loop={"max_turns": 2}, grpo=settings)
    found = read_plans(tasks, recipe)
    assert [plan.sample.id for plan in found] == ["1", "4"]
    assert found[0].loop.max_turns == 2
    assert "1 cannot be read, 1 have no label" in capsys.readouterr().out


def test_an_evaluation_set_is_not_taken_by_accident(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"grpo\.data is empty.*evaluated"):
        open_tasks(GRPO(tasks=("armbench_mini_fine_grained",)), tmp_path)
    with pytest.raises(ConfigError, match="no tasks"):
        open_tasks(GRPO(data="x"), tmp_path)


def test_sample_episodes_are_an_ordinary_run(tmp_path: Path) -> None:
    playing = player(lambda ask: ZOOMS if turn(ask) == 0 else answer(1))
    of, recipe = plans(2), Recipe(name="r", model="m")
    played = playing.play(0, list(Items(of, 0).take(0, 2)))
    shelf = Shelf(tmp_path, [], of, recipe, "r-grpo-1", False)
    shelf.keep(1, [playing.judge(*episode) for episode in played[::3]])
    shelf.keep(20, [playing.judge(*episode) for episode in played[::3]])
    shelf.close()
    [path] = (tmp_path / "episodes").iterdir()
    run = RunDir(path)
    records = list(read_records(run))
    assert sorted(r.trajectory.repeat for r in records) == [1, 1, 20, 20], "the step"
    assert {r.score.counted_as for r in records} == {"correct"}
    for record in records:
        for event in record.trajectory.events:
            if event.kind == "tool":
                assert run.images.read(event.result.parts[0].image)


def test_a_reply_object_is_kept_as_it_came() -> None:
    """Tokens and log-probabilities reach the trajectory untouched."""

    class Exact:
        name = "exact"

        def generate_batch(self, asks: Any) -> list[Reply]:
            reply = Reply(text=answer(1), token_ids=(3, 1, 2), logprobs=(-0.5, -0.25, -1.0))
            return [reply for _ in asks]

    playing = Player(Exact(), SETTINGS, "accuracy", seed=0)
    [(_, trajectory), *_] = playing.play(0, list(Items(plans(1), 0).take(0, 1)))
    [said] = [event.reply for event in trajectory.events if event.kind == "model"]
    assert (said.token_ids, said.logprobs) == ((3, 1, 2), (-0.5, -0.25, -1.0))
