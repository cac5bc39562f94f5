"""Muon for the matrices inside a model, AdamW for the rest, as one optimiser for the Trainer.

Muon makes each update of a matrix orthogonal (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/; the code is torch's): a model of random weights then
needs fewer steps. It is not meant for embeddings and vectors, which keep AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import AdamW, Muon, Optimizer

__all__ = ["Together", "muon_and_adamw"]

_OUTER = ("embed", "lm_head")
"""Marks in the names of matrices that stand for words or patches."""


class Together(Optimizer):
    """Several optimisers of disjoint weights, stepped together.

    Their parameter groups are shared, so a schedule sets the rates of all.

    Args:
        parts: The optimisers.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each; `closure` is taken for the shape of the method and must be None."""
        assert closure is None
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """What each holds."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def muon_and_adamw(model: Any, lr: float, muon_lr: float, weight_decay: float) -> Together:
    """An optimiser for the weights of a model that learn.

    Args:
        model: From `armbench.training.weights.prepare`.
        lr: Rate of AdamW.
        muon_lr: Rate of Muon, as in the authors' code (not matched to AdamW's).
        weight_decay: Of all matrices; vectors have none.
    """
    inner, outer, vectors = [], [], []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if weight.dim() < 2:
            vectors.append(weight)
        elif weight.dim() > 2 or any(mark in name for mark in _OUTER):
            outer.append(weight)
        else:
            inner.append(weight)
    groups = [{"params": outer, "weight_decay": weight_decay}, {"params": vectors}]
    adamw = AdamW([group for group in groups if group["params"]], lr=lr, weight_decay=0.0)
    muon = Muon(inner, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="original")
    return Together([muon, adamw])
