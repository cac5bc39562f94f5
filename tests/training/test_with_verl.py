"""The same with verl itself, where it is installed (tried: 0.9.1): its own code on our files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from armbench.tools.verl import EVENTS
from armbench.training.exports import export
from tests.helpers import answer
from tests.training.exporting import ZOOMS, make_run
from tests.training.test_engines import ENGINES, Server

agent_loop = pytest.importorskip("verl.experimental.agent_loop.agent_loop")
hydra = pytest.importorskip("hydra")
omegaconf = pytest.importorskip("omegaconf")


@pytest.fixture
def rl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exported rows, and the environment that the files for verl ask for."""
    run, _ = make_run(tmp_path)
    export(run.path, "verl", tmp_path / "rl")
    monkeypatch.setenv("ARMBENCH_RL_DATA", str(tmp_path / "rl"))
    monkeypatch.setenv("ARMBENCH_ENGINES", str(ENGINES))
    return tmp_path / "rl"


@pytest.fixture
def config(rl: Path, checkpoint: Path) -> Any:
    """Our configuration as verl's command composes it, with its defaults."""
    with hydra.initialize_config_dir(config_dir=str(ENGINES), version_base=None):
        return hydra.compose(
            config_name="verl_grpo",
            overrides=[
                f"actor_rollout_ref.model.path={checkpoint}",
                f"+data.cache_dir={rl.parent / 'cache'}",
                "data.max_prompt_length=4096",
                "data.filter_overlong_prompts=false",
            ],
        )


def dataset(config: Any, processor: Any) -> Any:
    from verl.utils.dataset.rl_dataset import RLHFDataset

    return RLHFDataset(config.data.train_files, processor.tokenizer, config.data, processor)


def test_the_configuration_composes(config: Any):
    from verl.utils.config import omega_conf_to_dataclass

    assert config.data.train_files.endswith("rl/train.parquet")
    assert config.algorithm.adv_estimator == "grpo"
    assert (config.actor_rollout_ref.rollout.n, config.trainer.total_epochs) == (16, 3)
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert rollout.agent.default_agent_loop == "armbench"
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert (actor.optim.lr, actor.ppo_mini_batch_size, actor.use_kl_loss) == (2e-6, 256, False)
    algorithm = omega_conf_to_dataclass(config.algorithm)
    assert algorithm.norm_adv_by_std_in_grpo is True


def test_its_data_set_reads_our_rows(config: Any, backend: Any):
    rows = dataset(config, backend.processor)
    assert len(rows) == 4
    row = next(row for row in rows if "photo" in str(row["raw_prompt"]))
    parts = row["raw_prompt"][1]["content"]
    assert [part["type"] for part in parts] == ["image", "text"]
    assert parts[0]["image"].size == (323, 242)
    assert row["tools_kwargs"]["image_zoom_in_tool"]["create_kwargs"]["item"]


def test_it_finds_our_agent_loop(config: Any, backend: Any):
    path = config.actor_rollout_ref.rollout.agent.agent_loop_config_path
    [entry] = omegaconf.OmegaConf.load(agent_loop.resolve_config_path(path))
    made = hydra.utils.instantiate(
        config=entry,
        trainer_config=agent_loop.DictConfigWrap(config=config),
        server_manager=None,
        tokenizer=backend.processor.tokenizer,
        processor=backend.processor,
        hf_model_type="qwen2_5_vl",
        dataset_cls=object,
        data_config=agent_loop.DictConfigWrap(config.data),
        tools=agent_loop.ToolListWrap([]),
    )
    assert isinstance(made, agent_loop.AgentLoopBase)
    assert (entry.name, made._reward) == ("armbench", "adaptive")


def worker(config: Any, backend: Any, server: Server) -> Any:
    """verl's worker without Ray: what it is made of, and no more."""
    made = object.__new__(agent_loop.AgentLoopWorker)
    from verl.tools.tool_registry import load_all_tools
    from verl.utils.config import omega_conf_to_dataclass

    made.config, made.llm_client = config, server
    made.rollout_config = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    made.tokenizer, made.processor = backend.processor.tokenizer, backend.processor
    made.dataset_cls, made.mm_processor_kwargs = object, {}
    made.hf_model_type, made.reward_loop_worker_handles = "qwen2_5_vl", None
    made.distillation_enabled = False
    made.tools = load_all_tools(str(ENGINES / "verl_tools.yaml"), None)
    path = config.actor_rollout_ref.rollout.agent.agent_loop_config_path
    for entry in omegaconf.OmegaConf.load(path):
        agent_loop._agent_loop_registry[entry.name] = entry
    return made


def run_row(made: Any, row: Any, agent_name: str) -> Any:
    fields = {k: v for k, v in row.items() if k not in ("agent_name", "dummy_tensor")}
    trajectory = {"step": 0, "sample_index": 0, "rollout_n": 0, "validate": False}
    return made._run_agent_loop(
        {"temperature": 1.0}, trajectory, agent_name=agent_name, trace=False, **fields
    )


def test_its_worker_makes_a_batch_of_our_episodes(config: Any, backend: Any):
    server = Server(backend.processor.tokenizer, [ZOOMS, answer(2)])
    made = worker(config, backend, server)
    rows = dataset(config, backend.processor)
    row = next(row for row in rows if "photo" in str(row["raw_prompt"]))

    async def go() -> Any:
        return made._postprocess([await run_row(made, row, row["agent_name"])])

    batch = asyncio.run(go())
    assert float(batch.batch["rm_scores"].sum()) == pytest.approx(1.5)
    assert float(batch.non_tensor_batch["acc"][0]) == 1.0
    [inputs] = batch.non_tensor_batch["multi_modal_inputs"]
    pads = batch.batch["input_ids"] == backend.processor.image_token_id
    assert int(inputs["image_grid_thw"].prod(1).sum()) // 4 == int(pads.sum())
    learnt = batch.batch["responses"][batch.batch["response_mask"].bool()].tolist()
    assert learnt == [i for ids in server.written for i in ids]


def test_its_advantages_are_of_our_rewards(config: Any, backend: Any):
    import numpy as np
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    server = Server(backend.processor.tokenizer, [answer(1), answer(2), "no form"])
    made = worker(config, backend, server)
    rows = dataset(config, backend.processor)
    row = next(row for row in rows if "photo" in str(row["raw_prompt"]))

    async def go() -> Any:
        played = [await run_row(made, row, row["agent_name"]) for _ in range(3)]
        return made._postprocess(played).batch

    batch = asyncio.run(go())
    found, _ = compute_grpo_outcome_advantage(
        batch["rm_scores"], batch["response_mask"], np.array(["one"] * 3)
    )
    scores = batch["rm_scores"].sum(1)
    assert scores.tolist() == pytest.approx([0.3, 1.0, 0.0])
    expected = (scores - scores.mean()) / scores.std()
    for mine, mask, advantage in zip(found, batch["response_mask"], expected, strict=True):
        assert mine[mask.bool()].tolist() == pytest.approx(
            [float(advantage)] * int(mask.sum()), abs=1e-4
        )
        assert not mine[~mask.bool()].any()


def test_its_own_tool_loop_runs_our_tools(config: Any, backend: Any):
    server = Server(backend.processor.tokenizer, [ZOOMS, answer(2)])
    made = worker(config, backend, server)
    rows = dataset(config, backend.processor)
    row = next(row for row in rows if "photo" in str(row["raw_prompt"]))

    class Rows:
        @classmethod
        async def process_multi_modal_info(cls, messages: Any, **_: Any) -> Any:
            return [messages[1]["content"][0]["image"]], None, None

    made.dataset_cls = Rows
    output = asyncio.run(run_row(made, row, "tool_agent"))
    [record] = output.extra_fields[EVENTS]
    assert json.loads(record)["result"]["meta"]["bbox_2d"] == [100, 100, 400, 400]
    assert server.images == [1, 2]
    shown = backend.processor.tokenizer.decode(server.prompts[1])
    assert "Zoomed in on original_image" in shown
    assert '"minItems": 4' in backend.processor.tokenizer.decode(server.prompts[0])
    found = score(config, backend, row, output)
    assert found["reward_score"] == pytest.approx(1.5)
    assert found["reward_extra_info"]["calls"] == 1.0


def score(config: Any, backend: Any, row: Any, output: Any) -> Any:
    """The reward of an episode by verl's own reward manager and our function, found by name."""
    import numpy as np
    from tensordict import TensorDict
    from verl import DataProto
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.trainer.ppo.reward import get_custom_reward_fn

    fields = {key: row[key] for key in ("data_source", "reward_model", "extra_info")}
    batch = {"responses": output.response_ids, "attention_mask": output.attention_mask}
    data = DataProto(
        batch=TensorDict(batch, batch_size=1),
        non_tensor_batch={
            **{key: np.array([value], dtype=object) for key, value in fields.items()},
            "tool_extra_fields": np.array([output.extra_fields], dtype=object),
            "__num_turns__": np.array([output.num_turns]),
        },
    )

    async def go() -> Any:
        manager = NaiveRewardManager(
            config, backend.processor.tokenizer, get_custom_reward_fn(config)
        )
        manager.loop = asyncio.get_running_loop()
        return await manager.run_single(data)

    return asyncio.run(go())
