"""The rewards of `armbench.training.rewards` as a reward function of verl.

For verl's own tool loop (``tool_agent``) with the classes of `armbench.tools.verl`. What the
tools did is taken from the records that they left with the episode, never from the text.
`armbench.training.engines.verl_loop` needs no reward function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from armbench.dialects import make_dialect
from armbench.episode import judge_events
from armbench.errors import ConfigError
from armbench.tools.verl import EVENTS
from armbench.training.recipe import Rewards
from armbench.training.rewards import REWARDS, deed
from armbench.trajectory import Event, ModelEvent, StopEvent, ToolEvent, Trajectory
from armbench.types import Reply, Sample

__all__ = ["compute_score", "figures"]

# Qwen's template, special tokens left out as verl decodes them. What a tool says cannot hold
# the tag (`armbench.prompt.inert`).
_TURN = re.compile(r"</tool_response>\s*\nassistant\n")


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    reward: str = "adaptive",
    values: Mapping[str, Any] | None = None,
    **_: Any,
) -> dict[str, float]:
    """Reward of an episode, as verl's reward managers call it.

    Args:
        data_source: Name of the task; not used.
        solution_str: All that came after the prompt, tool results included, decoded.
        ground_truth: Not used: the item in `extra_info` says what is right.
        extra_info: The row's (see `armbench.training.exports`), with what verl adds: the
            episode's extra fields and ``num_turns``.
        reward: Name of the reward (``reward_kwargs`` of verl's configuration).
        values: Values of the rewards other than the published ones.

    Returns:
        ``score`` and the figures that verl logs beside it.

    Raises:
        KeyError: If the row was not written by ``armbench train export``.
    """
    info = extra_info or {}
    sample = Sample.model_validate_json(info["sample"])
    trajectory = _episode(sample, info, solution_str)
    return figures(trajectory, sample, reward, Rewards.model_validate(values or {}))


def figures(
    trajectory: Trajectory, sample: Sample, reward: str, values: Rewards
) -> dict[str, float]:
    """The reward of an episode and what it was given for; the same keys for every episode.

    Args:
        trajectory: The episode.
        sample: Its item.
        reward: Name of the reward.
        values: Its values.

    Raises:
        ConfigError: If there is no such reward.
    """
    if reward not in REWARDS:
        raise ConfigError(f"unknown reward {reward!r}; known: {', '.join(REWARDS)}")
    done = deed(trajectory, sample, values)
    given = REWARDS[reward](trajectory, sample, values)
    return {
        "score": given.total,
        "acc": float(done.right),
        "formed": float(done.formed),
        "calls": float(done.calls),
        "helped": float(done.helped),
    }


def _episode(sample: Sample, info: Mapping[str, Any], text: str) -> Trajectory:
    """An episode of verl's loop as one of ours, as far as rewards look at it."""
    ran = [ToolEvent.model_validate_json(record) for record in info.get(EVENTS) or ()]
    replies = [Reply(text=turn) for turn in _TURN.split(text)]
    told = info.get("num_turns")  # verl counts the prompt, each turn and each result
    turns = len(ran) + 1 if told is None else int(told) // 2
    if len(replies) != turns:
        # The judge wrote the mark itself, or the response was cut: where its last turn starts
        # is not known, so that it has no form.
        replies = [Reply(text="")]
    dialect = make_dialect("hermes")
    spoken = [
        ModelEvent(reply=reply, kept=len(reply.text), calls=dialect.hear(reply, 1).written)
        for reply in replies
    ]
    events: list[Event] = [*spoken[:-1], *ran, spoken[-1], StopEvent(reason="answered")]
    return Trajectory(
        sample_id=sample.id,
        sample_hash=sample.hash,
        task=sample.task,
        order=tuple(json.loads(info["order"])),
        events=tuple(events),
        judgement=judge_events(events, sample),
    )
