"""transformers in this process: batched generation for any image-text-to-text model.

Token choice is armbench's own (`RowSampler`) and only the forward pass is the
library's: each row of a batch has its own temperature, seed and limit, so
what one request gives does not depend on its neighbours in the batch (beyond the
rounding of the matrix kernels).

The checkpoint's own sampling settings (repetition penalty, top-k) are not applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armbench.errors import BackendError, ConfigError, ContextExceeded, DataError
from armbench.models.hf_load import load_model, load_processor
from armbench.models.prompting import Prompter, views
from armbench.models.tokens import tokenize
from armbench.types import Reply, Usage

if TYPE_CHECKING:
    from armbench.episode import Ask
    from armbench.models.hf_sample import RowSampler

__all__ = ["HFBackend", "collate", "is_out_of_memory", "to_device"]


class HFBackend:
    """A vision-language model run by transformers.

    Args:
        model: Folder of a checkpoint, or its name on the hub.
        name: Name of the judge in run directories; `model` by default.
        batch_size: Most requests in one forward pass. Halved for good when memory runs out.
        device: ``auto`` takes CUDA where there is some, else the CPU.
        dtype: ``auto`` is bfloat16 on a GPU and float32 on a CPU; else a torch dtype's name.
        device_map: Spread a model over several devices (needs accelerate); overrides `device`.
        max_context: Longest prompt plus reply in tokens; the model's own limit by default.
        logprobs: Keep the log-probability of each token, under the model's own
            distribution (temperature 1), whatever temperature it was sampled at.
        model_args: Passed on to ``from_pretrained``, e.g. ``attn_implementation``.

    Raises:
        ConfigError: If torch or transformers is missing, or the checkpoint is
            incomplete or cannot be used; the message names the file and the fix.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str = "",
        batch_size: int = 8,
        device: str = "auto",
        dtype: str = "auto",
        device_map: str | None = None,
        max_context: int | None = None,
        logprobs: bool = False,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size has to be 1 or more, not {batch_size}")
        processor = load_processor(model)
        loaded = load_model(
            model, device=device, dtype=dtype, device_map=device_map, model_args=model_args or {}
        )
        self._hold(loaded, processor, name or str(model), batch_size, max_context, logprobs)

    @classmethod
    def around(
        cls, model: Any, processor: Any, *, name: str, batch_size: int, logprobs: bool
    ) -> HFBackend:
        """A back-end around a model in memory, which goes on being that very model.

        Args:
            model: The model; it has to be in evaluation mode whenever it generates.
            processor: Its processor.
            name: As for the class.
            batch_size: As for the class.
            logprobs: As for the class.
        """
        backend = cls.__new__(cls)
        backend._hold(model, processor, name, batch_size, None, logprobs)
        return backend

    def _hold(
        self,
        model: Any,
        processor: Any,
        name: str,
        batch_size: int,
        max_context: int | None,
        logprobs: bool,
    ) -> None:
        self.model, self.processor, self.name = model, processor, name
        self.batch_size, self.logprobs = batch_size, logprobs
        text = model.config.get_text_config()
        self.max_context: int | None = max_context or getattr(text, "max_position_embeddings", None)
        self.pad_id, self.stop_ids = _special_ids(model, processor.tokenizer)
        self._prompter = Prompter(processor, name)

    def generate_batch(self, asks: Sequence[Ask]) -> list[Reply | BackendError | DataError]:
        """Generate a reply to each request.

        Args:
            asks: Requests of any lengths, temperatures and limits.

        Returns:
            In the order of `asks`: a reply, or what went wrong with that request
            alone: `ContextExceeded` if its prompt leaves no room for a token,
            `DataError` if a picture cannot be read, `BackendError` if the processor
            refuses it or it alone exhausts the memory.

        Raises:
            ConfigError: If the chat template cannot show tool results, or native
                tool schemas are sent (only a server reads native calls).
        """
        outcomes: list[Reply | BackendError | DataError | None] = [None] * len(asks)
        rows: list[_Row] = []
        for index, ask in enumerate(asks):
            try:
                rows.append(self._prepare(index, ask))
            except (BackendError, DataError) as error:
                outcomes[index] = error
        # Like lengths together: less padding to compute.
        rows.sort(key=lambda row: row.length)
        while rows:
            batch, rows = rows[: self.batch_size], rows[self.batch_size :]
            for row, outcome in zip(batch, self._run(batch), strict=True):
                outcomes[row.index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def prompt(self, ask: Ask) -> str:
        """The request as the chat template writes it, one mark for each picture."""
        return self._prompter.text(ask)

    def _prepare(self, index: int, ask: Ask) -> _Row:
        shown, images = self._prompter.messages(ask), views(ask)
        spoken = self._prompter.spoken(ask)
        try:
            tokens = tokenize(self.processor, shown, images, spoken, prompt=True)
        except ValueError as error:
            message = f"the processor of {self.name} refuses the prompt: {error}"
            raise BackendError(message, kind="bad_prompt") from error
        row = _Row(index, ask, tokens.inputs)
        if self.max_context is not None and row.length >= self.max_context:
            raise ContextExceeded(
                f"the prompt has {row.length} tokens and {self.name} takes {self.max_context} "
                "with the reply; lower max_pixels or max_turns"
            )
        return row

    def _run(self, rows: list[_Row]) -> list[Reply | BackendError]:
        """Generate for a batch; where memory runs out, for its halves."""
        replies = self._try(rows)
        if replies is not None:
            return [*replies]
        # Out of the handler by now: its traceback would keep the failed batch's tensors alive.
        _free_memory()
        if len(rows) == 1:
            message = (
                f"out of memory with a single prompt of {rows[0].length} tokens; "
                "lower max_pixels or max_tokens_per_turn, or spread the model with device_map"
            )
            return [BackendError(message, kind="out_of_memory")]
        half = (len(rows) + 1) // 2
        self.batch_size = min(self.batch_size, half)
        return self._run(rows[:half]) + self._run(rows[half:])

    def _try(self, rows: list[_Row]) -> list[Reply] | None:
        try:
            return self._generate(rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _generate(self, rows: list[_Row]) -> list[Reply]:
        import torch

        from armbench.models.hf_sample import make_sampler

        sampler = make_sampler(
            [row.ask for row in rows],
            room=[self._room(row) for row in rows],
            stop_ids=self.stop_ids,
            pad_id=self.pad_id,
            keep_logprobs=self.logprobs,
        )
        with torch.inference_mode():
            self._write(rows, sampler)
        return [self._reply(row, sampler, n) for n, row in enumerate(rows)]

    def _write(self, rows: list[_Row], sampler: RowSampler) -> None:
        """Let `sampler` choose every row's tokens."""
        from transformers import GenerationConfig

        config = GenerationConfig(
            max_new_tokens=max(self._room(row) for row in rows),
            # The sampler leaves one choice, so greedy search takes it.
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            pad_token_id=self.pad_id,
            eos_token_id=sorted(self.stop_ids),
        )
        self.model.generate(
            **to_device(collate([row.inputs for row in rows], self.pad_id), self.model),
            generation_config=config,
            logits_processor=[sampler.choose],
            stopping_criteria=[sampler.done],
        )

    def _room(self, row: _Row) -> int:
        if self.max_context is None:
            return row.ask.max_tokens
        return min(row.ask.max_tokens, self.max_context - row.length)

    def _reply(self, row: _Row, sampler: RowSampler, n: int) -> Reply:
        state = sampler.rows[n]
        return Reply(
            text=self.processor.tokenizer.decode(state.ids, skip_special_tokens=True),
            finish_reason=state.finish or "length",
            usage=Usage(input_tokens=row.length, output_tokens=len(state.ids)),
            token_ids=tuple(state.ids),
            logprobs=tuple(state.logprobs) if self.logprobs else None,
        )


class _Row:
    """One request, processed: tensors of a batch of one."""

    def __init__(self, index: int, ask: Ask, inputs: dict[str, Any]) -> None:
        self.index, self.ask, self.inputs = index, ask, inputs
        self.length: int = inputs["input_ids"].shape[1]


def collate(
    rows: Sequence[Mapping[str, Any]], pad_id: int, *, pad_right: bool = False
) -> dict[str, Any]:
    """Batch processed prompts: sequences padded on one side, pictures one after another.

    Args:
        rows: Processor outputs of one prompt each; ``input_ids`` has shape (1, length).
            What has the shape of ``input_ids`` is padded to the longest row (ids with
            `pad_id`, masks and types with 0); everything else is joined along its
            first dimension, as Qwen's ``pixel_values`` (patches, values) and
            ``image_grid_thw`` (pictures, 3) want it.
        pad_id: Id of the padding token.
        pad_right: Pad at the end; generation wants it at the start.

    Returns:
        Tensors by name; sequences of shape (rows, longest).
    """
    import torch

    longest = max(row["input_ids"].shape[1] for row in rows)
    names = sorted({name for row in rows for name in row})
    batch = {}
    for name in names:
        values = []
        for row in rows:
            if name not in row:
                continue  # a prompt without pictures has none of their tensors
            value = row[name]
            if value.shape == row["input_ids"].shape:
                missing = longest - value.shape[1]
                fill = pad_id if name == "input_ids" else 0
                value = torch.nn.functional.pad(
                    value, (0, missing) if pad_right else (missing, 0), value=fill
                )
            values.append(value)
        batch[name] = torch.cat(values)
    return batch


def to_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Inputs where the model is; pixels in its type, since they come as float32."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def _special_ids(model: Any, tokenizer: Any) -> tuple[int, frozenset[int]]:
    """The padding id, and every id that ends a reply."""
    stops: set[int] = set()
    for value in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        stops.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    if not stops:
        raise ConfigError(
            "the checkpoint names no end-of-turn token: add eos_token_id to generation_config.json"
        )
    pad = tokenizer.pad_token_id
    return (min(stops) if pad is None else pad), frozenset(stops)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory; torch says so in words on some devices."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
