"""vLLM in this process: its asynchronous engine, which episodes join and leave at any time.

For a server use `armbench.models.openai`: several runs can share it, and its
engine survives a crash of the run. The engine works in a process that vLLM starts; a script
of one's own has to begin its work under ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import asyncio
import atexit
import re
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from armbench.errors import BackendError, ConfigError, ContextExceeded, ServerDown
from armbench.models.hf_load import load_processor
from armbench.models.prompting import Prompter, views
from armbench.models.tokens import prompt_ids
from armbench.threads import LoopThread
from armbench.types import Reply, Usage

if TYPE_CHECKING:
    from armbench.episode import Ask

__all__ = ["VLLMBackend", "import_vllm", "on_cpu"]

T = TypeVar("T")

_TOO_LONG = re.compile(r"maximum context length|maximum model length|max_model_len", re.IGNORECASE)


class VLLMBackend:
    """A vision-language model run by vLLM in this process.

    The judge is shown its own turns as the tokens it chose, as by `armbench.models.hf`.
    The checkpoint's own sampling settings (repetition penalty, top-k) are not applied.

    Args:
        model: Folder of a checkpoint, or its name on the hub.
        name: Name of the judge in run directories; `model` by default.
        max_context: Longest prompt plus reply in tokens; the model's own limit by default.
        gpus: GPUs that a copy of the model is spread over (tensor parallel).
        gpu_memory: Share of each GPU's memory that vLLM may take, 0 to 1.
        logprobs: Keep the log-probability of each token, under the model's own
            distribution (temperature 1).
        engine_args: Passed on to ``vllm.AsyncEngineArgs``, e.g. ``dtype`` or
            ``quantization``; they win over what this class sets.

    Raises:
        ConfigError: If vLLM is missing, or the checkpoint is incomplete or cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str = "",
        max_context: int | None = None,
        gpus: int = 1,
        gpu_memory: float = 0.9,
        logprobs: bool = False,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        self._vllm = import_vllm()
        self.name = name or str(model)
        self.logprobs = logprobs
        self.processor = load_processor(model)
        # Padding and truncation of the file are put off at the first use: not by many threads.
        self.processor.tokenizer([""])
        self._prompter = Prompter(self.processor, self.name)
        self._numbers = count()
        settings: dict[str, Any] = {
            "model": str(model),
            "max_model_len": max_context,
            "tensor_parallel_size": gpus,
            "gpu_memory_utilization": gpu_memory,
            "disable_log_stats": True,
        }
        if on_cpu():
            # On a CPU a seed together with chunked prefill kills the engine.
            settings["enable_chunked_prefill"] = False
            # Compiling takes longer than what a CPU is used for: trying things out.
            settings["enforce_eager"] = True
        # The engine belongs to one event loop, and every `drive` has another.
        self._thread = LoopThread("vllm")
        try:
            self._engine = self.submit(self._start(settings | dict(engine_args or {}))).result()
        except (TypeError, OSError, RuntimeError, *_refusals()) as error:
            self._thread.close()
            # Its own messages name the setting to change (memory, length, head size).
            raise ConfigError(f"vLLM cannot load {model}: {error}") from error
        # Before what vLLM has registered: else it takes the end for a crash of the engine.
        atexit.register(self.close)

    async def _start(self, settings: dict[str, Any]) -> Any:
        return self._vllm.AsyncLLMEngine.from_engine_args(self._vllm.AsyncEngineArgs(**settings))

    async def generate(self, ask: Ask) -> Reply:
        """Generate a reply; cancelling takes the request out of the engine.

        Args:
            ask: A request.

        Raises:
            ContextExceeded: If the prompt does not fit.
            DataError: If a picture cannot be read.
            BackendError: If vLLM refuses the request, or fails at it.
            ServerDown: If the engine has died: it ends the run, as nothing more can be generated.
            ConfigError: If the chat template cannot show tool results, or native
                tool schemas are sent (only a server reads native calls).
        """
        prompt = await asyncio.to_thread(self._prompt, ask)
        output = await asyncio.wrap_future(self.submit(self._run(prompt, self._sampling(ask))))
        return self._reply(output)

    async def aclose(self) -> None:
        """Nothing: the engine is there for the next drive, until `close`."""

    def close(self) -> None:
        """End the engine, whose memory is then free; for good. Done at the process's end too."""
        atexit.unregister(self.close)
        engine, self._engine = self._engine, None
        if engine is not None:
            self.submit(_shut_down(engine)).result()
        self._thread.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin work on the engine's event loop.

        Raises:
            RuntimeError: If the back-end has been closed.
        """
        return self._thread.submit(work)

    @property
    def engine(self) -> Any:
        """The ``AsyncLLM`` of vLLM; whoever awaits its methods does that by `submit`."""
        return self._engine

    def _prompt(self, ask: Ask) -> dict[str, Any]:
        messages, images = self._prompter.messages(ask), views(ask)
        try:
            ids = prompt_ids(self.processor, messages, self._prompter.spoken(ask))
        except ValueError as error:
            message = f"the tokenizer of {self.name} refuses the prompt: {error}"
            raise BackendError(message, kind="bad_prompt") from error
        prompt: dict[str, Any] = {"prompt_token_ids": ids}
        return prompt | ({"multi_modal_data": {"image": images}} if images else {})

    def _sampling(self, ask: Ask) -> Any:
        from vllm.sampling_params import RequestOutputKind

        return self._vllm.SamplingParams(
            temperature=ask.temperature,
            max_tokens=ask.max_tokens,
            # Greedy needs none, and a seeded row makes the sampler slower.
            seed=ask.seed if ask.temperature > 0 else None,
            logprobs=0 if self.logprobs else None,
            detokenize=False,  # done here, as for every back-end in this process
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    async def _run(self, prompt: dict[str, Any], sampling: Any) -> Any:
        """One request, on the engine's loop."""
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        output = None
        try:
            async for part in self._engine.generate(prompt, sampling, str(next(self._numbers))):
                output = part
        except EngineDeadError as error:
            raise ServerDown(
                f"the vLLM engine of {self.name} has died ({error}); see its log and resume"
            ) from error
        except _refusals() as error:
            raise _refused(error) from error
        except EngineGenerateError as error:  # stands for another, which may be a refusal
            if isinstance(error.__cause__, _refusals()):
                raise _refused(error.__cause__) from error
            message = f"vLLM failed: {error.__cause__ or error}"
            raise BackendError(message, kind="engine_error") from error
        return output

    def _reply(self, output: Any) -> Reply:
        best = output.outputs[0]
        ids = tuple(best.token_ids)
        logprobs = None
        if self.logprobs and best.logprobs is not None:
            steps = zip(best.logprobs, ids, strict=True)
            logprobs = tuple(float(step[token].logprob) for step, token in steps)
        return Reply(
            text=self.processor.tokenizer.decode(ids, skip_special_tokens=True),
            finish_reason=best.finish_reason or "stop",
            usage=Usage(
                input_tokens=len(output.prompt_token_ids or ()),
                output_tokens=len(ids),
                cached_tokens=output.num_cached_tokens or 0,
            ),
            token_ids=ids,
            logprobs=logprobs,
        )


def import_vllm() -> Any:
    """The package ``vllm``.

    Raises:
        ConfigError: If it is missing.
    """
    try:
        # The package, not this module: imports here are absolute.
        import vllm
    except ImportError as error:
        raise ConfigError(f"{error}; install armbench[vllm]") from error
    return vllm


def on_cpu() -> bool:
    """Whether vLLM computes on this machine's CPU."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


async def _shut_down(engine: Any) -> None:
    engine.shutdown()


def _refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises for a bad request; newer versions have a class of their own for it."""
    try:
        from vllm.exceptions import VLLMClientError
    except ImportError:
        return (ValueError,)
    return (ValueError, VLLMClientError)


def _refused(error: BaseException) -> BackendError:
    message = str(error)
    if _TOO_LONG.search(message):
        return ContextExceeded(message)
    return BackendError(message, kind="bad_prompt")
