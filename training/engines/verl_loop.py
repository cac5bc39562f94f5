"""Our own loop as an agent loop of verl: its servers generate, our code does the rest.

verl's ``tool_agent`` has its own prompt, ends an episode in silence at a call that cannot be
read, and does not say when no calls are left. Here `armbench.episode` runs as it does in an
evaluation: same prompt, tools, names, limits and notes. The judge's tokens are kept as
sampled, and the reward is worked out from the episode's events.

Named in ``verl_agent.yaml``; imports verl (read and tried: 0.9.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import (  # type: ignore[import-not-found,unused-ignore]
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
)

from armbench.drive import run_tool
from armbench.episode import Ask, LoopConfig, Plan, episode
from armbench.evaluate import offer
from armbench.images import ImageStore
from armbench.models.prompting import views
from armbench.models.tokens import own_tokens, render, tokenize
from armbench.task import ToolEntry
from armbench.tools.verl import opened
from armbench.training.encode import conversation, encode
from armbench.training.engines.verl_reward import figures
from armbench.training.recipe import Rewards
from armbench.trajectory import Failure, ModelEvent, Trajectory
from armbench.types import ImagePart, Reply, Sample, Usage

__all__ = ["ArmbenchLoop"]


class ArmbenchLoop(AgentLoopBase):  # type: ignore[misc]
    """Runs one episode of ours on verl's servers.

    Args:
        *args: As verl gives them.
        data: Folder that ``armbench train export --to verl`` wrote.
        reward: Name of the reward.
        values: Values of the rewards other than the published ones.
        **kwargs: As verl gives them.
    """

    def __init__(
        self,
        *args: Any,
        data: str,
        reward: str = "adaptive",
        values: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._data, self._reward = Path(data), reward
        self._values = Rewards.model_validate(dict(values or {}))

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Run the episode of a row.

        Args:
            sampling_params: verl's; the length of a turn is ours.
            **kwargs: The row; its ``extra_info`` is what `armbench.training.exports` wrote.

        Raises:
            ValueError: If the prompt does not fit; the message names the setting.
        """
        plan = await self.loop.run_in_executor(None, self._plan, kwargs["extra_info"])
        server = _Server(self, sampling_params)
        generator = episode(plan)
        action = next(generator)
        while True:
            sent: Any
            if isinstance(action, Ask):
                sent = await server.reply(action)
            else:
                sent = await self.loop.run_in_executor(None, run_tool, action)
            try:
                action = generator.send(sent)
            except StopIteration as end:
                return await self.loop.run_in_executor(None, self._output, end.value, plan, server)

    def _plan(self, info: Mapping[str, Any]) -> Plan:
        sample = Sample.model_validate_json(info["sample"])
        loop = LoopConfig.model_validate_json(info["loop"])
        entries = [ToolEntry.model_validate(entry) for entry in json.loads(info["tools"])]
        # In memory: what the calls of an episode cut out is forgotten with it.
        store = ImageStore()
        for path in json.loads(info["images"]):
            store.add_file(self._data / path)
        folder = info["documents"]
        return Plan(
            sample=sample,
            store=store,
            order=tuple(json.loads(info["order"])),
            tools=offer(entries, loop),
            loop=loop,
            documents=opened(self._data / folder) if folder else None,
        )

    def _output(self, trajectory: Trajectory, plan: Plan, server: _Server) -> AgentLoopOutput:
        spoken = [n for n, e in enumerate(trajectory.events) if isinstance(e, ModelEvent)]
        # What came after the judge's last word is learnt from by nobody.
        heard = trajectory.model_copy(update={"events": trajectory.events[: spoken[-1] + 1]})
        encoded = encode(heard, self.processor, plan.store, plan.loop)
        ids = encoded.inputs["input_ids"][0].tolist()
        start, end = encoded.turns[0].start, encoded.turns[-1].end
        mask, logprobs = [0] * len(ids), [0.0] * len(ids)
        for turn in encoded.turns:
            if turn.exact:  # else what it wrote cannot be shown again as it was
                mask[turn.start : turn.end] = [1] * (turn.end - turn.start)
                logprobs[turn.start : turn.end] = turn.logprobs or [0.0] * (turn.end - turn.start)
        parts = (p for m in conversation(heard, plan.loop.tool_role)[0] for p in m.parts)
        images = [
            plan.store.view_image(part.image, plan.loop.max_pixels)
            for part in parts
            if isinstance(part, ImagePart)
        ]
        found = figures(trajectory, plan.sample, self._reward, self._values)
        return AgentLoopOutput(
            prompt_ids=ids[:start],
            response_ids=ids[start:end],
            response_mask=mask[start:end],
            response_logprobs=logprobs[start:end] if server.logprobs else None,
            multi_modal_data={"images": images} if images else {},
            reward_score=found["score"],
            num_turns=2 * len(spoken),
            metrics=AgentLoopMetrics(),
            extra_fields={
                **server.fields,
                "turn_scores": [],
                "tool_rewards": [],
                "reward_extra_info": found,
            },
        )


class _Server:
    """verl's servers as a back-end for one episode."""

    def __init__(self, loop: ArmbenchLoop, sampling: dict[str, Any]) -> None:
        self._loop, self._sampling = loop, sampling
        self._request, self._prompt = uuid4().hex, 0
        self.fields: dict[str, Any] = {}
        self.logprobs = False

    async def reply(self, ask: Ask) -> Reply | Failure:
        """A reply; or that the conversation has outgrown verl's response length."""
        run = self._loop.loop.run_in_executor
        images, prompt = await run(None, self._tokens, ask)
        sizes = self._loop.rollout_config
        if not self._prompt:
            self._prompt = len(prompt)
            if len(prompt) > sizes.prompt_length:
                raise ValueError(
                    f"the prompt has {len(prompt)} tokens; raise data.max_prompt_length "
                    f"({sizes.prompt_length}) or lower the loop's max_pixels"
                )
        left = sizes.response_length - (len(prompt) - self._prompt)
        if left < 1:
            return Failure(
                boundary="provider",
                type="ContextExceeded",
                message=f"no room in a response of {sizes.response_length} tokens",
            )
        most = min(ask.max_tokens, left)
        output = await self._loop.server_manager.generate(
            request_id=self._request,
            prompt_ids=prompt,
            sampling_params={**self._sampling, "max_tokens": most},
            image_data=images or None,
        )
        self.fields = {**output.extra_fields, **self.fields}
        self.logprobs = output.log_probs is not None
        return self._heard(output, len(prompt), most)

    def _tokens(self, ask: Ask) -> tuple[list[Any], list[int]]:
        tokenizer, images = self._loop.tokenizer, views(ask)
        turns = [m.text for m in ask.messages if m.role == "assistant"]
        spoken: Sequence[Any] = [
            own_tokens(tokenizer, ids, text) for ids, text in zip(ask.spoken, turns, strict=True)
        ]
        shown = render(ask.messages, lambda ref: {"type": "image"})
        tokens = tokenize(self._loop.processor, shown, images, spoken, prompt=True)
        return images, tokens.inputs["input_ids"][0].tolist()

    def _heard(self, output: Any, prompt: int, most: int) -> Reply:
        tokenizer, ids = self._loop.tokenizer, list(output.token_ids)
        cut = len(ids) >= most and ids[-1] not in tokenizer.all_special_ids
        return Reply(
            text=tokenizer.decode(ids, skip_special_tokens=True),
            finish_reason="length" if cut else "stop",
            usage=Usage(input_tokens=prompt, output_tokens=len(ids)),
            token_ids=tuple(ids),
            logprobs=tuple(output.log_probs) if output.log_probs else None,
        )
