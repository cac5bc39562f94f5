"""The policy of a GRPO run: log-probabilities of what the judge wrote, the loss, an update.

Loss of an update, over all tokens that the judge wrote in it (tool results, notes and the
prompt are neither in the loss nor in the KL term)::

    1/T * sum_t [ -min(r_t A, clip(r_t, 1 - low, 1 + high) A) + kl * k3_t ]

``r_t`` is the token's probability now over that when it was sampled (PPO, arXiv 1707.06347,
equation 7), with a higher upper clip if the recipe has one (DAPO, arXiv 2503.14476, section
3.1). ``T`` counts the tokens of the whole mini batch: each token weighs the same, however long
its episode is (DAPO, section 3.3; with a mean per episode first, as in GRPO's paper, long wrong
replies would be punished less). ``k3`` is the estimate of the KL divergence to the start of
Schulman (http://joschu.net/blog/kl-approx.html): ``exp(d) - d - 1`` with ``d`` the start's
log-probability less the policy's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce

from armbench.errors import ConfigError, DataError
from armbench.models.hf import is_out_of_memory, to_device
from armbench.training.data import batch_of
from armbench.training.encode import IGNORE, encode

if TYPE_CHECKING:
    from armbench.training.advantages import Group, Rollout
    from armbench.training.encode import Encoded
    from armbench.training.recipe import GRPO

__all__ = ["Piece", "Policy", "pieces_of"]

_NAMED = 8
"""Most episodes that a message names."""


@dataclass
class Piece:
    """An episode to learn from.

    Attributes:
        name: Which item it is of.
        encoded: Its tokens.
        advantage: What they are weighted with.
        old: Log-probability of each of the judge's tokens when it was sampled; shape (tokens,).
        start: The same under the start checkpoint, where it was asked for.
    """

    name: str
    encoded: Encoded
    advantage: float
    old: torch.Tensor
    start: torch.Tensor | None = None


def pieces_of(groups: Sequence[Group], processor: Any) -> tuple[list[list[Piece]], int]:
    """What can be learnt from groups: by group, those with variance only.

    Args:
        groups: Played and rewarded.
        processor: The model's processor.

    Returns:
        The episodes, and how many were left out since their tokens are not known exactly.
    """
    pieces, inexact = [], 0
    for group in groups:
        found = [
            _piece(rollout, advantage, processor)
            for rollout, advantage in zip(group.rollouts, group.advantages, strict=True)
            if advantage is not None
        ]
        inexact += found.count(None)
        if exact := [piece for piece in found if piece is not None]:
            pieces.append(exact)
    return pieces, inexact


def _piece(rollout: Rollout, advantage: float, processor: Any) -> Piece | None:
    plan = rollout.plan
    try:
        encoded = encode(rollout.trajectory, processor, plan.store, plan.loop)
    except (DataError, ValueError):
        return None
    if not all(turn.exact and turn.logprobs for turn in encoded.turns):
        return None
    old = torch.tensor([value for turn in encoded.turns for value in turn.logprobs])
    return Piece(f"{plan.sample.task}/{plan.sample.id}", encoded, advantage, old)


class Policy:
    """A model that learns, by AdamW without weight decay at a constant rate.

    Args:
        model: From `armbench.training.weights.prepare`, on its device, as it is at the start.
        settings: The recipe's section.
        pad_id: Id of the padding token.
    """

    def __init__(self, model: Any, settings: GRPO, pad_id: int) -> None:
        self.model, self.settings, self.pad_id = model, settings, pad_id
        self.base = model.get_base_model() if hasattr(model, "peft_config") else model
        self.names, self.weights = zip(
            *((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True
        )
        self.optimizer = torch.optim.AdamW(self.weights, lr=settings.lr, weight_decay=0.0)
        # Kept on the CPU and put in for a moment at each step: no second model on the device.
        adapted = self.base is not model  # then the start is the model less its adapters
        self._start = [
            weight.detach().to("cpu", copy=True) for weight in self.weights if not adapted
        ]
        if settings.gradient_checkpointing:
            name = "activation_checkpointing_enable"  # before transformers 5.2x: gradient_…
            enable = getattr(self.base, name, self.base.gradient_checkpointing_enable)
            enable({"use_reentrant": False})

    def autocast(self) -> Any:
        """The context of every forward pass, roll-outs included."""
        reduced = self.settings.dtype == "bfloat16"
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=reduced)

    def logprobs(self, pieces: Sequence[Piece]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability and entropy (nats) of each of the judge's tokens; shape (tokens,).

        At the temperature of the roll-outs, since that is the policy that acted.
        """
        rows = [{**piece.encoded.inputs, "labels": piece.encoded.labels()} for piece in pieces]
        batch = to_device(batch_of(rows, self.pad_id), self.model)
        labels = batch.pop("labels")[:, 1:]
        written = labels != IGNORE
        with self.autocast():
            hidden = self.base.base_model(**batch, use_cache=False).last_hidden_state
            logits = self.base.get_output_embeddings()(hidden[:, :-1][written])
        spread = (logits.float() / self.settings.temperature).log_softmax(-1)
        chosen = spread.gather(1, labels[written][:, None]).squeeze(1)
        with torch.no_grad():
            entropy = -(spread.exp() * spread).sum(-1)
        return chosen, entropy

    def look_back(self, pieces: Sequence[Piece]) -> float | None:
        """Note what each token was given before the step's updates, and what the start gives it.

        The first is known from sampling unless that was at another temperature than 1; the
        second is worked out for all pieces if the KL term needs it, else for a micro batch.

        Returns:
            KL divergence to the start in nats per token, estimated (k3); None of no pieces.
        """
        self.model.eval()
        if self.settings.temperature != 1:
            for piece, values in self._each(pieces):
                piece.old = values
        sample = pieces if self.settings.kl else pieces[: self.settings.micro_batch]
        with self._as_at_start():
            for piece, values in self._each(sample):
                piece.start = values
        found = [_k3(piece.old, piece.start) for piece in sample if piece.start is not None]
        return float(torch.cat(found).mean()) if found else None

    def _each(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, torch.Tensor]]:
        for batch in _batches(pieces, self.settings.micro_batch):
            with torch.no_grad():
                values, _ = self.logprobs(batch)
            parts = torch.split(values.cpu(), [len(piece.old) for piece in batch])
            yield from zip(batch, parts, strict=True)

    @contextmanager
    def _as_at_start(self) -> Iterator[None]:
        if self.base is not self.model:
            with self.model.disable_adapter():
                yield
            return
        now = [weight.data for weight in self.weights]
        try:
            for weight, start in zip(self.weights, self._start, strict=True):
                weight.data = start.to(weight.device)
            yield
        finally:
            for weight, data in zip(self.weights, now, strict=True):
                weight.data = data

    def update(self, pieces: Sequence[Piece]) -> dict[str, float]:
        """One optimiser step over a mini batch, of which this process holds `pieces`.

        Returns:
            Sums over the tokens of all processes by name, and ``grad_norm``; empty if there is
            nothing to learn from. ``sampler_gap`` sums how far each log-probability is from
            that of sampling.

        Raises:
            ConfigError: If loss or gradient is no number (the weights are untouched), or memory
                runs out.
        """
        total = self._sum(torch.tensor([float(sum(len(p.old) for p in pieces))]))[0]
        if not total:
            return {}
        self.model.train()
        sums = torch.zeros(5)
        for batch in _batches(pieces, self.settings.micro_batch):
            try:
                loss, seen = self._loss(batch)
                (loss / total).backward()  # type: ignore[no-untyped-call]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                longest = max(piece.encoded.length for piece in batch)
                raise ConfigError(
                    f"out of memory in an update with grpo.micro_batch {len(batch)} and episodes "
                    f"of up to {longest} tokens: lower grpo.micro_batch, then loop.max_pixels, "
                    "or set grpo.gradient_checkpointing: true"
                ) from error
            if not math.isfinite(seen[0]):
                raise ConfigError(f"the loss became {float(seen[0])} with: {_names(batch)}")
            sums += seen
        norm = self._step(pieces)
        names = ("loss", "entropy", "clip_fraction", "ratio", "sampler_gap")
        summed = dict(zip(names, self._sum(sums), strict=True))
        return {"tokens": total, **summed, "grad_norm": norm}

    def _loss(self, pieces: Sequence[Piece]) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss of a micro batch; and sums of what `update` says, in its order."""
        new, entropy = self.logprobs(pieces)
        old = torch.cat([piece.old for piece in pieces]).to(new)
        counts = torch.tensor([len(piece.old) for piece in pieces])
        weight = torch.tensor([piece.advantage for piece in pieces])
        advantage = weight.repeat_interleave(counts).to(new)
        ratio = (new - old).exp()
        low, high = 1 - self.settings.clip_low, 1 + self.settings.clip_high
        kept = torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)
        loss = -kept
        if self.settings.kl:
            start = torch.cat([piece.start for piece in pieces if piece.start is not None])
            loss = loss + self.settings.kl * _k3(new, start.to(new))
        clipped = torch.where(advantage > 0, ratio > high, ratio < low)
        total = loss.sum()
        gap = (new.detach() - old).abs()
        seen = [total.detach(), entropy.sum(), clipped.sum(), ratio.detach().sum(), gap.sum()]
        return total, torch.stack([value.float().cpu() for value in seen])

    def _step(self, pieces: Sequence[Piece]) -> float:
        if PartialState().num_processes > 1:
            for weight in self.weights:
                grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = reduce(grad, "sum")
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, self.settings.max_grad_norm))
        if not math.isfinite(norm):
            raise ConfigError(f"the gradient became {norm} with: {_names(pieces)}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    @staticmethod
    def _sum(values: torch.Tensor) -> list[float]:
        """Sums over the processes."""
        found: list[float] = reduce(values.to(PartialState().device), "sum").tolist()
        return found

    def state(self) -> dict[str, torch.Tensor]:
        """What an exact resumption needs: weights and the optimiser's moments, by name."""
        named = zip(self.names, self.weights, strict=True)
        kept = {f"weight.{name}": weight.detach() for name, weight in named}
        for number, moments in self.optimizer.state_dict()["state"].items():
            kept |= {f"{key}.{self.names[number]}": value for key, value in moments.items()}
        return kept

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Put a `state` back."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        place = {name: number for number, name in enumerate(self.names)}
        for key, value in state.items():
            kind, name = key.split(".", 1)
            if kind == "weight":
                self.weights[place[name]].data.copy_(value)
            else:
                moments.setdefault(place[name], {})[kind] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _k3(now: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    difference = start - now
    return difference.exp() - difference - 1


def _batches(pieces: Sequence[Piece], size: int) -> Iterator[list[Piece]]:
    """Like lengths together: less padding to compute."""
    rest = sorted(pieces, key=lambda piece: -piece.encoded.length)
    return (rest[n : n + size] for n in range(0, len(rest), size))


def _names(pieces: Sequence[Piece]) -> str:
    names = list(dict.fromkeys(repr(piece.name) for piece in pieces))
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
