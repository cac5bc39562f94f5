"""Recipes: what a training run does, as YAML checked against a typed form.

A recipe names a start checkpoint and has a section for each step (``sft``, ``grpo``).
Unknown keys are refused. ``armbench train sft RECIPE`` and ``armbench train grpo RECIPE``
read the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, JsonValue, ValidationError

from armbench.errors import ConfigError, problems
from armbench.judge import coerce
from armbench.safeyaml import load_yaml
from armbench.types import Frozen

__all__ = [
    "GRPO",
    "SFT",
    "Filters",
    "Lora",
    "Recipe",
    "RewardName",
    "Rewards",
    "Vision",
    "find_recipes",
    "read_recipe",
]

_FOLDER = Path(__file__).parent / "recipes"


RewardName = Literal["attempt", "adaptive", "accuracy", "bonus"]
"""Names of `armbench.training.rewards.REWARDS`."""


class Lora(Frozen):
    """Low-rank adapters (peft) instead of full weights; merged into the result."""

    rank: int = Field(default=16, ge=1)
    """Rank of the adapters."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale of the adapters; their product is multiplied by ``alpha / rank``."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of their input."""
    targets: str = "all-linear"
    """Layers: a name, several joined by ``+``, or all linear layers of the language model."""


class Filters(Frozen):
    """Which trajectories are learnt from (arXiv 2512.05111, section 3.2)."""

    format: bool = True
    """Only those whose last turn has the required form."""
    accuracy: bool = True
    """Only those with the right verdict."""
    tools: bool = True
    """Only those that call no tool, or have a call that brought evidence."""
    solved: int = Field(default=0, ge=0)
    """Leave out items that a judge without tools got right in all of this many repeats; 0: none."""
    solved_runs: tuple[str, ...] = ()
    """Run directories of that judge; from the recipe's folder."""


class SFT(Frozen):
    """Supervised fine-tuning on trajectories."""

    data: tuple[str, ...] = ()
    """Run directories and sharegpt JSON files; from the recipe's folder."""
    filters: Filters = Filters()
    """Which of them are learnt from."""
    swap_orders: bool = False
    """Add each pair with its answers in the other order too, where that can be done safely."""
    max_length: int = Field(default=32768, ge=16)
    """Longest example in tokens; longer ones are left out, counted and named."""
    max_pixels: int | None = Field(default=None, ge=28 * 28)
    """Pixels of a picture as the model sees it; None: as the trajectory's run had it."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the data."""
    max_steps: int = Field(default=-1, ge=-1)
    """Optimiser steps; wins over `epochs` unless -1."""
    enough: float | None = Field(default=None, gt=0, le=1)
    """End before that once the accuracy of 20 steps has this mean."""
    batch: int = Field(default=256, ge=1)
    """Examples of an optimiser step, over all processes."""
    micro_batch: int = Field(default=1, ge=1)
    """Examples of a forward pass on one device."""
    lr: float = Field(default=2e-5, gt=0)
    """Highest learning rate."""
    muon_lr: float | None = Field(default=None, gt=0)
    """Highest learning rate of Muon, for the matrices inside; None: AdamW for everything."""
    schedule: str = "cosine"
    """Name of a schedule of transformers."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of the matrices."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longest gradient."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of the weights in the forward pass."""
    freeze: tuple[Literal["vision", "projector", "language"], ...] = ("vision", "projector")
    """Parts that do not learn."""
    lora: Lora | None = None
    """Adapters instead of full weights."""
    gradient_checkpointing: bool = False
    """Compute activations twice, to keep less of them."""
    save_every: int = Field(default=100, ge=1)
    """Steps between checkpoints to resume from."""
    log_every: int = Field(default=10, ge=1)
    """Steps between log lines."""


class Vision(Frozen):
    """Naming details by the vision tower alone (see `armbench.training.vision`)."""

    epochs: float = Field(default=8.0, gt=0)
    """Passes over the pictures."""
    batch: int = Field(default=64, ge=1)
    """Pictures of a step."""
    lr: float = Field(default=2e-3, gt=0)
    """Highest learning rate."""
    muon_lr: float = Field(default=2e-2, gt=0)
    """Highest learning rate of Muon, for the matrices inside."""


class Rewards(Frozen):
    """Values of the rewards; the published ones (see `armbench.training.rewards`)."""

    bad_format: float = 0.0
    """The last turn does not have the required form."""
    wrong: float = 0.3
    """Well formed, wrong verdict, no call."""
    tried: float = 0.4
    """Well formed, wrong verdict, with a call that brought something."""
    right: float = 1.0
    """Right verdict without a call that brought evidence."""
    helped: float = 1.5
    """Right verdict with a call that brought evidence."""
    evidence: bool = False
    """A call counts as bringing evidence only if it covers what the item names."""
    cost_per_call: float = Field(default=0.0, ge=0)
    """Taken off for each call after the first."""


class GRPO(Frozen):
    """Group relative policy optimisation on the tasks' own episodes."""

    tasks: tuple[str, ...] = ()
    """Tasks whose items are rolled out."""
    data: str = ""
    """Data folder given to the tasks, from the recipe's folder; never an evaluation set."""
    stages: tuple[RewardName, ...] = ("attempt", "adaptive")
    """Reward of each stage by name, the first stage first."""
    rewards: Rewards = Rewards()
    """Values of the rewards."""
    group: int = Field(default=16, ge=2)
    """Roll-outs of an item."""
    batch: int = Field(default=512, ge=1)
    """Items of a step."""
    mini_batch: int = Field(default=256, ge=1)
    """Items of an update; a step has batch / mini_batch updates."""
    micro_batch: int = Field(default=8, ge=1)
    """Episodes of a forward pass on one device."""
    steps: int = Field(default=100, ge=1)
    """Steps of a stage."""
    lr: float = Field(default=2e-6, gt=0)
    """Learning rate, constant."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far the ratio may fall below 1."""
    clip_high: float = Field(default=0.2, gt=0)
    """How far the ratio may rise above 1; larger than `clip_low` for clip-higher (DAPO)."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL term to the start."""
    advantages: Literal["std", "mean"] = "std"
    """Rewards of a group less their mean, and over their deviation or not (Dr. GRPO)."""
    refill: int = Field(default=0, ge=0)
    """Times that groups without variance are replaced by new items within a step (DAPO)."""
    overlong: Literal["drop", "learn"] = "drop"
    """Episodes stopped by a limit of tokens: left out of the update, or learnt from as failures."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of roll-outs."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longest gradient."""
    rollouts: Literal["transformers", "vllm"] = "transformers"
    """What generates: ``vllm`` is quicker on a GPU, and needs armbench[vllm] and one process."""
    engine_args: dict[str, JsonValue] | None = None
    """Settings of vLLM's engine, e.g. ``gpu_memory_utilization`` (0.4) or ``max_model_len``."""
    concurrency: int = Field(default=64, ge=1)
    """Episodes in flight."""
    freeze: tuple[Literal["vision", "projector", "language"], ...] = ("vision", "projector")
    """Parts that do not learn."""
    lora: Lora | None = None
    """Adapters instead of full weights."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of the weights in the forward pass."""
    gradient_checkpointing: bool = False
    """Compute activations twice, to keep less of them."""
    log_episodes_every: int = Field(default=20, ge=1)
    """Steps between samples of trajectories in the run directory."""
    save_every: int = Field(default=20, ge=1)
    """Steps between checkpoints to resume from."""


class Recipe(Frozen):
    """One training run."""

    name: str
    """Names the output folder."""
    description: str = ""
    """One line for ``armbench train --help``."""
    model: str
    """Start checkpoint: a folder (from the recipe's folder) or a name on the hub."""
    seed: int = 0
    """Seed of everything that is drawn."""
    loop: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the agent loop, over the task's (see `armbench.episode.LoopConfig`)."""
    copies: SFT | None = None
    """Fine-tuning on text to repeat, first of all (`armbench.training.copies`); for `reproduce`."""
    vision: Vision | None = None
    """Naming details, by the vision tower alone, after that; for `reproduce`."""
    lessons: SFT | None = None
    """Fine-tuning on episodes that call tools as a rule, then; for `reproduce`."""
    sft: SFT | None = None
    """Fine-tuning; None if the recipe has none."""
    grpo: GRPO | None = None
    """Reinforcement learning; None if the recipe has none."""


def find_recipes() -> dict[str, Path]:
    """The recipes that come with armbench, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def read_recipe(name: str, changes: Mapping[str, str] | None = None) -> tuple[Recipe, Path]:
    """Read a recipe.

    Args:
        name: A file, or the name of one that comes with armbench.
        changes: Values for dotted keys, e.g. ``{"sft.lr": "1e-3"}``.

    Returns:
        The recipe, and the folder that its paths start from.

    Raises:
        ConfigError: If there is no such recipe, it is no YAML, or a key is unknown or a
            value does not fit.
    """
    known = find_recipes()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise ConfigError(f"there is no recipe {name!r}; give a file or one of: {', '.join(known)}")
    try:
        content = load_yaml(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no recipe: write key: value lines")
    for key, value in (changes or {}).items():
        _set(content, key.split("."), coerce(value), key)
    try:
        return Recipe.model_validate(content), path.parent
    except ValidationError as error:
        raise ConfigError(f"{path}: {problems(error)}") from None


def _set(content: dict[str, Any], keys: list[str], value: Any, whole: str) -> None:
    *outer, last = keys
    for key in outer:
        inner = content.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{whole}: {key} is a value and has nothing inside")
        content = inner
    content[last] = value
