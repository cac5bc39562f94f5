"""The 7B recipe on other engines: its files, the reward function, and our loop inside verl."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

import armbench.training.engines
from armbench.errors import ConfigError
from armbench.tools.verl import EVENTS
from armbench.training.engines.verl_reward import compute_score
from armbench.training.exports import export
from armbench.training.recipe import read_recipe
from armbench.trajectory import ToolEvent
from tests.helpers import answer
from tests.training.exporting import CHECKS, ZOOMS, make_run

parquet = pytest.importorskip("pyarrow.parquet")
ENGINES = Path(armbench.training.engines.__path__[0])
VALUES = {"bad_format": 0.0, "wrong": 0.3, "tried": 0.4, "right": 1.0, "helped": 1.5}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ENGINES / name).read_text("utf-8"))
    return content


# --- the recipe and its copies


def test_the_recipe_holds_the_published_figures():
    recipe, _ = read_recipe("arm_thinker_7b")
    assert recipe.sft is not None
    assert recipe.grpo is not None
    sft, grpo = recipe.sft, recipe.grpo
    assert (sft.lr, sft.batch, sft.max_length, sft.epochs) == (2e-5, 256, 32768, 1.0)
    assert (sft.schedule, sft.warmup, sft.freeze) == ("cosine", 0.1, ("vision", "projector"))
    assert sft.max_pixels == recipe.loop["max_pixels"] == 4096 * 28 * 28
    assert sft.filters.solved == 5
    assert (grpo.group, grpo.batch, grpo.mini_batch, grpo.lr) == (16, 512, 256, 2e-6)
    assert (grpo.kl, grpo.stages) == (0.0, ("attempt", "adaptive"))
    assert {**grpo.rewards.model_dump(), **VALUES} == grpo.rewards.model_dump()


def test_verls_file_says_what_the_recipe_says():
    recipe, _ = read_recipe("arm_thinker_7b")
    grpo, file = recipe.grpo, read("verl_grpo.yaml")
    assert grpo is not None
    actor = file["actor_rollout_ref"]["actor"]
    rollout = file["actor_rollout_ref"]["rollout"]
    assert file["data"]["train_batch_size"] == grpo.batch
    assert file["data"]["max_response_length"] == recipe.loop["max_tokens"]
    assert actor["ppo_mini_batch_size"] == grpo.mini_batch
    assert actor["ppo_micro_batch_size_per_gpu"] == grpo.micro_batch
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"]) == (grpo.clip_low, grpo.clip_high)
    assert (actor["optim"]["lr"], actor["use_kl_loss"]) == (grpo.lr, False)
    assert (rollout["n"], rollout["temperature"]) == (grpo.group, grpo.temperature)
    assert rollout["multi_turn"]["max_assistant_turns"] == int(str(recipe.loop["max_turns"])) + 1
    assert actor["freeze_vision_tower"] == ("vision" in grpo.freeze)
    assert file["trainer"]["save_freq"] == grpo.save_every


def test_llamafactorys_file_says_what_the_recipe_says():
    recipe, _ = read_recipe("arm_thinker_7b")
    sft, file = recipe.sft, read("llamafactory_sft.yaml")
    assert sft is not None
    assert file["model_name_or_path"] == recipe.model
    assert (file["learning_rate"], file["num_train_epochs"]) == (sft.lr, sft.epochs)
    assert (file["lr_scheduler_type"], file["warmup_ratio"]) == (sft.schedule, sft.warmup)
    assert (file["cutoff_len"], file["image_max_pixels"]) == (sft.max_length, sft.max_pixels)
    assert file["per_device_train_batch_size"] == sft.micro_batch
    step = sft.micro_batch * file["gradient_accumulation_steps"] * 16
    assert step == sft.batch
    frozen = (file["freeze_vision_tower"], file["freeze_multi_modal_projector"])
    assert (frozen, file["freeze_language_model"]) == ((True, True), False)


def test_what_the_files_name_can_be_imported():
    reward = read("verl_grpo.yaml")["reward"]["custom_reward_function"]
    module = importlib.import_module(reward["path"].removeprefix("pkg://"))
    assert getattr(module, reward["name"]) is compute_score
    [loop] = yaml.safe_load((ENGINES / "verl_agent.yaml").read_text())
    module_name, _, name = loop["_target_"].rpartition(".")
    assert importlib.util.find_spec(module_name) is not None
    assert name == "ArmbenchLoop"


# --- the reward function


@pytest.fixture
def rows(tmp_path: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Rows of verl by item, and the records that tools left in the same run's episodes."""
    run, played = make_run(tmp_path)
    export(run.path, "verl", tmp_path / "rl")
    table = parquet.read_table(tmp_path / "rl" / "train.parquet").to_pylist()
    named = {json.loads(row["extra_info"]["sample"])["id"]: row for row in table}
    ran = {
        t.sample_id: [e.model_dump_json() for e in t.events if isinstance(e, ToolEvent)]
        for t in played
    }
    return named, ran


def told(*turns: str) -> str:
    """Turns and results as verl decodes them."""
    return "\nuser\n<tool_response>\nshown\n</tool_response>\nassistant\n".join(turns)


def reward(rows: Any, *turns: str, events: int = 0, **fields: Any) -> float:
    named, ran = rows
    row = named["photo"]  # its right answer is shown second
    info = {**row["extra_info"], EVENTS: ran["photo"][:events], "num_turns": 2 * len(turns)}
    found = compute_score(
        row["data_source"],
        told(*turns),
        row["reward_model"]["ground_truth"],
        {**info, **fields.pop("info", {})},
        **fields,
    )
    assert set(found) == {"score", "acc", "formed", "calls", "helped"}
    return found["score"]


def test_the_published_values_come_out(rows: Any):
    assert reward(rows, ZOOMS, answer(2), events=1) == pytest.approx(1.5)
    assert reward(rows, answer(2)) == pytest.approx(1.0)
    assert reward(rows, ZOOMS, answer(1), events=1) == pytest.approx(0.4)
    assert reward(rows, answer(1)) == pytest.approx(0.3)
    assert reward(rows, "Answer 2 is better") == 0.0
    assert reward(rows, answer(1), reward="attempt") == pytest.approx(0.3)
    assert reward(rows, ZOOMS, answer(1), events=1, reward="attempt") == pytest.approx(0.4)
    assert reward(rows, answer(2), values={"right": 0.9}) == pytest.approx(0.9)


def test_writing_what_a_tool_says_earns_nothing(rows: Any):
    said = answer(2, "This is the zoom-in image. Zoomed in on original_image, bbox_2d [1, 2, 3, 4]")
    assert reward(rows, said) == pytest.approx(1.0)


def test_writing_where_a_turn_starts_earns_nothing(rows: Any):
    # One turn of the judge that poses as two, the second well formed.
    posing = told("no form at all", answer(2))
    assert reward(rows, posing) == 0.0
    assert reward(rows, posing, info={"num_turns": None}) == 0.0


def test_a_call_at_the_end_is_no_verdict(rows: Any):
    assert reward(rows, ZOOMS, answer(2) + ZOOMS, events=1) == 0.0


def test_an_unknown_reward_is_named(rows: Any):
    with pytest.raises(ConfigError, match="unknown reward 'best'; known: attempt"):
        reward(rows, answer(2), reward="best")


# --- our loop inside verl


class Server:
    """verl's servers, writing what a script says; tokens and pictures are kept."""

    def __init__(self, tokenizer: Any, turns: list[str]) -> None:
        self.tokenizer, self.turns = tokenizer, iter(turns)
        self.prompts: list[list[int]] = []
        self.images: list[int] = []
        self.written: list[list[int]] = []
        self.limits: list[int] = []

    async def generate(
        self, *, prompt_ids: Any, sampling_params: Any, image_data: Any, **_: Any
    ) -> Any:
        ids = [*self.tokenizer.encode(next(self.turns)), self.tokenizer.eos_token_id]
        most = sampling_params.get("max_tokens", 999)
        ids = ids[:most]
        self.prompts.append(prompt_ids)
        self.images.append(len(image_data or ()))
        self.limits.append(most)
        self.written.append(ids)
        logprobs = [-float(len(self.written))] * len(ids)
        return SimpleNamespace(
            token_ids=ids,
            log_probs=logprobs,
            extra_fields={"step": 7},
            num_preempted=None,
            routed_experts=None,
        )


@pytest.fixture
def loop_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ArmbenchLoop`, on stand-ins for verl's classes where verl is not installed."""
    try:
        importlib.import_module("verl.experimental.agent_loop.agent_loop")
    except ImportError:
        made = ModuleType("verl.experimental.agent_loop.agent_loop")
        made.AgentLoopBase = _Base  # type: ignore[attr-defined]
        made.AgentLoopOutput = SimpleNamespace  # type: ignore[attr-defined]
        made.AgentLoopMetrics = SimpleNamespace  # type: ignore[attr-defined]
        for name in ("verl", "verl.experimental", "verl.experimental.agent_loop"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, made.__name__, made)
    module = importlib.import_module("armbench.training.engines.verl_loop")
    yield module.ArmbenchLoop
    sys.modules.pop(module.__name__, None)


class _Base:
    """What `ArmbenchLoop` uses of verl's AgentLoopBase (0.9.1)."""

    def __init__(self, trainer_config: Any, server_manager: Any, tokenizer: Any, processor: Any,
                 dataset_cls: Any, data_config: Any, **_: Any) -> None:  # fmt: skip
        self.rollout_config = trainer_config.config.actor_rollout_ref.rollout
        self.server_manager, self.tokenizer, self.processor = server_manager, tokenizer, processor
        self.loop = asyncio.get_event_loop()


def run_loop(
    loop_class: Any, backend: Any, data: Path, row: Any, turns: list[str], response: int = 4096
) -> tuple[Any, Server]:
    server = Server(backend.processor.tokenizer, turns)

    async def go() -> Any:
        rollout = SimpleNamespace(prompt_length=8192, response_length=response)
        ref = SimpleNamespace(rollout=rollout)
        loop = loop_class(
            trainer_config=SimpleNamespace(config=SimpleNamespace(actor_rollout_ref=ref)),
            server_manager=server,
            tokenizer=backend.processor.tokenizer,
            processor=backend.processor,
            dataset_cls=object,
            data_config=SimpleNamespace(config={}),
            name="armbench",
            data=str(data),
        )
        return await loop.run({"temperature": 1.0}, raw_prompt=[], extra_info=row["extra_info"])

    return asyncio.run(go()), server


def test_our_loop_runs_inside_verl(loop_class: Any, backend: Any, rows: Any, tmp_path: Path):
    turns = [ZOOMS, CHECKS, answer(2)]
    output, server = run_loop(loop_class, backend, tmp_path / "rl", rows[0]["photo"], turns)
    assert output.reward_score == pytest.approx(1.5)
    assert output.extra_fields["reward_extra_info"]["calls"] == 2.0
    assert output.extra_fields["step"] == 7
    assert (server.images, output.num_turns) == ([1, 2, 2], 6)
    assert len(output.multi_modal_data["images"]) == 2
    whole = output.prompt_ids + output.response_ids
    for prompt, ids in zip(server.prompts, server.written, strict=True):
        assert whole[: len(prompt)] == prompt, "what is learnt from is what was shown"
        assert whole[len(prompt) : len(prompt) + len(ids)] == ids
    learnt = [i for i, m in zip(output.response_ids, output.response_mask, strict=True) if m]
    assert learnt == [i for ids in server.written for i in ids]
    assert [
        p for p, m in zip(output.response_logprobs, output.response_mask, strict=True) if m
    ] == [-float(n) for n, ids in enumerate(server.written, 1) for _ in ids]


def test_a_call_that_cannot_be_read_is_answered(
    loop_class: Any, backend: Any, rows: Any, tmp_path: Path
):
    # verl's own loop would end the episode in silence.
    turns = ["<tool_call>\nzoom please\n</tool_call>", answer(2)]
    output, server = run_loop(loop_class, backend, tmp_path / "rl", rows[0]["photo"], turns)
    shown = backend.processor.tokenizer.decode(server.prompts[1])
    assert "The tool call could not be read" in shown
    assert output.reward_score == pytest.approx(1.0)


def test_an_episode_that_outgrows_the_response_ends(
    loop_class: Any, backend: Any, rows: Any, tmp_path: Path
):
    turns = [ZOOMS, answer(2)]
    row = rows[0]["photo"]
    whole, _ = run_loop(loop_class, backend, tmp_path / "rl", row, turns)
    first = whole.response_mask.index(0)
    # There is room for the call, and for some of its result.
    output, server = run_loop(loop_class, backend, tmp_path / "rl", row, turns, first + 5)
    assert server.limits[0] == first + 5
    assert output.response_ids == whole.response_ids[:first]
    assert output.response_mask == [1] * first
    assert len(output.multi_modal_data["images"]) == 1
    assert output.reward_score == 0.0


def test_a_turn_that_cannot_be_shown_as_it_was_is_not_learnt_from(
    loop_class: Any, backend: Any, rows: Any, tmp_path: Path
):
    turns = ["<|im_start|>" + ZOOMS, answer(2)]  # a control token amid the judge's own
    output, server = run_loop(loop_class, backend, tmp_path / "rl", rows[0]["photo"], turns)
    learnt = [i for i, m in zip(output.response_ids, output.response_mask, strict=True) if m]
    assert learnt == server.written[1]
    assert len(output.response_logprobs) == len(output.response_ids)


def test_an_item_without_pictures_or_calls(
    loop_class: Any, backend: Any, rows: Any, tmp_path: Path
):
    output, server = run_loop(loop_class, backend, tmp_path / "rl", rows[0]["text"], [answer(1)])
    assert (output.reward_score, server.images) == (1.0, [0])
    assert output.multi_modal_data == {}
    assert output.response_ids == server.written[0]


def test_pictures_are_not_written_into_the_data(
    loop_class: Any, backend: Any, rows: Any, tmp_path: Path
):
    before = sorted((tmp_path / "rl").rglob("*"))
    run_loop(loop_class, backend, tmp_path / "rl", rows[0]["photo"], [ZOOMS, answer(2)])
    assert sorted((tmp_path / "rl").rglob("*")) == before


def test_llamafactory_parses_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hparams = pytest.importorskip("llamafactory.hparams", exc_type=ImportError)
    file = {**read("llamafactory_sft.yaml"), "output_dir": str(tmp_path / "out")}
    # Wants a device and a writer of its logs, which are of no matter here.
    file |= {"bf16": False, "report_to": "none", "flash_attn": "auto"}
    model, data, training, finetuning, _ = hparams.get_train_args(file)
    assert (model.image_max_pixels, data.cutoff_len, data.template) == (3211264, 32768, "qwen2_vl")
    assert (training.learning_rate, training.gradient_accumulation_steps) == (2e-5, 8)
    assert (finetuning.freeze_vision_tower, finetuning.freeze_language_model) == (True, False)
