"""transformers' Trainer for judges: order of the examples, accuracy, and a stop where it breaks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainingArguments

from armbench.errors import ConfigError
from armbench.models.hf import is_out_of_memory
from armbench.training.books import Books
from armbench.training.data import Example, Examples, StepOrder, batch_of
from armbench.training.encode import IGNORE
from armbench.training.optimizers import muon_and_adamw
from armbench.training.recipe import SFT

__all__ = ["JudgeTrainer", "last_good", "training_arguments"]

_DONE = "complete"
"""Marks a checkpoint that was written to its end."""
_RECENT = 20
"""Steps over which accuracy is averaged to see whether it is enough."""
_SHOWN = ("loss", "accuracy", "learning_rate", "grad_norm", "tokens")


def last_good(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; a kill may leave a torn one."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_DONE}")]
    newest = max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)
    return None if newest is None else str(newest)


def training_arguments(settings: SFT, seed: int, folder: Path) -> TrainingArguments:
    """The recipe in the Trainer's words.

    Args:
        settings: The recipe's section.
        seed: The recipe's seed.
        folder: Where checkpoints to resume from go.

    Raises:
        ConfigError: If the Trainer refuses a setting, or the batch cannot be shared out.
    """
    try:
        arguments = TrainingArguments(
            **_recomputing(settings),
            output_dir=str(folder),
            per_device_train_batch_size=settings.micro_batch,
            num_train_epochs=settings.epochs,
            max_steps=settings.max_steps,
            learning_rate=settings.lr,
            lr_scheduler_type=settings.schedule,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            bf16=settings.dtype == "bfloat16",
            save_steps=settings.save_every,
            save_total_limit=2,
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to=[],
            dataloader_pin_memory=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),  # else torchrun would start strangers
            disable_tqdm=True,
            seed=seed,
            remove_unused_columns=False,
            # A batch of text alone leaves the vision tower out.
            ddp_find_unused_parameters="vision" not in settings.freeze,
        )
    except ValueError as error:
        raise ConfigError(f"sft: {str(error).splitlines()[0]}") from error
    # A process has one device; without a launcher the Trainer would split batches over all.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    shared = settings.micro_batch * arguments.world_size
    if settings.batch % shared:
        raise ConfigError(
            f"sft.batch is {settings.batch}: make it a multiple of sft.micro_batch times the "
            f"processes, {shared}"
        )
    arguments.gradient_accumulation_steps = settings.batch // shared
    return arguments


def _recomputing(settings: SFT) -> dict[str, Any]:
    if not settings.gradient_checkpointing:
        return {}
    fields = TrainingArguments.__dataclass_fields__
    name = "activation" if "activation_checkpointing" in fields else "gradient"  # older versions
    return {f"{name}_checkpointing": True, f"{name}_checkpointing_kwargs": {"use_reentrant": False}}


class JudgeTrainer(transformers.Trainer):
    """The Trainer with our order of examples, accuracy, and a stop where the loss breaks."""

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        examples: Sequence[Example],
        processor: Any,
        settings: SFT,
    ) -> None:
        self.settings, self.examples = settings, examples
        self.folder = Path(str(arguments.output_dir))
        lengths = [example.length for example in examples]
        self.order = StepOrder(lengths, settings.batch, arguments.seed)
        self.books = Books(self.folder.parent, _SHOWN, settings.log_every)
        steps = settings.max_steps
        if steps < 0:
            steps = math.ceil(settings.epochs * math.ceil(len(examples) / settings.batch))
        arguments.warmup_steps = math.ceil(settings.warmup * steps)
        pad = processor.tokenizer.pad_token_id
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=Examples(examples),
            data_collator=lambda rows: batch_of(rows, 0 if pad is None else pad),
            callbacks=[_Keeper(self.order, self.books, settings.enough)],
        )
        self.model_accepts_loss_kwargs = True  # compute_loss wants the tokens of the whole step
        self.remove_callback(transformers.trainer_callback.PrinterCallback)
        self._counts = torch.zeros(3)
        self._began = time.monotonic()
        self._batch: list[int] = []

    def run(self, checkpoint: str | None) -> None:
        """Train to the end.

        Raises:
            ConfigError: As `sft`.
        """
        try:
            self.train(resume_from_checkpoint=checkpoint)
        except (OSError, SafetensorError) as error:
            raise ConfigError(
                f"cannot write to {self.folder}: {error}; mend that and go on with --resume"
            ) from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            longest = max(self.examples[n].length for n in self._batch or [0])
            raise ConfigError(
                f"out of memory with sft.micro_batch {self.settings.micro_batch} and examples of "
                f"up to {longest} tokens: lower sft.micro_batch, then sft.max_pixels or "
                "sft.max_length, or set sft.gradient_checkpointing: true; go on with --resume "
                "if only the machine's other work was to blame"
            ) from error
        finally:
            self.books.end()

    def create_optimizer(self, model: Any = None) -> Any:
        """Muon where the recipe asks for it; else as the Trainer does."""
        of = self.settings
        if of.muon_lr is not None and self.optimizer is None:
            self.optimizer = muon_and_adamw(self.model, of.lr, of.muon_lr, of.weight_decay)
        return super().create_optimizer(model)

    def _get_train_sampler(self, train_dataset: Any = None) -> StepOrder:
        return self.order

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean over a step's tokens of the judge: this pass's share of it.

        Own code, since Qwen's classes take the mean over each pass, so that a token's weight
        would depend on how a step is cut; and logits are made where the judge wrote only,
        which at 150,000 words and long prompts is most of the memory saved.
        """
        self._batch = inputs.pop("row").flatten().tolist()
        seen = sum(self.examples[number].length for number in self._batch)
        labels = inputs.pop("labels")[:, 1:]
        places = (labels != IGNORE).any(0).nonzero()[:, 0]
        outputs = model(**inputs, logits_to_keep=places)
        wanted = labels[:, places]
        learnt = wanted != IGNORE
        logits, wanted = outputs.logits[learnt].float(), wanted[learnt]
        total = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
        # The Trainer counts the tokens of all processes and takes the mean of their losses.
        loss = total * self.accelerator.num_processes / num_items_in_batch
        with torch.no_grad():
            right = (logits.argmax(-1) == wanted).sum()
        self._counts += torch.tensor([right.item(), len(wanted), seen])
        if not math.isfinite(value := loss.item()):
            self._stop("the loss", value)
        return (loss, outputs) if return_outputs else loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        if norm is not None and not math.isfinite(float(norm)):
            self._stop("the gradient", float(norm))
        return norm

    def _stop(self, what: str, value: float) -> None:
        """Stop before the weights are touched, so that every checkpoint is good."""
        names = ", ".join(repr(self.examples[n].name) for n in self._batch)
        good = last_good(self.folder)
        kept = f"the last good checkpoint is {good}" if good else "no checkpoint was saved yet"
        raise ConfigError(
            f"{what} became {value} at step {self.state.global_step + 1}, with: {names}; {kept}. "
            "Look at these examples, lower sft.lr, or take sft.dtype: float32"
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add accuracy and tokens to what is logged of a step."""
        if "loss" in logs:
            counts = self.accelerator.gather(self._counts.to(self.args.device)[None]).sum(0)
            right, learnt, tokens = counts.tolist()
            now = time.monotonic()
            logs |= {"accuracy": right / max(learnt, 1.0), "tokens": tokens, "learnt": learnt}
            logs["seconds"] = now - self._began
            self._began = now
            self._counts.zero_()
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Nothing: the estimate walks over all weights at each step and nobody reads it."""
        return 0

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # With the module's own names: published ones differ in some families, and the Trainer
        # reads a checkpoint back without renaming and without refusing names it lacks.
        model: Any = self.model
        own = {} if hasattr(model, "peft_config") else {"save_original_format": False}
        model.save_pretrained(output_dir or self.folder, state_dict=state_dict, **own)


def _lately(history: Sequence[dict[str, float]]) -> float:
    """Mean accuracy of the last `_RECENT` steps; 0 before there are as many.

    Args:
        history: The Trainer's own, which a run that is gone on with has too.
    """
    recent = [row.get("accuracy", 0.0) for row in history[-_RECENT:]]
    return fmean(recent) if len(recent) == _RECENT else 0.0


class _Keeper(TrainerCallback):
    """Keeps order and books: what the Trainer says at each step.

    Args:
        order: Told which epoch it is.
        books: Told each step's metrics.
        enough: Mean accuracy of `_RECENT` steps to stop at, if at any.
    """

    def __init__(self, order: StepOrder, books: Books, enough: float | None) -> None:
        self._order, self._books, self._enough = order, books, enough

    def on_train_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Open the books."""
        if state.is_world_process_zero:
            self._books.begin(state.global_step, state.max_steps)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Draw the epoch's order; an epoch that is gone on with is begun anew and skipped into."""
        self._order.epoch = int((state.epoch or 0) + 1e-6)

    def on_log(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Note a step."""
        logs = context["logs"]
        if state.is_world_process_zero and "loss" in logs:
            self._books.write({"step": state.global_step, **logs})
        if self._enough and _lately(state.log_history) >= self._enough:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Mark the checkpoint as whole."""
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _DONE).touch()
