"""What came out of `reproduce`: figures of every judge, curves, the checkpoint to ship.

::

    OUT/
        checkpoint/    bfloat16 weights, judge.json (settings of the loop), training.json; its card
                       README.md with the three below
        figures.json   accuracy and conduct of every judge, hashes of data and weights
        curves.png     both stages of reinforcement learning
        table.md       the figures as a table
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from armbench.evaluate import read_records
from armbench.runlog import RunDir, read_json, versions, write_json
from armbench.training.books import Row, read_metrics
from armbench.training.curves import Panel, draw_curves
from armbench.training.filters import well_formed
from armbench.training.recipe import Recipe, Rewards
from armbench.training.rewards import deed
from armbench.types import digest

__all__ = ["FIGURES", "card", "differences", "figures", "pack", "stage_curves", "table"]

FIGURES = "figures.json"
JUDGE = "judge.json"
"""Settings of the loop that a checkpoint is judged with, beside its weights."""

_TRACKS = {
    "armbench_mini_fine_grained": "fine-grained",
    "armbench_mini_long_document": "document",
    "armbench_mini_instruction": "instruction",
}
_PANELS = (
    Panel("reward", {"reward": "reward"}),
    Panel("accuracy", {"accuracy": "accuracy"}, (0.0, 1.0)),
    Panel("tool calls of an episode", {"calls": "calls"}),
    Panel("share of episodes", {"format": "format", "tool success": "tool_success"}, (0.0, 1.0)),
)


def pack(source: Path, out: Path, recipe: Recipe) -> Path:
    """Write a checkpoint as it ships: bfloat16, with the settings of the loop it is judged with."""
    from armbench.training.weights import RECORD, load_start, save_checkpoint

    model, _ = load_start(str(source))
    # The recipe as it was given: a run's own names the folders of the machine it ran on.
    record = {**read_json(source / RECORD), "recipe": recipe.model_dump(mode="json")}
    save_checkpoint(model, str(source), out, dtype="bfloat16", record=record)
    write_json(out / JUDGE, {"loop": dict(recipe.loop)})
    return out


def figures(out: Path, recipe: Recipe) -> dict[str, Any]:
    """The figures of every judge under `out`, and what they depend on."""
    from armbench.results.leaderboard import MACRO, boards
    from armbench.results.rows import read

    runs, _ = read([out / "runs"])
    rows = {row.label: row for board in boards(runs) for row in board.rows}
    judges = {}
    for label, row in sorted(rows.items()):
        cells = {_TRACKS[task]: cell for task, cell in row.cells.items() if task != MACRO}
        judges[label] = {
            "accuracy": {
                name: _rounded(cell.accuracy, cell.low, cell.high)
                for name, cell in [*cells.items(), ("macro", row.cells[MACRO])]
            },
            **_conduct(row.run.path),
        }
    made = {
        "recipe": digest(recipe.model_dump_json()),
        "seed": recipe.seed,
        "data": {name: _hash(out / name / "manifest.json") for name in ("data", "practice")},
        "weights": _hash(out / "checkpoint" / "model.safetensors"),
        "minutes": read_json(out / "minutes.json"),
        "versions": versions(),
        "judges": judges,
    }
    write_json(out / FIGURES, made)
    return made


def _rounded(*values: float | None) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _conduct(run: Path) -> dict[str, Any]:
    """Calls of an episode, and shares of episodes: a call brought its item's evidence; form."""
    values = Rewards(evidence=True)
    done, formed = [], []
    for record in read_records(RunDir(run)):
        done.append(deed(record.trajectory, record.sample, values))
        formed.append(well_formed(record.trajectory.last_text))
    called = [one for one in done if one.calls]
    return {
        "episodes": len(done),
        "calls": round(sum(one.calls for one in done) / len(done), 3),
        "tool success": round(sum(one.helped for one in called) / len(called), 3)
        if called
        else None,
        "format": round(sum(formed) / len(formed), 3),
    }


def table(made: dict[str, Any], order: Sequence[str]) -> str:
    """The figures as a Markdown table, judges in the order given."""
    tracks = [*_TRACKS.values(), "macro"]
    head = ["judge", *tracks, "calls/episode", "tool success", "format"]
    lines = [head, ["---"] * len(head)]
    for name in order:
        if name not in made["judges"]:
            continue
        judge = made["judges"][name]
        cells = [_cell(judge["accuracy"][track]) for track in tracks]
        lines.append([name, *cells, *map(_figure, map(judge.get, _CONDUCT))])
    note = (
        "Accuracy with its 95% interval; unscored episodes count as wrong. Tool success: share of "
        "the episodes with a call in which calls brought the evidence that the item names. "
        "Format: share of the episodes whose last turn is one thought and one answer."
    )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{note}\n"


_CONDUCT = ("calls", "tool success", "format")


def _cell(values: Sequence[float | None]) -> str:
    accuracy, low, high = values
    return "n/a" if accuracy is None else f"{accuracy:.3f} [{low:.3f}, {high:.3f}]"


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


_CARD = """\
# tiny: the judge that comes with armbench

A Qwen2.5-VL of {weights:.2f} million weights that judges items of `armbench_mini` and no others:
it knows the words, pictures and documents of that generator only. It is here so that every line
of the harness can be seen at work without a download or a GPU, and so that a training recipe can
be checked from its first byte to its last figure. Do not score answers of your own with it.

Made from random weights by `armbench train reproduce {recipe}`: a tokenizer learnt from the
demonstrations, text to repeat from easy to hard, lessons that call tools (but judge
pictures that have to be searched without), demonstrations that call them in part, then GRPO in
two stages: reward for attempts, then for accuracy and success.
`armbench train reproduce {recipe} --check` makes it again and compares.

{table}
![Reward, accuracy, calls and shares over both stages](curves.png)

| | |
|---|---|
| architecture | Qwen2.5-VL, random start, bfloat16, {bytes:.1f} MB |
| training items | the bundled generator's, from other seeds than the evaluation set |
| loop | {loop} |
| seed | {seed} |
| minutes on one core (of a step that was gone on with, its last go) | {minutes} |
| recipe (SHA-256) | `{digest}` |
| items of the demonstrations (SHA-256) | `{data}` |
| items of the roll-outs (SHA-256) | `{practice}` |
| weights (SHA-256) | `{hash}` |
| versions | {versions} |
"""


def card(out: Path, recipe: Recipe, made: dict[str, Any], text: str) -> None:
    """Write the model card and what it shows beside the checkpoint of `out`.

    Args:
        out: Folder of `reproduce`.
        recipe: What made it.
        made: The figures.
        text: The table.
    """
    folder = out / "checkpoint"
    weights = folder / "model.safetensors"
    for name in (FIGURES, "curves.png"):
        if (out / name).exists():
            shutil.copyfile(out / name, folder / name)
    steps = {k: v for k, v in made["minutes"].items() if not k.startswith("judging")}
    (folder / "README.md").write_text(
        _CARD.format(
            recipe=recipe.name,
            table=text,
            weights=weights.stat().st_size / 2e6,  # two bytes each
            bytes=weights.stat().st_size / 1e6,
            loop=", ".join(f"{k} {v}" for k, v in recipe.loop.items()),
            seed=recipe.seed,
            minutes=", ".join(f"{k} {v:.1f}" for k, v in steps.items()),
            digest=made["recipe"],
            data=made["data"]["data"],
            practice=made["data"]["practice"],
            hash=made["weights"],
            versions=", ".join(f"{k} {v}" for k, v in made["versions"].items()),
        ),
        "utf-8",
    )


def stage_curves(out: Path, stages: Sequence[str]) -> bytes | None:
    """Curves of stages that follow each other, as one picture; None without their metrics."""
    rows: list[Row] = []
    for stage in stages:
        done = max((int(row["step"]) for row in rows), default=0)
        file = out / stage / "metrics.jsonl"
        if file.exists():
            rows += [{**row, "step": row["step"] + done} for row in read_metrics(file)]
    return draw_curves(rows, _PANELS, "GRPO, " + ", then ".join(stages)) if rows else None


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What a run made otherwise than another one of the same recipe; nothing if it is the same.

    Weights may differ where processors round otherwise; what then has to agree is the table:
    each accuracy within the other's interval.
    """
    for key in ("recipe", "seed", "data", "weights"):
        if old[key] != new[key]:
            yield f"{key}: {old[key]} before, {new[key]} now"
    for name, judge in old["judges"].items():
        again = new["judges"].get(name)
        if again is None:
            yield f"{name} was not judged"
            continue
        for track, (accuracy, low, high) in judge["accuracy"].items():
            now = again["accuracy"][track][0]
            if now != accuracy:
                where = "within" if low <= now <= high else "OUTSIDE"
                yield f"{name}, {track}: {accuracy} before, {now} now, {where} its interval"
