"""Rewards of an episode: pure functions of what happened, never of what the judge says happened.

The values are those of ARM-Thinker (arXiv 2512.05111, section 3.3, and the numbers of its
code): bad format 0; wrong 0.3; wrong with a call 0.4; right 1.0; right with a call that
helped 1.5. What a call brought is read from the episode's events: one that failed, showed the
whole picture again or repeats an earlier one brought nothing, and a claim in the text is only
text. So two things differ from the published code: a call that brought nothing is no attempt
either, and success is not looked for in the judge's own words.

========== ==================================================================================
attempt    stage 1: format, and having called; the verdict does not count
adaptive   stage 2: format, verdict, a call when wrong, and a call that helped when right
accuracy   format and verdict
bonus      format, verdict, and as much for a call that brought something, right or wrong
========== ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from armbench.evidence import seen
from armbench.score import score
from armbench.training.filters import brought_evidence, well_formed
from armbench.trajectory import ModelEvent, ToolEvent, Trajectory
from armbench.types import Sample

if TYPE_CHECKING:
    from armbench.training.recipe import Rewards

__all__ = ["REWARDS", "Deed", "Reward", "RewardFunction", "deed"]


@dataclass(frozen=True)
class Deed:
    """What an episode did, as far as it is rewarded.

    Attributes:
        formed: The last turn is one thought and one answer in their tags, without a call.
        right: The verdict is the item's.
        calls: Calls that were answered, also with an error.
        brought: A call brought something that was not there before.
        helped: The same, and with `Rewards.evidence` it covers what the item names.
    """

    formed: bool
    right: bool
    calls: int
    brought: bool
    helped: bool


@dataclass(frozen=True)
class Reward:
    """A reward and what it is made of.

    Attributes:
        total: The sum.
        parts: ``format``, ``accuracy``, ``tools`` and ``cost``; those of no worth are 0.
    """

    total: float
    parts: Mapping[str, float]


RewardFunction = Callable[[Trajectory, Sample, "Rewards"], Reward]


def deed(trajectory: Trajectory, sample: Sample, values: Rewards) -> Deed:
    """Read from an episode's events what it did.

    Args:
        trajectory: The episode.
        sample: Its item; `Rewards.evidence` says nothing about an item that names none.
        values: For the rule of `Deed.helped`.
    """
    turns = [event for event in trajectory.events if isinstance(event, ModelEvent)]
    brought = brought_evidence(trajectory, sample)
    covered = seen(trajectory.events, sample).enough if values.evidence else None
    return Deed(
        formed=bool(turns) and not turns[-1].calls and well_formed(turns[-1].reply.text),
        right=score(trajectory, sample).counted_as == "correct",
        calls=sum(isinstance(event, ToolEvent) for event in trajectory.events),
        brought=brought,
        helped=brought and covered is not False,
    )


def _attempt(trajectory: Trajectory, sample: Sample, values: Rewards) -> Reward:
    done = deed(trajectory, sample, values)
    return _sum(done, values, 0.0, values.tried - values.wrong if done.brought else 0.0)


def _adaptive(trajectory: Trajectory, sample: Sample, values: Rewards) -> Reward:
    done = deed(trajectory, sample, values)
    if done.right:
        tools = values.helped - values.right if done.helped else 0.0
    else:
        tools = values.tried - values.wrong if done.brought else 0.0
    return _sum(done, values, _accuracy_part(done, values), tools)


def _accuracy(trajectory: Trajectory, sample: Sample, values: Rewards) -> Reward:
    done = deed(trajectory, sample, values)
    return _sum(done, values, _accuracy_part(done, values), 0.0)


def _bonus(trajectory: Trajectory, sample: Sample, values: Rewards) -> Reward:
    done = deed(trajectory, sample, values)
    tools = values.helped - values.right if done.helped else 0.0
    return _sum(done, values, _accuracy_part(done, values), tools)


def _accuracy_part(done: Deed, values: Rewards) -> float:
    return values.right - values.wrong if done.right else 0.0


def _sum(done: Deed, values: Rewards, accuracy: float, tools: float) -> Reward:
    """A reward of its parts; without the form nothing is earned, and calls still cost."""
    parts = {"format": values.bad_format, "accuracy": 0.0, "tools": 0.0}
    if done.formed:
        parts = {"format": values.wrong, "accuracy": accuracy, "tools": tools}
    parts["cost"] = -values.cost_per_call * max(0, done.calls - 1)
    return Reward(sum(parts.values()), parts)


REWARDS: Mapping[str, RewardFunction] = {
    "attempt": _attempt,
    "adaptive": _adaptive,
    "accuracy": _accuracy,
    "bonus": _bonus,
}
"""The rewards by name."""
