"""A real vision-language checkpoint of a few million random weights.

The directory has the files and the layout of a published Qwen2.5-VL or Qwen3-VL
checkpoint, so transformers and vLLM load it offline through their usual paths.
It knows nothing, but it goes through every line that a large judge goes through,
in seconds and on a CPU. It is also the start of the training recipes' toy runs.

Command line: ``python -m armbench.models.tiny OUT [--family qwen3_vl] [--seed 0]``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from armbench.errors import ConfigError
from armbench.types import derive_seed

__all__ = ["CHAT_TEMPLATE", "Family", "TinySize", "build_tiny", "package_texts", "train_tokenizer"]

Family = Literal["qwen2_5_vl", "qwen3_vl"]
"""Model families that can be built; the name is the ``model_type`` of transformers."""

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
"""Control tokens of the Qwen families: left out when text is decoded."""

MARKS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>"),
    *("<think>", "</think>"),
)
"""Single tokens that are still text: kept when text is decoded."""

# The split rule of the Qwen families (digits one by one). transformers 5 rebuilds it from the
# class name and vLLM reads it from tokenizer.json, so it has to be theirs to the letter.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    resources.files("armbench.models").joinpath("tiny_template.jinja").read_text("utf-8")
)
"""Turns as ``<|im_start|>role … <|im_end|>``; tool results stand in a user turn. Append-only."""


@dataclass(frozen=True)
class TinySize:
    """How large the checkpoint is; the defaults make about three million weights.

    Attributes:
        vocab: Tokens at most, control tokens included.
        layers: Text layers.
        heads: Text attention heads; times `head_dim` they make the hidden size.
        kv_heads: Key and value heads; divides `heads`.
        head_dim: Size of a head: 32 or more, which vLLM's CPU kernels want, and divisible by 16.
        mlp: Width of the text MLP.
        vision_hidden: Width of the vision tower (two heads).
        vision_layers: Layers of the vision tower.
        min_image_tokens: Tokens that the smallest picture takes.
        max_image_tokens: Tokens that the largest picture takes; larger ones are shrunk.
        context: Longest sequence in tokens.
    """

    vocab: int = 1024
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    mlp: int = 384
    vision_hidden: int = 128
    vision_layers: int = 2
    min_image_tokens: int = 4
    max_image_tokens: int = 64
    context: int = 16384

    @property
    def hidden(self) -> int:
        """Width of the text model."""
        return self.heads * self.head_dim


def build_tiny(
    out: Path,
    *,
    family: Family = "qwen2_5_vl",
    seed: int = 0,
    size: TinySize | None = None,
    texts: Iterable[str] | None = None,
    phrases: Iterable[str] = (),
) -> Path:
    """Write a randomly initialised checkpoint that loads offline.

    Equal arguments (and equal `texts`) give equal files. Files of the same names
    in `out` are replaced.

    Args:
        out: Folder to write; made if it is missing.
        family: Which architecture.
        seed: Seed of the weights.
        size: How large; `TinySize` by default.
        texts: What the tokenizer learns its words from; armbench's own source
            by default, so another version of armbench has other tokens.
        phrases: Texts that become a single token each, over and above `size.vocab`.

    Returns:
        `out`.

    Raises:
        ConfigError: If the family is unknown, or torch or transformers is missing.
    """
    if family not in get_args(Family):
        known = ", ".join(get_args(Family))
        raise ConfigError(f"unknown model family {family!r}; known: {known}")
    size = size or TinySize()
    out.mkdir(parents=True, exist_ok=True)
    learn = package_texts() if texts is None else texts
    tokenizer = train_tokenizer(learn, size.vocab, phrases)
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    config = _model_config(family, size, ids, tokenizer.get_vocab_size())
    _write(out / "config.json", config)
    _save_weights(out, seed)
    # Saving weights rewrites the configs in the form of the installed transformers; ours are the
    # published form, which older and newer versions and vLLM all read.
    _write(out / "config.json", config)
    _write(out / "generation_config.json", _generation_config(ids))
    _write(out / "preprocessor_config.json", _image_config(family, size))
    _write(out / "tokenizer_config.json", _tokenizer_config(size))
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return out


def package_texts() -> Iterator[str]:
    """The source of armbench's core, file by file in a fixed order.

    It holds the words that judges read and write: prompts, tool names, docstrings.
    """
    root = resources.files("armbench")
    for folder in (root, root / "tools"):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".py"):
                yield file.read_text(encoding="utf-8")


def train_tokenizer(texts: Iterable[str], vocab: int, phrases: Iterable[str] = ()) -> Any:
    """Train a byte-level BPE with the Qwen control tokens at the end of its ids.

    Args:
        texts: What to learn from.
        vocab: Tokens at most, all but `phrases` included.
        phrases: Texts that become a single token each. A small model reads hundreds of tokens
            of fixed instructions at each request; as a few tokens of their own they cost
            nothing, and the text stays what every other judge is shown.

    Returns:
        A `tokenizers.Tokenizer`.

    Raises:
        ConfigError: If `vocab` cannot hold the bytes and the control tokens, or
            the package ``tokenizers`` is missing.
    """
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, trainers
        from tokenizers import normalizers as norm
        from tokenizers import pre_tokenizers as pre
    except ImportError as error:
        raise ConfigError(f"{error}; install armbench[hf]") from error
    words = vocab - len(SPECIAL) - len(MARKS)
    if words < 256:
        raise ConfigError(f"a vocabulary of {vocab} tokens is too small; take 300 or more")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = norm.NFC()
    tokenizer.pre_tokenizer = pre.Sequence(
        [
            pre.Split(Regex(_SPLIT), behavior="isolated"),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    plain = [*MARKS, *phrases]
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in plain])
    return tokenizer


def _text_config(size: TinySize, ids: dict[str, int], vocab: int) -> dict[str, Any]:
    return {
        "vocab_size": vocab,
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": size.context,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "dtype": "float32",
    }


def _model_config(
    family: Family, size: TinySize, ids: dict[str, int], vocab: int
) -> dict[str, Any]:
    # Time, height, width: half a head together, in the proportions of the published models.
    part = size.head_dim // 16
    mrope = {"mrope_section": [2 * part, 3 * part, 3 * part], "rope_type": "default"}
    text = _text_config(size, ids, vocab)
    vision: dict[str, Any] = {
        "model_type": family,
        "depth": size.vision_layers,
        "hidden_size": size.vision_hidden,
        "intermediate_size": 2 * size.vision_hidden,
        "num_heads": 2,
        "in_channels": 3,
        "out_hidden_size": size.hidden,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    shared = {
        "model_type": family,
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }
    if family == "qwen2_5_vl":
        last = size.vision_layers - 1
        vision |= {"patch_size": 14, "window_size": 112, "hidden_act": "silu"}
        vision |= {"tokens_per_second": 2, "fullatt_block_indexes": [last]}
        text["rope_scaling"] = {**mrope, "type": "mrope"}
        kind = "Qwen2_5_VLForConditionalGeneration"
        return {"architectures": [kind], **text, **shared, "vision_config": vision}
    vision |= {"patch_size": 16, "hidden_act": "gelu_pytorch_tanh"}
    vision |= {"num_position_embeddings": 256, "deepstack_visual_indexes": [0]}
    text |= {"model_type": "qwen3_vl_text", "head_dim": size.head_dim}
    text["rope_scaling"] = {**mrope, "mrope_interleaved": True}
    kind = "Qwen3VLForConditionalGeneration"
    return {"architectures": [kind], **shared, "text_config": text, "vision_config": vision}


def _image_config(family: Family, size: TinySize) -> dict[str, Any]:
    patch = 14 if family == "qwen2_5_vl" else 16
    area = (2 * patch) ** 2
    low, high = size.min_image_tokens * area, size.max_image_tokens * area
    clip = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    mean, std = clip if family == "qwen2_5_vl" else ([0.5] * 3, [0.5] * 3)
    processor = "Qwen2_5_VLProcessor" if family == "qwen2_5_vl" else "Qwen3VLProcessor"
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": processor,
        "size": {"shortest_edge": low, "longest_edge": high},
        "min_pixels": low,
        "max_pixels": high,
        "patch_size": patch,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": mean,
        "image_std": std,
    }


def _tokenizer_config(size: TinySize) -> dict[str, Any]:
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": size.context,
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": list(SPECIAL[1:]),
    }


def _generation_config(ids: dict[str, int]) -> dict[str, Any]:
    return {
        "bos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "do_sample": False,
    }


def _save_weights(out: Path, seed: int) -> None:
    try:
        import torch
        from transformers import AutoConfig, AutoModelForImageTextToText
    except ImportError as error:
        raise ConfigError(f"{error}; install armbench[hf]") from error
    config = AutoConfig.from_pretrained(out, local_files_only=True)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                continue  # norms stay 1 and biases 0
            # Seeded by name: neither the order of layers nor the library's own draws matter.
            generator = torch.Generator().manual_seed(derive_seed(seed, name))
            # 1/sqrt(fan-in) in place of the library's 0.02, at which so small a vision tower
            # hardly learns.
            weight.normal_(0.0, weight[0].numel() ** -0.5, generator=generator)
    model.save_pretrained(out)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Command line: build a checkpoint and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m armbench.models.tiny", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--family", choices=get_args(Family), default="qwen2_5_vl")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    out = build_tiny(args.out, family=args.family, seed=args.seed)
    weights = (out / "model.safetensors").stat().st_size / 4e6
    print(f"{args.family} with {weights:.1f} million weights in {out}")


if __name__ == "__main__":
    main()
