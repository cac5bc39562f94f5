"""Start checkpoints: what learns, what is frozen, and what cannot be used, in a clear line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from armbench.errors import ConfigError
from armbench.training.recipe import Lora

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from armbench.training.weights import (  # noqa: E402
    fingerprint,
    load_start,
    part_of,
    prepare,
    save_checkpoint,
    save_weights,
    start_of,
)


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("model.safetensors", "is missing weights"),
        ("preprocessor_config.json", "is missing an image processor"),
        ("tokenizer.json", "is missing a tokenizer"),
        ("chat_template.jinja", "has no chat template"),
    ],
)
def test_a_missing_file_is_named(copy: Path, file: str, message: str) -> None:
    (copy / file).unlink()
    with pytest.raises(ConfigError, match=message):
        load_start(str(copy))


def test_a_template_that_hides_tool_results_is_refused(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text(
        "{% for m in messages if m.role != 'tool' %}{{ m.content[0].text }}{% endfor %}"
    )
    with pytest.raises(ConfigError, match="does not show messages of role 'tool'"):
        load_start(str(copy))
    load_start(str(copy), tool_role="user")


def test_a_start_is_a_folder_from_the_recipes_own_or_a_name_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    assert start_of("start", tmp_path) == str(tmp_path / "start")
    assert start_of("Qwen/Qwen2.5-VL-7B-Instruct", tmp_path) == "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.blocks.0.attn.qkv.weight", "vision"),
        ("visual.patch_embed.proj.weight", "vision"),
        ("model.visual.merger.mlp.0.weight", "projector"),
        ("model.visual.deepstack_merger_list.0.norm.weight", "projector"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "language"),
        ("lm_head.weight", "language"),
    ],
)
def test_parts_are_told_by_name(name: str, part: str) -> None:
    assert part_of(name) == part


def test_what_learns_is_float32_and_the_rest_as_loaded(checkpoint: Path) -> None:
    model, _ = load_start(str(checkpoint), dtype="bfloat16")
    prepare(model, ["vision"], None)
    for name, weight in model.named_parameters():
        frozen = part_of(name) == "vision"
        assert weight.requires_grad != frozen
        assert weight.dtype == (torch.bfloat16 if frozen else torch.float32)


def test_adapters_lie_on_every_linear_layer_of_the_language_model(checkpoint: Path) -> None:
    pytest.importorskip("peft")
    model, _ = load_start(str(checkpoint))
    wrapped = prepare(model, ["vision", "projector"], Lora(rank=2))
    learns = {name for name, weight in wrapped.named_parameters() if weight.requires_grad}
    assert len(learns) == 2 * 7 * 2, "two matrices at each of seven layers of two blocks"
    assert not any("visual" in name or "lm_head" in name for name in learns)
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        prepare(load_start(str(checkpoint))[0], ["language"], Lora())


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ConfigError, match="Linear has no vision tower"):
        prepare(torch.nn.Linear(2, 2), [], None)


def test_a_saved_checkpoint_is_the_same_one(checkpoint: Path, tmp_path: Path) -> None:
    model, _ = load_start(str(checkpoint))
    save_checkpoint(model, str(checkpoint), tmp_path, dtype="float32", record={"kind": "copy"})
    again, _ = load_start(str(tmp_path))
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert (tmp_path / "training.json").read_text() == '{\n "kind": "copy"\n}\n'


def test_adapters_are_merged_in_what_is_saved_and_not_in_the_model(
    checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    model = prepare(load_start(str(checkpoint))[0], ["vision", "projector"], Lora(rank=2))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:  # zeros at the start
                weight.normal_()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    save_weights(model, tmp_path, dtype="float32")
    for name, weight in model.state_dict().items():
        assert torch.equal(before[name], weight), name
    shutil.copytree(
        checkpoint, tmp_path, dirs_exist_ok=True, ignore=lambda *_: ["model.safetensors"]
    )
    saved = load_start(str(tmp_path))[0].state_dict()
    merged = model.merge_and_unload().state_dict()
    assert saved.keys() == merged.keys()
    for name, weight in merged.items():
        assert torch.equal(saved[name], weight), name


def test_a_fingerprint_changes_with_the_weights(copy: Path, checkpoint: Path) -> None:
    model, _ = load_start(str(copy))
    assert fingerprint(str(copy), model) == fingerprint(str(checkpoint), model)
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    assert fingerprint(str(copy), model) != fingerprint(str(checkpoint), model)
