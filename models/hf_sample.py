"""Choosing tokens row by row inside ``generate``.

transformers draws a whole batch from one generator, so a reply would depend on
its neighbours. Here each row draws from its own: one number in [0, 1) a token,
looked up in the row's cumulative distribution.

This module imports torch; import it only where a model runs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from armbench.episode import Ask

__all__ = ["Row", "RowSampler", "make_sampler"]


@dataclass
class Row:
    """What one row may do and has done.

    Attributes:
        temperature: 0 is greedy.
        room: Most tokens it may still be given.
        draw: Its own random numbers.
        ids: Tokens chosen so far, the one that ended it included.
        logprobs: Natural-log probabilities of `ids` at temperature 1.
        finish: ``stop`` or ``length`` once it has ended, else empty.
    """

    temperature: float
    room: int
    draw: random.Random
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str = ""


class RowSampler:
    """Chooses every row's tokens and knows when each has ended.

    Give `choose` to ``generate`` as a logits processor and `done` as a stopping
    criterion; afterwards read `rows`, not the output of ``generate``, which may
    have run on by a step.

    Args:
        rows: One for each row of the batch.
        stop_ids: Tokens that end a reply.
        pad_id: What rows that have ended go on with.
        keep_logprobs: Fill `Row.logprobs`.
    """

    def __init__(
        self,
        rows: list[Row],
        *,
        stop_ids: frozenset[int],
        pad_id: int,
        keep_logprobs: bool,
    ) -> None:
        self.rows = rows
        self._stop_ids, self._pad = stop_ids, pad_id
        self._keep = keep_logprobs

    def choose(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Choose the next token of each row.

        Args:
            input_ids: Not looked at; shape (rows, length so far).
            scores: Logits, shape (rows, vocabulary).

        Returns:
            Scores of the same shape that leave each row a single choice.
        """
        ids = torch.tensor(self.pick(scores), device=scores.device)
        only = torch.full_like(scores, float("-inf"))
        return only.scatter_(1, ids[:, None], 0.0)

    def pick(self, scores: torch.Tensor) -> list[int]:
        """The next token of each row, noted in `rows`; padding for those that have ended.

        Args:
            scores: Logits, shape (rows, vocabulary).
        """
        chosen = self._choices(scores.float())
        kept = torch.log_softmax(scores.float(), dim=-1) if self._keep else None
        values = None if kept is None else kept.gather(1, chosen[:, None]).squeeze(1).tolist()
        ids: list[int] = chosen.tolist()
        for n, row in enumerate(self.rows):
            if row.finish:
                ids[n] = self._pad
                continue
            row.ids.append(ids[n])
            if values is not None:
                row.logprobs.append(values[n])
            row.finish = self._finish(row)
        return ids

    def done(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which rows have ended; booleans of shape (rows,)."""
        ended = [bool(row.finish) for row in self.rows]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)

    def _choices(self, logits: torch.Tensor) -> torch.Tensor:
        chosen = logits.argmax(dim=-1)
        hot = [n for n, row in enumerate(self.rows) if row.temperature > 0 and not row.finish]
        if not hot:
            return chosen
        heat = torch.tensor([self.rows[n].temperature for n in hot], device=logits.device)
        # float64: over a vocabulary of 150,000 a float32 sum is off by more than rare tokens weigh.
        weights = torch.softmax((logits[hot] / heat[:, None]).double(), dim=-1).cumsum(dim=-1)
        draws = torch.tensor(
            [self.rows[n].draw.random() for n in hot], dtype=torch.float64, device=logits.device
        )
        # The last sum may fall just short of 1; scaling keeps the look-up inside the vocabulary.
        marks = draws * weights[:, -1]
        chosen[hot] = torch.searchsorted(weights, marks[:, None], right=True).squeeze(1)
        return chosen

    def _finish(self, row: Row) -> str:
        if row.ids[-1] in self._stop_ids:
            return "stop"
        return "length" if len(row.ids) >= row.room else ""


def make_sampler(
    asks: Sequence[Ask],
    *,
    room: Sequence[int],
    stop_ids: frozenset[int],
    pad_id: int,
    keep_logprobs: bool,
) -> RowSampler:
    """A sampler with a row for each request.

    Args:
        asks: The requests, in the order of the batch.
        room: Most tokens of each.
        stop_ids: Tokens that end a reply.
        pad_id: Id of the padding token.
        keep_logprobs: Whether to keep log-probabilities.
    """
    rows = [
        Row(
            temperature=ask.temperature,
            room=space,
            draw=random.Random(ask.seed),
        )
        for ask, space in zip(asks, room, strict=True)
    ]
    return RowSampler(rows, stop_ids=stop_ids, pad_id=pad_id, keep_logprobs=keep_logprobs)
