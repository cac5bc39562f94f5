"""Muon and AdamW step as one optimiser and go on as one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from armbench.training.optimizers import Together, muon_and_adamw


class Small(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A word table, a matrix inside, a frozen one and a vector."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = torch.nn.Embedding(5, 4)
        self.inside = torch.nn.Linear(4, 3)
        self.frozen = torch.nn.Linear(3, 3, bias=False).requires_grad_(False)

    def step(self, optimizer: Any) -> None:
        self.frozen(self.inside(self.embed_tokens.weight)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def made(model: Any) -> Together:
    return muon_and_adamw(model, lr=0.01, muon_lr=0.1, weight_decay=0.1)


def test_matrices_inside_go_to_muon_and_the_rest_that_learns_to_adamw() -> None:
    model = Small()
    muon, adamw = made(model).parts
    held = [
        [id(weight) for group in part.param_groups for weight in group["params"]]
        for part in (muon, adamw)
    ]
    assert held == [
        [id(model.inside.weight)],
        [id(model.embed_tokens.weight), id(model.inside.bias)],
    ]
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0.0]


def test_a_schedule_sets_the_rates_of_both_also_after_loading() -> None:
    model = Small()
    optimizer = made(model)
    optimizer.load_state_dict(deepcopy(optimizer.state_dict()))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    model.step(optimizer)
    schedule.step()
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == [
        0.05,
        0.005,
        0.005,
    ]


def test_a_state_that_was_loaded_goes_on_alike() -> None:
    model = Small()
    optimizer = made(model)
    model.step(optimizer)
    other = Small()
    other.load_state_dict(model.state_dict())
    again = made(other)
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    for one, its in ((model, optimizer), (other, again)):
        one.step(its)
    assert torch.equal(model.inside.weight, other.inside.weight)
    assert torch.equal(model.embed_tokens.weight, other.embed_tokens.weight)
