"""Output folders of VLMEvalKit: what ``python -m vlmeval --work-dir DIR`` left.

VLMEvalKit writes, for each model, a folder with ``status.json`` (older ones without) and tables
``MODEL_DATASET.xlsx`` of predictions and ``MODEL_DATASET_….xlsx`` with a score for each row, as
``xlsx``, ``tsv`` or ``json``. Only tables whose scores are all 0 or 1 say which rows are right.
Its pickles are never opened: reading one can run code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armbench.errors import ConfigError, DataError
from armbench.progress import SlowProgress
from armbench.report import Episode
from armbench.results.runs import RunTable
from armbench.trajectory import CountedAs

if TYPE_CHECKING:
    import pandas as pd

_STATUS = "status.json"
_TABLES = (".xlsx", ".tsv", ".json")
_SCORES = ("hit", "score", "correct")
"""Names of the column that says whether a row is right, by precedence."""
_RIGHT = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_FAILED = "Failed to obtain answer"
"""How a prediction starts that VLMEvalKit could not get (``INFER_FAIL_MSG`` there)."""
_RUN_NAME = re.compile(r"T\d{8}[-_]")
"""Folders of single runs inside a model's folder."""


@dataclass(frozen=True)
class _Folder:
    """What one model left."""

    path: Path
    model: str
    datasets: dict[str, dict[str, Any]]
    """What ``status.json`` says of each; empty sayings where there is none."""


def prediction_folders(path: Path) -> list[Path]:
    """The folders of single models that `path` is or holds, up to two levels down."""
    if not path.is_dir():
        return []
    below = [p for p in sorted(path.iterdir()) if p.is_dir()]
    found: list[Path] = []
    for folder in [path, *below, *(p for b in below for p in sorted(b.iterdir()) if p.is_dir())]:
        # A run's folder inside a model's: the model's holds links to the newest.
        if folder.parent not in found and _folder(folder).datasets:
            found.append(folder)
    return found


def load_vlmeval(path: Path) -> RunTable:
    """Read what VLMEvalKit left of one model.

    Args:
        path: The model's folder, or one that holds exactly one such.

    Raises:
        ConfigError: If it holds none or several, a file is broken, a package that reads it is
            missing, or no table says which rows are right.
    """
    folders = prediction_folders(path)
    if not folders:
        raise ConfigError(f"{path} holds no output of VLMEvalKit")
    if len(folders) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in folders)
        raise ConfigError(f"{path} holds several models of VLMEvalKit; name one of: {names}")
    folder = _folder(folders[0])
    episodes: list[Episode] = []
    notes: list[str] = []
    say = SlowProgress(f"reading {path.name}")
    for number, dataset in enumerate(sorted(folder.datasets), 1):
        say(number, len(folder.datasets), dataset)
        try:
            found = list(_episodes(folder, dataset))
        except DataError as error:
            notes.append(f"{dataset} left out: {error}")
            continue
        episodes += found
        reader = folder.datasets[dataset].get("judge_model")
        notes += [f"{dataset}: answers were read with the help of {reader}"] if reader else []
    if not episodes:
        raise ConfigError(f"{path} holds no scored episode of VLMEvalKit: {'; '.join(notes)}")
    notes.append(
        "VLMEvalKit keeps no order of candidates, calls, tokens or seconds, counts a verdict that "
        "could not be read as wrong, and does not tell which rows share a picture: intervals take "
        "rows as independent"
    )
    return RunTable(
        path=path,
        source="VLMEvalKit",
        judge=folder.model,
        episodes=tuple(episodes),
        config={"judge": {"backend": "VLMEvalKit"}},
        notes=tuple(notes),
        unscored_kinds=("infrastructure",),
    )


def _folder(path: Path) -> _Folder:
    try:
        status = json.loads((path / _STATUS).read_text("utf-8"))
    except (OSError, ValueError):  # none, or that of another program: names must do
        status = None
    if isinstance(status, dict) and isinstance(status.get("datasets"), dict):
        said = {name: v if isinstance(v, dict) else {} for name, v in status["datasets"].items()}
        return _Folder(path, str(status.get("model_name") or path.name), said)
    model = path.parent.name if _RUN_NAME.match(path.name) else path.name
    stems = sorted(p.stem for p in path.glob(f"{_plain(model)}_*") if p.suffix in _TABLES)
    # A table of predictions, and others whose names go on from its own.
    first = [s for s in stems if not any(s.startswith(f"{other}_") for other in stems)]
    return _Folder(path, model, {stem.removeprefix(f"{model}_"): {} for stem in first})


def _plain(name: str) -> str:
    """A name in which no character is a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _episodes(folder: _Folder, dataset: str) -> Iterator[Episode]:
    """The rows of a data set.

    Raises:
        DataError: If the folder does not say which of them are right.
    """
    table, column = _scored(folder, dataset)
    for index, value, prediction, category in zip(
        _cells(table, "index"),
        _cells(table, column),
        _cells(table, "prediction"),
        _cells(table, "category"),
        strict=True,
    ):
        counted: CountedAs = "correct" if _RIGHT[value.lower()] else "wrong"
        name = f"{dataset}/{index}"
        yield Episode(
            model=folder.model,
            task=dataset,
            sample_id=index,
            item=name,
            cluster=name,
            format="-",
            category=category or "-",
            repeat=0,
            order=(),
            counted_as="infrastructure" if prediction.startswith(_FAILED) else counted,
            labelled=True,
        )


def _scored(folder: _Folder, dataset: str) -> tuple[pd.DataFrame, str]:
    """The table that says which rows are right, and the column that does."""
    start = f"{folder.model}_{dataset}"
    longer = [f"{folder.model}_{d}" for d in folder.datasets if d.startswith(f"{dataset}_")]
    files = [
        file
        for file in sorted(folder.path.iterdir())
        if file.suffix in _TABLES
        and (file.stem == start or file.stem.startswith(f"{start}_"))
        and not any(file.stem == o or file.stem.startswith(f"{o}_") for o in longer)
    ]
    judge = folder.datasets[dataset].get("judge_model")
    mine = [file for file in files if judge and f"_{judge}" in file.stem.removeprefix(start)]
    found = []
    for file in mine or files:
        table = _read(file)
        columns = [name for name in _SCORES if name in table]
        if columns and "index" in table:
            found.append((file, table, columns[0]))
    if not found:
        raise DataError("no table has a score for each row; was it evaluated?")
    if len(found) > 1:
        raise DataError(f"several tables have scores: {', '.join(f.name for f, _, _ in found)}")
    _, table, column = found[0]
    if table["index"].duplicated().any():
        raise DataError("rows have the same index")
    odd = sorted({value for value in _cells(table, column) if value.lower() not in _RIGHT})
    if odd:
        values = ", ".join(repr(value) for value in odd[:3])
        raise DataError(f"scores are not all 0 or 1 ({values}), so none is right or wrong")
    return table, column


def _cells(table: pd.DataFrame, column: str) -> list[str]:
    """A column as text; empty texts if there is none."""
    return [str(v) for v in table[column]] if column in table else [""] * len(table)


def _read(file: Path) -> pd.DataFrame:
    """A table with every cell as text.

    Raises:
        ConfigError: If it cannot be read.
    """
    import pandas as pd

    if file.suffix == ".xlsx" and find_spec("openpyxl") is None:
        raise ConfigError(f"reading {file.name} needs openpyxl: pip install 'armbench[results]'")
    try:
        if file.suffix == ".json":
            rows = json.loads(file.read_text("utf-8"))
            listed = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
            table: pd.DataFrame = pd.DataFrame(rows if listed else []).astype(str)
        elif file.suffix == ".tsv":
            table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
        else:
            table = pd.read_excel(file, dtype=str, keep_default_na=False)
    # Broken archives and tables: the readers below pandas raise errors of many unrelated kinds.
    except Exception as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    return table
