"""Runs as data of other trainers: the forms they read, and what their own loaders make of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.cli import main
from armbench.episode import LoopConfig
from armbench.errors import ConfigError, ImageError
from armbench.images import fit_pixels
from armbench.models.hf_load import load_processor
from armbench.training.encode import IGNORE, encode
from armbench.training.exports import TARGETS, export
from armbench.training.recipe import Filters
from armbench.training.sharegpt import read_sharegpt
from armbench.types import Sample
from tests.training.exporting import LOOP, TOOLS, make_run

parquet = pytest.importorskip("pyarrow.parquet")

EVERYTHING = Filters(format=False, accuracy=False, tools=False)


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path / "train.parquet").to_pylist()
    return rows


# --- LLaMA-Factory


def test_llamafactory_gets_turns_that_alternate(tmp_path: Path):
    run, _ = make_run(tmp_path)
    made = export(run.path, "llamafactory", tmp_path / "out")
    assert list(made.lines())[1:] == ["left out: 1 episodes (accuracy)"]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["armbench"]
    assert info["columns"] == {"messages": "conversations", "images": "images"}
    rows = json.loads((tmp_path / "out" / info["file_name"]).read_text())
    assert len(rows) == made.rows == 3
    for row in rows:
        speakers = [turn["from"] for turn in row["conversations"]]
        assert speakers[0] == "system"
        assert {*speakers[1::2]} <= {"human", "observation"}
        assert {*speakers[2::2]} == {"gpt"}
        marks = "".join(turn["value"] for turn in row["conversations"]).count("<image>")
        assert marks == len(row["images"])
        assert all((tmp_path / "out" / path).is_file() for path in row["images"])


def test_the_judges_words_are_those_that_stayed(tmp_path: Path):
    run, _ = make_run(tmp_path)
    export(run.path, "llamafactory", tmp_path / "out")
    rows = {r["id"]: r for r in json.loads((tmp_path / "out" / "train.json").read_text())}
    first = rows["photo"]["conversations"][2]["value"]
    assert first.endswith("</tool_call>")
    assert "lost" not in first
    assert "I see < image> green" in rows["photo"]["conversations"][-1]["value"]
    assert "No tool calls are left" in rows["limit"]["conversations"][-2]["value"]


def test_what_is_written_for_llamafactory_can_be_learnt_from_here(tmp_path: Path):
    from armbench.images import ImageStore

    run, played = make_run(tmp_path)
    export(run.path, "llamafactory", tmp_path / "out")
    again = [row for row in read_sharegpt(tmp_path / "out" / "train.json", ImageStore())]
    texts = [row[0].last_text for row in again if isinstance(row, tuple)]
    assert len(texts) == 3
    assert {t.last_text.replace("<image>", "< image>") for t in played[:2]} <= {*texts}


# --- TRL


def test_trl_gets_messages_with_the_pictures_as_they_were_seen(tmp_path: Path):
    run, played = make_run(tmp_path)
    export(run.path, "trl", tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    [row] = [row for row in rows if "photo" in str(row["messages"][1])]
    assert [m["role"] for m in row["messages"]] == [
        *("system", "user", "assistant", "user", "assistant", "user", "assistant"),
    ]
    parts = [part for message in row["messages"] for part in message["content"]]
    assert [p["type"] for p in parts].count("image") == len(row["images"]) == 2
    result = row["messages"][3]["content"]
    assert (result[0]["text"], result[-1]["text"]) == ("<tool_response>\n", "\n</tool_response>")
    seen = Image.open(io.BytesIO(row["images"][0]["bytes"]))
    assert seen.size == fit_pixels(800, 600, LOOP["max_pixels"])
    kept = [e.reply.text[: e.kept] for e in played[0].events if e.kind == "model"]
    sent = [text.replace("<image>", "< image>") for text in kept]  # as it was sent back
    assert [m["content"][0]["text"] for m in row["messages"][2::2]] == sent


# --- verl


def test_verl_gets_a_row_for_each_item_and_order(tmp_path: Path):
    run, played = make_run(tmp_path)
    made = export(run.path, "verl", tmp_path / "out")
    rows = {json.loads(r["extra_info"]["sample"])["id"]: r for r in rows_of(tmp_path / "out")}
    assert made.rows == len(rows) == 4  # also the item that was judged wrong
    row = rows["photo"]
    assert row["reward_model"] == {"style": "rule", "ground_truth": "2"}  # shown second
    assert (row["data_source"], row["agent_name"]) == ("toy", "armbench")
    system, user = row["prompt"]
    assert "<tools>" not in system["content"]  # verl's template lists them
    assert user["content"].count("<image>") == len(row["images"]) == 1
    assert Image.open(io.BytesIO(row["images"][0]["bytes"])).size == fit_pixels(
        800, 600, LOOP["max_pixels"]
    )
    info = row["extra_info"]
    assert info["tool_selection"] == list(TOOLS)
    assert Sample.model_validate_json(info["sample"]).hash == played[0].sample_hash
    assert LoopConfig.model_validate_json(info["loop"]) == LoopConfig(**LOOP)
    assert [entry["name"] for entry in json.loads(info["tools"])] == list(TOOLS)
    [path] = json.loads(info["images"])
    with Image.open(tmp_path / "out" / path) as whole:
        assert whole.size == (800, 600)  # tools see all of it


def test_tools_of_verl_get_their_item(tmp_path: Path):
    run, _ = make_run(tmp_path)
    export(run.path, "verl", tmp_path / "out")
    [row] = [r for r in rows_of(tmp_path / "out") if "photo" in r["prompt"][1]["content"]]
    kwargs = row["extra_info"]["tools_kwargs"]
    assert set(kwargs) == set(TOOLS)
    item = json.loads(kwargs["image_zoom_in_tool"]["create_kwargs"]["item"])
    assert item["texts"] == {"text_0": "a dog", "text_1": "a cat"}
    assert (tmp_path / "out" / item["images"]["original_image"]).is_file()


def test_documents_of_verl_are_where_the_task_has_them(tmp_path: Path):
    out = tmp_path / "runs"
    task = ["--task", "armbench_mini_long_document", "--limit", "2"]
    assert main(["run", *task, "--model", "rules", "--out", str(out)]) == 0
    [run] = out.iterdir()
    export(run, "verl", tmp_path / "out")
    for row in rows_of(tmp_path / "out"):
        sample = Sample.model_validate_json(row["extra_info"]["sample"])
        folder = Path(row["extra_info"]["documents"])
        assert all((folder / name).exists() for name in sample.documents)


# --- all


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_run_gives_the_same_bytes(tmp_path: Path, target: Any):
    run, _ = make_run(tmp_path)
    written = []
    for name in ("a", "b"):
        export(run.path, target, tmp_path / name)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        written.append([(p.relative_to(tmp_path / name), p.read_bytes()) for p in files])
    assert written[0] == written[1]


def test_the_command_says_what_it_wrote_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, _ = make_run(tmp_path)
    to = ["--to", "trl", "-o", str(tmp_path / "out")]
    assert main(["train", "export", str(run.path), *to]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"3 rows: {tmp_path / 'out' / 'train.parquet'}",
        "left out: 1 episodes (accuracy)",
    ]
    assert main(["train", "export", str(run.path), *to, "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"4 rows: {tmp_path / 'out' / 'train.parquet'}"]


def test_bad_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run, _ = make_run(tmp_path)
    with pytest.raises(ConfigError, match="is no run directory"):
        export(tmp_path, "trl", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write to"):
        export(run.path, "trl", tmp_path / "file" / "out")
    for path in run.images.root.rglob("*.png"):
        path.unlink()
    with pytest.raises(ImageError, match="is not in the image store"):
        export(run.path, "trl", tmp_path / "out")


def test_nothing_to_write_is_an_error(tmp_path: Path):
    run, played = make_run(tmp_path)
    lines = [t.model_copy(update={"dialect": "native"}).model_dump_json() for t in played]
    (run.path / "trajectories.jsonl").write_text("\n".join(lines) + "\n")
    why = "nothing to write; left out: 4 episodes .native calls are not in the text"
    with pytest.raises(ConfigError, match=why):
        export(run.path, "llamafactory", tmp_path / "out", filters=EVERYTHING)


# --- the targets' own loaders, where they are installed


def test_datasets_decodes_the_pictures(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    run, _ = make_run(tmp_path)
    export(run.path, "trl", tmp_path / "out")
    table = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / "train.parquet"),
        cache_dir=str(tmp_path / "cache"),
    )["train"]
    sizes = sorted([image.size for image in row["images"]] for row in table)
    assert sizes[0] == []
    assert sizes[1][0] == fit_pixels(800, 600, LOOP["max_pixels"])


def ours(backend: Any, run: Any, trajectory: Any) -> tuple[list[int], list[int]]:
    encoded = encode(trajectory, backend.processor, run.images, LoopConfig(**LOOP))
    return encoded.inputs["input_ids"][0].tolist(), encoded.labels()[0].tolist()


def test_trls_collator_makes_the_tokens_that_we_make(tmp_path: Path, backend: Any):
    datasets = pytest.importorskip("datasets")
    trainer = pytest.importorskip("trl.trainer.sft_trainer")
    run, played = make_run(tmp_path)
    export(run.path, "trl", tmp_path / "out", filters=EVERYTHING)
    table = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / "train.parquet"),
        cache_dir=str(tmp_path / "cache"),
    )["train"]
    collate = trainer.DataCollatorForVisionLanguageModeling(backend.processor, max_length=None)
    made = [collate([row])["input_ids"][0].tolist() for row in table]
    assert sorted(made) == sorted(ours(backend, run, trajectory)[0] for trajectory in played)


def test_llamafactory_makes_the_tokens_and_labels_that_we_make(
    tmp_path: Path, backend: Any, checkpoint: Path
):
    data = pytest.importorskip("llamafactory.data", exc_type=ImportError)
    hparams = pytest.importorskip("llamafactory.hparams", exc_type=ImportError)
    from transformers import Seq2SeqTrainingArguments

    run, played = make_run(tmp_path)
    export(run.path, "llamafactory", tmp_path / "out", filters=EVERYTHING)
    model_args = hparams.ModelArguments(
        model_name_or_path="tiny", cache_dir=str(tmp_path / "cache")
    )
    processor = load_processor(checkpoint)  # its own: it is changed
    processor.image_max_pixels, processor.image_min_pixels = LOOP["max_pixels"], 32 * 32
    # It asks for one though there are no videos.
    processor.video_processor = processor.video_processor or processor.image_processor
    data_args = hparams.DataArguments(
        template="qwen2_vl",
        dataset="armbench",
        dataset_dir=str(tmp_path / "out"),
        cutoff_len=32768,
        overwrite_cache=True,
    )
    tokenizer = processor.tokenizer
    template = data.get_template_and_fix_tokenizer(tokenizer, data_args)
    args = Seq2SeqTrainingArguments(output_dir=str(tmp_path / "trained"))
    module = data.get_dataset(template, model_args, data_args, args, "sft", tokenizer, processor)
    made = {tuple(row["input_ids"]): row["labels"] for row in module["train_dataset"]}
    assert len(made) == 4
    newline = tokenizer.encode("\n")[-1]
    for trajectory in played[:3]:  # in the last, a note is part of the result before it
        ids, labels = ours(backend, run, trajectory)
        if "<image>" in trajectory.last_text:
            continue  # foreign marks are put apart there
        theirs = made[tuple(ids)]
        # It learns the line break after each turn too.
        assert [
            IGNORE if t == newline and o == IGNORE else t
            for t, o in zip(theirs, labels, strict=True)
        ] == labels
