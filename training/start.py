"""What the tiny judge starts from: its data, demonstrations, tokenizer and random weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from armbench.errors import ConfigError
from armbench.evaluate import evaluate, read_records
from armbench.images import ImageStore
from armbench.judge import Judge
from armbench.models.tiny import TinySize, build_tiny
from armbench.prompt import answer_title, heading
from armbench.runlog import RunDir
from armbench.runsetup import RunOptions
from armbench.task import Task, load_task
from armbench.training.recipe import Recipe
from armbench.training.teacher import QUESTION, Teacher
from armbench.trajectory import ModelEvent, ToolEvent
from armbench.types import Sample, TextPart

__all__ = ["TASKS", "check_apart", "demonstrate", "make_data", "make_start"]

TASKS = ("armbench_mini_fine_grained", "armbench_mini_long_document", "armbench_mini_instruction")
"""The tracks of the bundled benchmark."""

SIZE = TinySize(
    vocab=3072,
    layers=6,
    heads=4,
    kv_heads=4,
    head_dim=32,
    mlp=256,
    max_image_tokens=64,
    context=4096,
)
"""Three million weights. Six layers learn to copy in fewer steps than four, and to look a row up;
wider ones learn less in the same minutes. Many small heads copy better than few large ones."""

_PER_IMAGE = (10,)
"""Questions per training picture: pictures cost more than questions."""
_CORPUS = 1500
"""Episodes that the tokenizer learns its words from."""
_LONG = 24
"""Characters from which a line of the system prompt becomes a token of its own."""
_FRAMES = (
    "\n=== end ===",
    "Pictures (name, index, size in pixels): original_image (0: ",
    QUESTION,
    "=== Instructions the answer has to keep ===",
    *(f"\n{n + 1}. " for n in range(6)),
    *(heading(answer_title(n, many, f"text_{n}")) for many in (1, 4) for n in range(many)),
)
"""Lines of the user message that every item has."""


_FIGURES = (
    *map(str, (*range(1000), *range(1950, 2000))),
    *(f",{n:03}" for n in range(1000)),
    *(f".{n}" for n in range(10)),
    *(f"{n:03}" for n in range(100)),
)
"""Figures, or their parts from the comma or the point; and numbers of reports."""


def _answers() -> list[str]:
    """What becomes a token of its own because questions turn on it: figures, names, details.

    In pieces they are hard to copy: a model this small finds its place in a text by one token
    before, and the pieces are few. Without a space, for they are to be the same wherever they are.
    """
    from armbench.tasks.mini.lore import FIRST, last_names, site_names
    from armbench.tasks.mini.scenes import details

    return [*_FIGURES, *FIRST, *last_names(), *site_names(), *details()]


def make_data(out: Path, seed: int, per_track: int) -> Path:
    """Make training items by the bundled benchmark's generator.

    Args:
        out: Folder to write, unless it is there already.
        seed: Not that of the evaluation set.
        per_track: Items of each track.

    Raises:
        ConfigError: If the seed is the evaluation set's, or an item or file occurs in it.
    """
    from armbench.tasks.mini import EVAL_SEED
    from armbench.tasks.mini.build import MANIFEST, build

    if seed == EVAL_SEED:
        raise ConfigError(f"seed {seed} is that of the evaluation set; take another")
    if not (out / MANIFEST).is_file():
        build(out, seed, per_track, per_image=_PER_IMAGE)
    check_apart(out)
    return out


def check_apart(folder: Path) -> None:
    """Check that no item, picture or document of a folder is one of the evaluation set's.

    Raises:
        ConfigError: If one is, by content.
    """
    import armbench.tasks.mini as mini

    shared = _contents(folder) & _contents(Path(mini.__file__).parent / "data")
    if shared:
        raise ConfigError(
            f"{folder} shares {len(shared)} items or files with the evaluation set, "
            f"e.g. {min(shared)}; make the data with another seed"
        )


def _contents(folder: Path) -> set[str]:
    """Hashes of pictures and documents by what they show, and each item's wording."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    files = {
        str(entry.get("pixels") or entry.get("content"))
        for name, entry in manifest["files"].items()
        if not name.endswith(".jsonl")
    }
    items = set()
    for name in manifest["files"]:
        if name.endswith(".jsonl"):
            for line in (folder / name).read_text("utf-8").splitlines():
                row = json.loads(line)
                # Questions name places; what makes an item is the picture that it is about.
                pictures = [manifest["files"][image]["pixels"] for image in row["images"]]
                items.add(json.dumps([row["question"], sorted(row["preds"]), pictures]))
    return files | items


def demonstrate(
    data: Path, out: Path, recipe: Recipe, direct: float, items: Mapping[str, int]
) -> list[Path]:
    """Let the teacher play items; returns the run directories, one for each task.

    Args:
        data: The items.
        out: Folder for the runs.
        recipe: For the settings of the loop.
        direct: Share of the episodes without a call; with 1 no tools are offered.
        items: How many items of each task.
    """
    # One order is enough: the place of the right answer is drawn for each item.
    specs = [load_task(name).spec.model_copy(update={"orders": "one"}) for name in TASKS]
    tasks = [Task(spec, str(data)) for spec in specs]
    # Who is never to call a tool is not told of any: under a prompt that lists tools,
    # a student would learn from these not to use them.
    offered = () if direct >= 1 else None
    judge = Judge("teacher", {"direct": direct}, dict(recipe.loop), offered)
    teacher = Teacher(_samples(tasks), direct)
    return [
        evaluate(
            [task],
            judge,
            RunOptions(out=out, seed=recipe.seed, limit=items[task.name], resume=True),
            backend=teacher,
        ).path
        for task in tasks
    ]


def _samples(tasks: Iterable[Task]) -> dict[str, Sample]:
    store = ImageStore()
    rows = (row for task in tasks for row in task.rows(store))
    return {row.id: row for row in rows if isinstance(row, Sample)}


def make_start(runs: Sequence[Path], out: Path, seed: int) -> Path:
    """Write the checkpoint of random weights, with a tokenizer learnt from demonstrations."""
    corpus: list[str] = []
    lines: set[str] = set()
    source = Random(seed)
    records = [record for run in runs for record in read_records(RunDir(run))]
    chosen = set(source.sample(range(len(records)), min(_CORPUS, len(records))))
    for number, record in enumerate(records):
        t = record.trajectory
        lines.update(
            line
            for message in t.messages
            if message.role == "system"
            for line in message.text.split("\n")
            if len(line) >= _LONG and "<answer>" not in line  # verdicts differ by a word only
        )
        if number in chosen:
            corpus += [message.text for message in t.messages if message.role == "user"]
            corpus += [text for event in t.events for text in _words(event)]
    phrases = [*sorted(lines), *_FRAMES, *_answers()]
    build_tiny(out, seed=seed, size=SIZE, texts=corpus, phrases=phrases)
    _ready_to_copy(out)
    return out


_BACK = 3
"""Heads of the first layer that start looking back: 1 word, 2 words, 3 words."""
_SHARPNESS = 5.7
"""Length of a pair of numbers of their biases: nearly all attention goes to that word."""


def _ready_to_copy(folder: Path) -> None:
    """Weights from which finding the words that followed the same ones is learnt in minutes.

    Layers start by adding nothing (Goyal et al. 2017, arXiv 1706.02677, section 5.1, do it for
    residual networks). Queries and keys of the first heads are one constant each, turned
    against each other so that rotary positions make them agree at one distance.
    """
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    weights = load_file(file)
    for name in weights:
        if name.endswith(("o_proj.weight", "mlp.down_proj.weight")) and "visual" not in name:
            weights[name].zero_()
    theta = json.loads((folder / "config.json").read_text("utf-8"))["rope_theta"]
    half = SIZE.head_dim // 2
    turn = theta ** -(torch.arange(half) / half)
    for head in range(_BACK):
        angle, at = -(head + 1) * turn, slice(head * SIZE.head_dim, (head + 1) * SIZE.head_dim)
        for part, values in (
            ("q", torch.cat([angle.cos(), angle.sin()])),
            ("k", torch.cat([torch.ones(half), torch.zeros(half)])),
        ):
            weights[f"model.layers.0.self_attn.{part}_proj.bias"][at] = _SHARPNESS * values
    save_file(weights, file, metadata={"format": "pt"})


def _words(event: Any) -> Iterator[str]:
    if isinstance(event, ModelEvent):
        yield event.reply.text
    elif isinstance(event, ToolEvent):
        yield from (part.text for part in event.result.parts if isinstance(part, TextPart))
