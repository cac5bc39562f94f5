"""Checkpoints for training: what learns, what is frozen, and saving the result whole.

Works by module names, so for every model of transformers whose vision tower is called
``visual`` with a ``merger`` in it (Qwen2.5-VL, Qwen3-VL); other names are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from armbench.errors import ConfigError
from armbench.models.hf_load import load_model, load_processor
from armbench.models.prompting import shows_tool_results
from armbench.pages import sha256_of
from armbench.runlog import write_json
from armbench.types import digest

if TYPE_CHECKING:
    from armbench.training.recipe import Lora

__all__ = [
    "PartName",
    "fingerprint",
    "load_start",
    "part_of",
    "prepare",
    "save_checkpoint",
    "save_weights",
    "start_of",
]

PartName = Literal["vision", "projector", "language"]
"""Parts of a model that a recipe can freeze."""

RECORD = "training.json"
"""Written last: a folder that holds it is a whole checkpoint."""

_COPIED = (
    *("config.json", "generation_config.json", "preprocessor_config.json"),
    *("processor_config.json", "video_preprocessor_config.json", "chat_template.json"),
    *("*.jinja", "tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt"),
)
"""Files of the start that belong to the result, as they are."""


def start_of(model: str, folder: Path) -> str:
    """A recipe's start checkpoint: a folder, from the recipe's own; else a name on the hub."""
    path = folder / Path(model).expanduser()
    return str(path.resolve()) if path.is_dir() else model


def fingerprint(start: str, model: Any) -> str:
    """What a start checkpoint is: a hash of a folder's weights, or the hub's name and commit."""
    folder = Path(start)
    if not folder.is_dir():
        return f"{start}@{getattr(model.config, '_commit_hash', None)}"
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    return digest({file.name: sha256_of(file) for file in files})


def load_start(model: str, *, dtype: str = "float32", tool_role: str = "tool") -> tuple[Any, Any]:
    """A start checkpoint on the CPU, and its processor.

    Args:
        model: Folder, or name on the hub.
        dtype: Type of the weights.
        tool_role: Role of tool results, as in `armbench.episode.LoopConfig`.

    Raises:
        ConfigError: If something is missing, or its chat template does not show tool results.
    """
    processor = load_processor(model)
    if tool_role == "tool" and not shows_tool_results(processor):
        raise ConfigError(
            f"the chat template of {model} does not show messages of role 'tool': add the role "
            "to its chat_template.jinja, or set loop.tool_role: user in the recipe"
        )
    loaded = load_model(model, device="cpu", dtype=dtype, device_map=None, model_args={})
    return loaded, processor


def part_of(name: str) -> PartName:
    """Which part a parameter belongs to, by its name."""
    if "visual." not in name:
        return "language"
    return "projector" if "merger" in name else "vision"


def prepare(model: Any, freeze: Iterable[PartName], lora: Lora | None) -> Any:
    """Mark what learns; what does is float32, whatever the rest is.

    Args:
        model: From `load_start`.
        freeze: Parts that do not learn.
        lora: Adapters on the language model; everything else is then frozen.

    Returns:
        The model, wrapped by peft if there are adapters.

    Raises:
        ConfigError: If nothing is left to learn, or peft is missing.
    """
    frozen = set(freeze)
    parts = {part_of(name) for name, _ in model.named_parameters()}
    if not parts >= {"vision", "projector"}:
        raise ConfigError(
            f"{type(model).__name__} has no vision tower under the name 'visual' with a "
            "'merger': only the Qwen vision-language families can be trained"
        )
    if lora is not None:
        if "language" in frozen:
            raise ConfigError("freeze: language leaves nothing to learn; adapters are put there")
        return _with_adapters(model, lora)
    for name, weight in model.named_parameters():
        weight.requires_grad_(part_of(name) not in frozen)
        if weight.requires_grad:
            weight.data = weight.data.float()
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ConfigError("freeze leaves nothing to learn: take a part out of it")
    return model


def _with_adapters(model: Any, lora: Lora) -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError(f"{error}; adapters need it: pip install 'armbench[train]'") from error
    import torch

    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and part_of(f"{name}.") == "language"
        and module is not model.get_output_embeddings()
    ]
    wanted = lora.targets.split("+")
    if wanted != ["all-linear"]:
        known = sorted({name.rsplit(".", 1)[-1] for name in linear})
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise ConfigError(
                f"lora.targets: the language model has no linear layers {', '.join(unknown)}; "
                f"it has: {', '.join(known)}"
            )
        linear = [name for name in linear if name.rsplit(".", 1)[-1] in wanted]
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=linear,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def save_checkpoint(
    model: Any,
    start: str,
    out: Path,
    *,
    dtype: str,
    record: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write a complete checkpoint that transformers and vLLM load.

    Configuration, tokenizer, processor and chat template are the start's own files, not
    what the installed transformers would write of them. Adapters are merged.

    Args:
        model: What was trained, as `prepare` gave it; it stays as it is.
        start: The checkpoint that it comes from.
        out: Folder to write into.
        dtype: Type of the weights on disk.
        record: Content of ``training.json``, written last.
        state: The weights, if `model` holds only shards of them.
    """
    save_weights(model, out, dtype=dtype, state=state)
    folder = _files_of(start)
    for pattern in _COPIED:
        for file in sorted(folder.glob(pattern)):
            (out / file.name).write_bytes(file.read_bytes())
    config = json.loads((out / "config.json").read_text("utf-8"))
    if (typed := _typed(config, dtype)) != config:
        (out / "config.json").write_text(json.dumps(typed, indent=2) + "\n", "utf-8")
    write_json(out / RECORD, dict(record))


def save_weights(
    model: Any, out: Path, *, dtype: str, state: Mapping[str, Any] | None = None
) -> None:
    """Write a model's weights in the form that transformers and vLLM load, adapters merged.

    Args:
        model: As for `save_checkpoint`.
        out: Folder to write into; weights that are there are replaced.
        dtype: Type of the weights on disk.
        state: The weights, if `model` holds only shards of them.
    """
    import torch

    kind = getattr(torch, dtype)
    weights = {
        name: value.detach().to("cpu", kind) if value.is_floating_point() else value
        for name, value in (state or _merged(model)).items()
    }
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.safetensors*"):
        old.unlink()
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    base.save_pretrained(out, state_dict=weights)


def _merged(model: Any) -> dict[str, Any]:
    """The weights by name, with adapters added to those they lie on."""
    import torch

    if not hasattr(model, "peft_config"):
        return dict(model.state_dict())
    base = model.get_base_model()
    state = {
        name.replace(".base_layer.", "."): value
        for name, value in base.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in base.named_modules():
        if not hasattr(layer, "get_delta_weight"):
            continue
        weight = state[f"{name}.weight"]
        with torch.no_grad():
            for adapter in layer.active_adapters:
                weight = weight + layer.get_delta_weight(adapter).to(weight.dtype)
        # Off the device at once: together these are a second model.
        state[f"{name}.weight"] = weight.cpu()
    return state


def _files_of(start: str) -> Path:
    """The folder of a checkpoint's small files; those of the hub were fetched when it loaded."""
    if Path(start).is_dir():
        return Path(start)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(start, allow_patterns=[p for p in _COPIED]))


def _typed(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """A published config with the type of the weights as they are now."""
    names = [name for name in ("dtype", "torch_dtype") if name in config] or ["dtype"]
    typed: dict[str, Any] = {**config, **{name: dtype for name in names}}
    for key in ("text_config", "vision_config"):
        inner = typed.get(key)
        if isinstance(inner, dict) and {"dtype", "torch_dtype"} & inner.keys():
            typed[key] = _typed(inner, dtype)
    return typed
