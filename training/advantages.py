"""From rewards to the numbers that tokens are weighted with: groups, what is left out, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from armbench.training.rewards import Deed, Reward

if TYPE_CHECKING:
    from armbench.episode import Plan
    from armbench.trajectory import Trajectory

__all__ = ["Group", "Left", "Rollout", "advantages", "describe", "summary", "why_flat"]

_SMALL = 1e-6
"""Rewards of a group that differ by less are equal; also keeps a deviation from being 0."""

Left = Literal["", "broken", "overlong"]
"""Why an episode is left out: server, tool or clock broke it; a limit of tokens cut it off.
Empty: it is not."""


@dataclass(frozen=True)
class Rollout:
    """An episode and what it earned.

    Attributes:
        plan: How it was run.
        trajectory: What happened.
        left: Why it counts neither in its group's mean nor in the update.
        deed: What it did; None if it broke.
        reward: What it earned; None if it broke.
    """

    plan: Plan
    trajectory: Trajectory
    left: Left = ""
    deed: Deed | None = None
    reward: Reward | None = None


@dataclass(frozen=True)
class Group:
    """The roll-outs of an item.

    Attributes:
        rollouts: All of them.
        advantages: For each; None where it is left out, or all without variance.
    """

    rollouts: tuple[Rollout, ...]
    advantages: tuple[float | None, ...]

    @classmethod
    def of(cls, rollouts: Sequence[Rollout], kind: Literal["std", "mean"]) -> Group:
        """Compare the roll-outs that are not left out with each other."""
        kept = [r.reward.total for r in rollouts if not r.left and r.reward is not None]
        found = iter(advantages(kept, kind) or ())
        return cls(tuple(rollouts), tuple(None if r.left else next(found, None) for r in rollouts))

    @property
    def varied(self) -> bool:
        """Whether there is something to learn: two roll-outs of different reward."""
        return any(value is not None for value in self.advantages)


def advantages(rewards: Sequence[float], kind: Literal["std", "mean"]) -> list[float] | None:
    """Rewards of a group relative to each other.

    Args:
        rewards: Of the roll-outs of one item.
        kind: ``std``: less the mean, over the (population) standard deviation (GRPO,
            DeepSeekMath, arXiv 2402.03300, section 4.1.2); ``mean``: less the mean only,
            which does not give items that are nearly always or never right more weight
            (Dr. GRPO, arXiv 2503.20783, section 3.2).

    Returns:
        A number for each reward, of mean 0; None if all are equal, or there is only one:
        nothing can be learnt from such a group.
    """
    if not rewards or max(rewards) - min(rewards) < _SMALL:
        return None
    mean = math.fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if kind == "mean":
        return centred
    deviation = math.sqrt(math.fsum(value * value for value in centred) / len(centred))
    return [value / (deviation + _SMALL) for value in centred]


def describe(groups: Sequence[Group]) -> list[dict[str, float]]:
    """Figures of each roll-out of some groups, for `summary`; those that broke have few."""
    rows = []
    for group in groups:
        for rollout, advantage in zip(group.rollouts, group.advantages, strict=True):
            row = {
                "varied": float(group.varied) / len(group.rollouts),
                "groups": 1.0 / len(group.rollouts),
                "learnt": float(advantage is not None),
                "broken": float(rollout.left == "broken"),
                "overlong": float(rollout.left == "overlong"),
            }
            if rollout.deed is not None and rollout.reward is not None:
                done = rollout.deed
                row |= {f"reward_{part}": value for part, value in rollout.reward.parts.items()}
                row |= {
                    "reward": rollout.reward.total,
                    "accuracy": float(done.right),
                    "format": float(done.formed),
                    "calls": float(done.calls),
                    "response": float(rollout.trajectory.usage.output_tokens),
                }
                if done.calls:
                    row["tool_success"] = float(done.helped)
            rows.append(row)
    return rows


def summary(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Metrics of a step.

    Args:
        rows: From `describe`, of all processes.

    Returns:
        By name: counts of ``groups`` and episodes (``learnt``, ``broken``, ``overlong``);
        ``zero_variance``, the share of groups that teach nothing; means over the episodes
        that did not break of ``reward`` and its parts, ``accuracy``, ``format``, ``calls`` and
        ``response`` (tokens written); ``tool_success``, the share that a call helped among
        those with a call. What has no episode to be a mean of is left out.
    """
    counted = ("groups", "varied", "learnt", "broken", "overlong")
    sums = {name: math.fsum(row.get(name, 0.0) for row in rows) for name in counted}
    means = {}
    for name in sorted({name for row in rows for name in row} - set(counted)):
        values = [row[name] for row in rows if name in row]
        means[name] = math.fsum(values) / len(values)
    groups = round(sums["groups"])
    counts = {name: sums[name] for name in ("learnt", "broken", "overlong")}
    flat = 1 - round(sums["varied"]) / groups
    return {"groups": float(groups), **counts, "zero_variance": flat, **means}


def why_flat(row: dict[str, float]) -> str:
    """The likeliest cause of groups without variance, and what to do, from a step's metrics."""
    if not row.get("format"):
        return (
            "no last turn has the required form; start from a checkpoint that was fine-tuned on "
            "it, or raise loop.max_tokens_per_turn if turns are cut off"
        )
    if not row["calls"]:
        return (
            "the judge never calls a tool; start from a checkpoint that calls part of the time, "
            "or raise grpo.temperature"
        )
    if row["accuracy"] == 1:
        return "every verdict is right; take harder items"
    if row["accuracy"] == 0:
        return "no verdict is right; take easier items, or fine-tune for longer"
    return "its roll-outs of an item are all alike; raise grpo.temperature or grpo.group"
