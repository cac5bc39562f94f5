"""Copying is taught with the tokens that the model reads."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from armbench.episode import LoopConfig
from armbench.models.hf_load import load_processor
from armbench.training.copies import copy_source
from armbench.training.encode import encode
from armbench.training.sources import Unusable


def test_the_source_gives_the_same_texts_at_each_pass(checkpoint: Path) -> None:
    source = copy_source(load_processor(checkpoint).tokenizer, 5, seed=1)
    first, second = ([row[0] for row in source if not isinstance(row, Unusable)] for _ in "12")
    assert len(first) == 5
    assert first == second


def test_a_copy_repeats_the_tokens_it_was_shown(checkpoint: Path) -> None:
    processor = load_processor(checkpoint)
    for row in copy_source(processor.tokenizer, 20, seed=1):
        assert not isinstance(row, Unusable)
        trajectory, _, store = row
        encoded = encode(trajectory, processor, store, LoopConfig())
        (turn,) = encoded.turns
        ids = encoded.inputs["input_ids"][0].tolist()
        said = ids[turn.start : turn.end]
        shown = ids[: turn.start]
        body = [n for n in said if n not in processor.tokenizer.all_special_ids]
        assert any(shown[k : k + len(body)] == body for k in range(len(shown)))
