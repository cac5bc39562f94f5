"""Tables of a run in other programs' forms, and what all exports have in common."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from armbench.cli import main
from armbench.errors import ConfigError
from armbench.images import ImageStore
from armbench.results.export import To, export
from armbench.results.frames import read_frames
from armbench.runlog import RunDir
from tests.helpers import make_sample
from tests.results.viewing import hostile_run, judged, write_run, zoom_episode

KINDS: tuple[To, ...] = ("inspect", "jsonl", "parquet", "csv", "openai")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    store = ImageStore()
    episodes = [
        zoom_episode(store),
        judged(make_sample(id="=1+2", category="a,b\n"), 2),
        judged(make_sample(id="none"), None),
    ]
    return write_run(tmp_path, episodes, store=store)


def same(path: Path, other: Path) -> bool:
    """Whether two files, or all files of two folders, hold the same bytes."""
    if path.is_dir():
        names = sorted(p.name for p in path.iterdir())
        assert names == sorted(p.name for p in other.iterdir())
        return all(same(path / name, other / name) for name in names)
    return path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("table", ["episodes", "events", "calls"])
def test_tables_hold_what_the_frames_hold(run: Path, tmp_path: Path, table: Any) -> None:
    frame = getattr(read_frames(run), table)
    lines, parquet = tmp_path / "t.jsonl", tmp_path / "t.parquet"
    assert export(run, "jsonl", lines, table).rows == len(frame)
    export(run, "parquet", parquet, table)
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), frame)
    rows = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    wanted = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row, want in zip(rows, wanted, strict=True):
        assert row == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in want.items()}


def test_csv_has_no_formula_and_nothing_for_what_is_not_known(run: Path, tmp_path: Path) -> None:
    made = export(run, "csv", tmp_path / "t.csv")
    assert (made.rows, made.unit) == (3, "episodes")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as handle:
        rows = {row["sample_id"]: row for row in csv.DictReader(handle)}
    assert set(rows) == {"'=1+2", "none", "zoomed"}
    assert rows["none"]["verdict"] == ""
    assert (rows["'=1+2"]["verdict"], rows["'=1+2"]["category"]) == ("2", "a,b\\n")


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    quiet = write_run(tmp_path, [judged(make_sample(), 1)])
    assert export(quiet, "csv", tmp_path / "c.csv", "calls").rows == 0
    assert (tmp_path / "c.csv").read_text().startswith("anchor,task,sample_id,counted_as,")
    export(quiet, "jsonl", tmp_path / "c.jsonl", "calls")
    assert (tmp_path / "c.jsonl").read_bytes() == b""


@pytest.mark.parametrize("to", KINDS)
def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path, to: To) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        export(run, to, tmp_path / folder / "out")
    assert same(tmp_path / "a/out", tmp_path / "b/out")


@pytest.mark.parametrize("to", KINDS)
def test_hostile_text_breaks_no_export_and_writes_nowhere_else(tmp_path: Path, to: To) -> None:
    run = hostile_run(tmp_path)
    (tmp_path / "in").mkdir()
    made = export(run, to, tmp_path / "in" / "out")
    assert made.rows == 13
    assert {path.name for path in tmp_path.iterdir()} == {run.name, "in"}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"out"}


@pytest.mark.parametrize("to", KINDS)
def test_an_empty_run_is_refused_and_leaves_nothing(tmp_path: Path, to: To) -> None:
    run = RunDir.create(tmp_path, "empty", {})
    run.close()
    with pytest.raises(ConfigError, match="holds no finished episode yet"):
        export(run.path, to, tmp_path / "out")
    assert not list(tmp_path.glob("out*/*")) + list(tmp_path.glob(".*"))
    assert not (tmp_path / "out").is_file()


@pytest.mark.parametrize("to", KINDS)
def test_what_cannot_be_written_is_said(run: Path, tmp_path: Path, to: To) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot export to .*out: [A-Z]"):
        export(run, to, tmp_path / "file" / "out")


@pytest.mark.parametrize("to", ["inspect", "openai"])
def test_a_run_of_impossible_settings_is_refused(run: Path, tmp_path: Path, to: To) -> None:
    head = json.loads((run / "run.json").read_text())
    head["config"]["judge"]["loop"] = {"max_pixels": "many"}
    (run / "run.json").write_text(json.dumps(head))
    with pytest.raises(ConfigError, match=r"run\.json: toy: max_pixels"):
        export(run, to, tmp_path / "out")


@pytest.mark.parametrize(
    ("to", "module", "extra"),
    [("inspect", "inspect_ai", "inspect"), ("parquet", "pyarrow", "results")],
)
def test_a_missing_package_is_named_with_its_extra(
    run: Path, monkeypatch: Any, to: To, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'armbench\[{extra}\]'"):
        export(run, to)


# --- command line


def test_without_a_name_the_file_is_called_after_the_run(
    run: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), "--to", "csv", "--table", "calls"]) == 0
    assert capsys.readouterr().out == f"3 calls written: {run.name}-calls.csv\n"
    assert (tmp_path / f"{run.name}-calls.csv").is_file()


def test_missing_pictures_are_counted_and_told(run: Path, tmp_path: Path, capsys: Any) -> None:
    kept, lost, *_ = sorted((run / "images").glob("*/*"))
    kept.write_bytes(b"no picture")
    lost.unlink()
    for to in ("openai", "inspect"):
        assert main(["export", str(run), "--to", to, "-o", str(tmp_path / to)]) == 1
        assert "1 picture files are missing, 1 cannot be decoded" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--to", "openai", "--table", "calls"], ["--to", "csv"]])
def test_wrong_use_ends_with_2(
    run: Path, tmp_path: Path, arguments: list[str], capsys: Any
) -> None:
    path = run if "--table" in arguments else tmp_path
    assert main(["export", str(path), *arguments]) == 2
    assert capsys.readouterr().err.startswith("armbench: ")
