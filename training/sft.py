"""Supervised fine-tuning of a judge on transcripts, by transformers' Trainer.

`sft(recipe, folder, out, sources=None, resume=False)` is ``armbench train sft``. The Trainer
does the loop, mixed precision, accumulation, gradient checkpointing, schedule, clipping and
several processes; here are the data, their order, what is checked at each step, and a whole
checkpoint at the end:

::

    OUT/
        config.json, model.safetensors, tokenizer …   the checkpoint; transformers and vLLM load it
        training.json     recipe, data, versions; written last: with it, the checkpoint is whole
        data.json         what became of the demonstrations
        metrics.jsonl     a line for each step
        curves.png        loss and accuracy
        resume/           checkpoints to go on from; removed at the end

Precision: what learns is float32 and computed in the recipe's type by autocast; what is
frozen (all but the adapters, with `Lora`) is kept in the recipe's type.

Several devices: start it by ``accelerate launch -m armbench.cli train sft …`` or torchrun; each
process encodes all the data. Tried: one process on a CPU, and two by torchrun (gloo), whose
losses are those of one wherever a step's examples share out evenly; accelerate fills an uneven
last step of an epoch by repeating examples. Not tried: GPUs, FSDP and DeepSpeed (accelerate's
configuration is used as it is; merging adapters of a sharded model is not supported).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import transformers

from armbench.errors import ConfigError, ResumeError
from armbench.runlog import differing, read_json, versions, write_json
from armbench.training.books import read_metrics
from armbench.training.curves import Panel, can_draw, draw_curves
from armbench.training.data import DataReport, make_examples
from armbench.training.filters import solved_items
from armbench.training.recipe import SFT, Recipe
from armbench.training.sources import Source, open_sources
from armbench.training.trainer import JudgeTrainer, last_good, training_arguments
from armbench.training.weights import (
    RECORD,
    fingerprint,
    load_start,
    prepare,
    save_checkpoint,
    start_of,
)

__all__ = ["sft"]

_RESUME, _IDENTITY = "resume", "identity.json"
_ASIDE = {"description": True, "grpo": True, "sft": {"log_every", "save_every"}}
"""What of a recipe does not change what comes out."""
_PANELS = (
    Panel("loss (nats per token)", {"loss": "loss"}),
    Panel("accuracy of the next token", {"accuracy": "accuracy"}, (0.0, 1.0)),
)


def sft(
    recipe: Recipe,
    folder: Path,
    out: Path,
    sources: Iterable[Source] | None = None,
    resume: bool = False,
) -> Path:
    """Fine-tune a checkpoint on demonstrations.

    Args:
        recipe: What to do; its ``sft`` section.
        folder: Where the recipe's paths start.
        out: Folder of the result; see the module.
        sources: Demonstrations, instead of those that the recipe names.
        resume: Go on with the run in `out`; the curve is that of an undisturbed run. Starts
            one if there is none, and returns at once if it has ended.

    Returns:
        `out`, by now a checkpoint.

    Raises:
        ConfigError: If something does not fit or is missing, the loss is no number, or memory
            runs out; the message says what to do. The last good checkpoint stays in `out`.
        ResumeError: If the run in `out` is of another recipe or other data.
        DataError: If a source cannot be read.
    """
    settings = recipe.sft
    if settings is None:
        raise ConfigError(f"the recipe {recipe.name} has no sft section")
    if not resume and ((out / RECORD).exists() or (out / _RESUME).exists()):
        raise ConfigError(f"{out} holds a training run: go on with --resume, or take another --out")
    identity: dict[str, Any] = {"recipe": recipe.model_dump(mode="json", exclude=_ASIDE)}
    _require_same(out, identity)
    if (out / RECORD).is_file():
        return out
    sources = open_sources(settings.data, folder) if sources is None else sources
    solved = _solved(settings, folder)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    arguments = training_arguments(settings, recipe.seed, out / _RESUME)
    start = start_of(recipe.model, folder)
    role = str(recipe.loop.get("tool_role", "tool"))
    model, processor = load_start(start, dtype=settings.dtype, tool_role=role)
    transformers.set_seed(recipe.seed)  # adapters are drawn
    model = prepare(model, settings.freeze, settings.lora)
    examples, report = make_examples(sources, settings, processor, loop=recipe.loop, solved=solved)
    identity |= {"data": report.sha256, "start": fingerprint(start, model)}
    _require_same(out, identity)
    trainer = JudgeTrainer(model, arguments, examples, processor, settings)
    if trainer.is_world_process_zero():
        _begin(out, identity, report)
    trainer.run(last_good(out / _RESUME))
    counts = report.model_dump(mode="json")
    steps = trainer.state.global_step
    record = {"kind": "sft", **identity, "counts": counts, "steps": steps, "versions": versions()}
    _finish(trainer, start, out, record)
    return out


def _solved(settings: SFT, folder: Path) -> frozenset[str]:
    filters = settings.filters
    if bool(filters.solved) != bool(filters.solved_runs):
        raise ConfigError("sft.filters: solved and solved_runs go together")
    runs = [folder / Path(run).expanduser() for run in filters.solved_runs]
    return solved_items(runs, filters.solved)


def _require_same(out: Path, identity: Mapping[str, Any]) -> None:
    """Make sure that a run that is gone on with is the same one."""
    file = next(filter(Path.is_file, (out / RECORD, out / _RESUME / _IDENTITY)), None)
    if file is None:
        return
    old = {key: value for key, value in read_json(file).items() if key in identity}
    keys = sorted(key for key, _, _ in differing(old, json.loads(json.dumps(identity))))
    if keys:
        raise ResumeError(
            f"{out} was begun with other settings; different: {', '.join(keys)}. Use the "
            "same ones, or another --out"
        )


def _begin(out: Path, identity: Mapping[str, Any], report: DataReport) -> None:
    """Note what this run is."""
    file = out / _RESUME / _IDENTITY
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from error
    write_json(out / "data.json", report.model_dump(mode="json"))
    write_json(file, dict(identity))
    for line in report.lines():
        print(line, flush=True)


def _finish(trainer: JudgeTrainer, start: str, out: Path, record: dict[str, Any]) -> None:
    """Write the checkpoint and the curves."""
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    merged = hasattr(model, "peft_config")
    _draw(out, f"SFT: {record['recipe']['name']}")
    save_checkpoint(
        model,
        start,
        out,
        dtype=trainer.settings.dtype,
        record=record,
        state=None if merged else state,
    )
    shutil.rmtree(out / _RESUME)


def _draw(out: Path, title: str) -> None:
    if not can_draw():
        print("no curves: they need matplotlib, pip install 'armbench[results]'", flush=True)
        return
    rows = list(read_metrics(out / "metrics.jsonl"))
    (out / "curves.png").write_bytes(draw_curves(rows, _PANELS, title))
