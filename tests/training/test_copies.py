"""Copying is taught with the tokens that the model reads."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from armbench.episode import LoopConfig
from armbench.models.hf_load import load_processor
from armbench.training.copies import LEVELS, Level, copy_source
from armbench.training.encode import encode
from armbench.training.sources import Unusable


def test_the_source_gives_the_same_texts_at_each_pass(checkpoint: Path) -> None:
    source = copy_source(load_processor(checkpoint).tokenizer, LEVELS[1], 5, seed=1)
    first, second = ([row[0] for row in source if not isinstance(row, Unusable)] for _ in "12")
    assert len(first) == 5
    assert first == second


@pytest.mark.parametrize("level", LEVELS)
def test_lines_are_said_again_word_by_word(level: Level, checkpoint: Path) -> None:
    tokenizer = load_processor(checkpoint).tokenizer
    for row in copy_source(tokenizer, level, 20, seed=1):
        assert not isinstance(row, Unusable)
        [message] = row[0].messages
        shown = message.parts[0].text.split("\n")
        said = row[0].last_text.split("\n")
        assert said
        assert sorted(set(shown)) == sorted(set(said)) or len(shown) > len(said)
        assert set(said) <= set(shown)


@pytest.mark.parametrize("level", LEVELS)
def test_a_text_has_few_different_words(level: Level, checkpoint: Path) -> None:
    tokenizer = load_processor(checkpoint).tokenizer
    _, most = level.known
    few = set[int]()
    for row in copy_source(tokenizer, level, 20, seed=1):
        assert not isinstance(row, Unusable)
        [message] = row[0].messages
        words = {n for line in message.parts[0].text.split("\n") for n in tokenizer.encode(line)}
        few.add(len(words))
        assert len(words) <= most
    assert len(few) > 5


def test_a_single_line_is_said_in_the_tokens_it_was_shown_in(checkpoint: Path) -> None:
    processor = load_processor(checkpoint)
    line = Level((1, 1), (4, 16), known=(4, 10_000), enough=1.0)
    for row in copy_source(processor.tokenizer, line, 20, seed=1):
        assert not isinstance(row, Unusable)
        encoded = encode(row[0], processor, row[2], LoopConfig())
        [turn] = encoded.turns
        ids = encoded.inputs["input_ids"][0].tolist()
        said = ids[turn.start : turn.end]
        shown = ids[: turn.start]
        body = [n for n in said if n not in processor.tokenizer.all_special_ids]
        assert any(shown[k : k + len(body)] == body for k in range(len(shown)))
