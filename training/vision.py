"""A vision tower of random weights learns to name details, before a judge learns to look.

Through a language model that has learnt to do without pictures next to nothing comes back to the
tower: thousands of crops in, it still guessed. So the tower is trained alone: each of its tokens
is held against the language model's own embeddings of words, as the output layer would, and the
best of a picture's tokens has to be the words of the detail. What the tower then gives the
language model looks like the word that is to be said, which it knows how to repeat.

A loop of its own: neither tokens nor a language model run here, and it is over in two minutes, so
it starts anew after a kill. Only for start checkpoints; published models come with eyes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from transformers import get_cosine_schedule_with_warmup

from armbench.runlog import versions
from armbench.training.books import Books
from armbench.training.optimizers import muon_and_adamw
from armbench.training.recipe import Recipe, Vision
from armbench.training.weights import load_start, save_checkpoint

__all__ = ["see"]

_SHARP = 20.0
"""Cosines are multiplied by this before the softmax."""
_LENGTHS = 0.1
"""Weight of the tokens' lengths. Cosines leave them free, and they grow to a hundred times a
word's: whatever the language model's layers then add to such a token is lost beside it."""
_Row = tuple[Any, Any, list[int]]
"""Patches, their grid, tokens of the words."""


def see(recipe: Recipe, start: str, shown: Iterable[tuple[Image.Image, str]], out: Path) -> Path:
    """Train the vision tower of a checkpoint; returns `out`, by then a checkpoint.

    Args:
        recipe: What to do; its ``vision`` section.
        start: The checkpoint; of it only the tower and its projector change.
        shown: Pictures, and what they show in words.
        out: Folder of the result, with ``metrics.jsonl``.
    """
    section = recipe.vision or Vision()
    model, processor = load_start(start)
    model = model.float()
    words = model.get_input_embeddings().weight.detach()
    length = words.norm(dim=1).mean()
    words = words / words.norm(dim=1, keepdim=True)
    rows = [_row(processor, picture, text) for picture, text in shown]
    tower = model.model.visual
    # AdamW alone names two thirds of unseen details after as many steps, with Muon nearly all.
    optimizer = muon_and_adamw(tower, section.lr, section.muon_lr, weight_decay=0.01)
    steps = int(section.epochs * len(rows) / section.batch)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 10, steps)
    books = Books(out, ("loss", "named"), 20)
    books.begin(0, steps)
    order, source = list[int](), Random(recipe.seed)
    for step in range(1, steps + 1):
        if len(order) < section.batch:
            order = source.sample(range(len(rows)), len(rows))
        batch = [rows[order.pop()] for _ in range(section.batch)]
        tokens, counts = _look(tower, batch)
        lengths = tokens.norm(dim=1, keepdim=True)
        scores = _scores(tokens / lengths, counts, words)
        loss, named = _loss(scores, [ids for *_, ids in batch])
        loss = loss + _LENGTHS * (lengths / length).log().square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        books.write({"step": step, "loss": loss.item(), "named": named})
    books.end()
    record = {"vision": section.model_dump(mode="json"), "start": start, "versions": versions()}
    save_checkpoint(model, start, out, dtype="bfloat16", record=record)
    return out


def _row(processor: Any, picture: Image.Image, text: str) -> _Row:
    seen = processor.image_processor(images=[picture], return_tensors="pt")
    ids = processor.tokenizer(text, add_special_tokens=False).input_ids
    # Half as many bytes; a byte of a pixel has no more to say.
    return seen["pixel_values"].half(), seen["image_grid_thw"], sorted(set(ids))


def _look(tower: Any, batch: Sequence[_Row]) -> tuple[Any, list[int]]:
    """The tokens of all pictures, tokens x width, and how many each has."""
    grids = torch.cat([grid for _, grid, _ in batch])
    out = tower(torch.cat([patches for patches, _, _ in batch]).float(), grid_thw=grids)
    # transformers gives the merged tokens alone, or (newer) beside others.
    tokens = getattr(out, "pooler_output", out)
    merged = tower.spatial_merge_size**2
    return tokens, [int(grid.prod()) // merged for grid in grids]


def _scores(tokens: Any, counts: list[int], words: Any) -> Any:
    """How much of each word a picture's best tokens have: pictures x vocabulary.

    Args:
        tokens: Of all pictures, of length 1.
        counts: How many of them each picture has.
        words: Embeddings of length 1.
    """
    parts = (_SHARP * tokens @ words.T).split(counts)
    return torch.stack([one.logsumexp(0) for one in parts])


def _loss(scores: Any, wanted: Sequence[Sequence[int]]) -> tuple[Any, float]:
    """Cross-entropy to the words of each picture, alike among them; share of pictures named."""
    target = torch.zeros_like(scores)
    named = 0
    for row, ids in enumerate(wanted):
        target[row, list(ids)] = 1 / len(ids)
        named += {*scores[row].topk(len(ids)).indices.tolist()} == {*ids}
    loss = -(target * scores.log_softmax(-1)).sum(-1).mean()
    return loss, named / len(wanted)
