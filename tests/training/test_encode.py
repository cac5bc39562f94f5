"""What is learnt from: the judge's tokens exactly as it chose them, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from armbench.drive import run_tool
from armbench.episode import Ask, LoopConfig, episode
from armbench.images import ImageStore
from armbench.tools.image import ZOOM
from armbench.training.encode import IGNORE, encode
from armbench.trajectory import Trajectory
from armbench.types import Reply
from tests.helpers import answer, as_reply, call, make_plan, make_sample, picture, run_episode

torch = pytest.importorskip("torch")

LOOP = LoopConfig(max_turns=3)
ZOOMS = call("image_zoom_in_tool", image="original_image", bbox_2d=[100, 100, 400, 400])


def zoom_plan(**fields: Any) -> Any:
    store = ImageStore()
    sample = make_sample([picture(store, (300, 200)), "What is it?"])
    return make_plan(ZOOM, sample=sample, store=store, loop=LOOP, **fields)


def written(encoded: Any, processor: Any) -> str:
    """The decoded tokens that carry loss, turns joined by a bar."""
    labels = encoded.labels()[0]
    ids = encoded.inputs["input_ids"][0]
    assert ((labels == ids) | (labels == IGNORE)).all()
    turns = [ids[t.start : t.end][labels[t.start : t.end] != IGNORE] for t in encoded.turns]
    assert sum(map(len, turns)) == int((labels != IGNORE).sum())
    return "|".join(processor.tokenizer.decode(turn) for turn in turns)


def test_loss_is_on_the_judges_words_and_their_ends_only(backend: Any) -> None:
    plan = zoom_plan()
    first = f"<think>I look closer.</think>\n{ZOOMS}"
    trajectory = run_episode(plan, [as_reply(first + " lost words"), answer(1)])
    encoded = encode(trajectory, backend.processor, plan.store, LOOP)
    # The first turn was cut after its call, so it did not end by itself.
    assert written(encoded, backend.processor) == f"{first}|{answer(1)}<|im_end|>"


def test_notes_results_and_prompt_carry_no_loss(backend: Any) -> None:
    plan = zoom_plan()
    trajectory = run_episode(plan, [ZOOMS, ZOOMS, ZOOMS, answer(2)])
    encoded = encode(trajectory, backend.processor, plan.store, LOOP)
    ends = "<|im_end|>"
    assert written(encoded, backend.processor) == f"{ZOOMS}{ends}|" * 3 + answer(2) + ends
    whole = backend.processor.tokenizer.decode(encoded.inputs["input_ids"][0])
    assert "No tool calls are left" in whole
    assert "Zoomed in on original_image" in whole
    assert len(encoded.inputs["image_grid_thw"]) == 4


def test_a_turn_cut_off_by_its_limit_has_no_end_to_learn(backend: Any) -> None:
    plan = zoom_plan()
    trajectory = run_episode(plan, [as_reply("I think and", finish_reason="length")])
    encoded = encode(trajectory, backend.processor, plan.store, LOOP)
    assert written(encoded, backend.processor) == "I think and"


def test_pictures_of_any_number_keep_their_places(backend: Any) -> None:
    store = ImageStore()
    question = [picture(store, (80, 60)), "Which?", picture(store, (60, 300), "blue")]
    plan = make_plan(sample=make_sample(question), store=store)
    encoded = encode(run_episode(plan, [answer(1)]), backend.processor, store, LOOP)
    pads = backend.processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    expected = int(encoded.inputs["image_grid_thw"].prod(1).sum()) // 4
    assert int((encoded.inputs["input_ids"] == pads).sum()) == expected


class Played:
    """Plays an episode with a real model, whose turns are then replaced by spliced ones."""

    def __init__(self, backend: Any, plan: Any) -> None:
        self.backend, self.prompts = backend, []
        generator = episode(plan)
        action = next(generator)
        while True:
            sent = self.reply(action) if isinstance(action, Ask) else run_tool(action)
            try:
                action = generator.send(sent)
            except StopIteration as end:
                self.trajectory: Trajectory = end.value
                return

    def reply(self, ask: Ask) -> Reply:
        """A reply sampled hot, so that it is no text a tokenizer would give, then a call."""
        tokenizer = self.backend.processor.tokenizer
        row = self.backend._prepare(0, ask)
        self.prompts.append(row.inputs["input_ids"][0].tolist())
        [reply] = self.backend.generate_batch([replace(ask, temperature=2.0, max_tokens=12)])
        tail = "" if len(self.prompts) == 3 else ZOOMS
        ids = [i for i in reply.token_ids if i not in tokenizer.all_special_ids]
        ids += [*tokenizer.encode(tail), tokenizer.eos_token_id]
        return reply.model_copy(
            update={
                "token_ids": tuple(ids),
                "text": tokenizer.decode(ids, skip_special_tokens=True),
                "logprobs": tuple(-float(n) for n in range(len(ids))),
                "finish_reason": "stop",
            }
        )


def test_tokens_go_in_as_they_came_out(backend: Any) -> None:
    plan = zoom_plan()
    played = Played(backend, plan)
    encoded = encode(played.trajectory, backend.processor, plan.store, LOOP)
    ids = encoded.inputs["input_ids"][0].tolist()
    replies = [e.reply for e in played.trajectory.events if e.kind == "model"]
    assert len(replies) == len(encoded.turns) == 3
    again = []
    for prompt, turn, reply in zip(played.prompts, encoded.turns, replies, strict=True):
        assert turn.exact
        assert ids[: turn.start] == prompt, "what was learnt from is what was shown"
        assert tuple(ids[turn.start : turn.end]) == reply.token_ids
        assert turn.logprobs == reply.logprobs
        again.append(tuple(backend.processor.tokenizer.encode(reply.text)) == reply.token_ids[:-1])
    assert not all(again), "the episode must hold tokens that tokenising its text does not give"


def test_logprobs_of_the_model_are_those_of_the_rollout(backend: Any) -> None:
    loop = LoopConfig(max_tokens_per_turn=24, temperature=1.0)
    plan = make_plan(sample=make_sample(), loop=loop, seed=1)  # draws no control token
    generator = episode(plan)
    [reply] = backend.generate_batch([next(generator)])
    with pytest.raises(StopIteration) as end:
        generator.send(reply)
    encoded = encode(end.value.value, backend.processor, plan.store, plan.loop)
    with torch.no_grad():
        logits = backend.model(**encoded.inputs).logits[0].log_softmax(-1)
    [turn] = encoded.turns
    ids = encoded.inputs["input_ids"][0]
    found = [float(logits[n - 1, ids[n]]) for n in range(turn.start, turn.end)]
    assert found == pytest.approx(list(turn.logprobs), abs=1e-4)


@pytest.mark.parametrize(("end", "learnt"), [("<|im_end|>", True), ("<|endoftext|>", False)])
def test_the_end_of_a_turn_is_learnt_only_if_it_was_chosen(
    backend: Any, end: str, learnt: bool
) -> None:
    """A judge may end with another token than the template writes."""
    tokenizer = backend.processor.tokenizer
    ids = (*tokenizer.encode(answer(1)), tokenizer.convert_tokens_to_ids(end))
    plan = zoom_plan()
    reply = as_reply(answer(1), token_ids=ids, logprobs=(-0.5,) * len(ids))
    encoded = encode(run_episode(plan, [reply]), backend.processor, plan.store, LOOP)
    [turn] = encoded.turns
    assert turn.exact
    assert turn.end - turn.start == len(turn.logprobs) == len(ids) - (not learnt)
    assert written(encoded, backend.processor) == answer(1) + (end if learnt else "")
