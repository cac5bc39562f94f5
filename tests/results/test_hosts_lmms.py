"""Result folders of lmms-eval: the same figures as the run directory, or a clear word why not.

That a real lmms-eval writes such folders is tested in tests/models/test_lmms.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from armbench.errors import ConfigError
from armbench.report import Episode
from armbench.results.leaderboard import board
from armbench.results.rows import expand, read
from armbench.results.runs import load
from armbench.results.tables import render
from tests.results.boards import run_dir

_EPISODES = TypeAdapter(list[Episode])
DATE = "20260101_000000"


def folder(
    parent: Path, run: Path, *, date: str = DATE, rows: list[list[Episode]] | None = None
) -> Path:
    """What lmms-eval leaves of the episodes of a run directory: one row for each."""
    table = load(run)
    made = {key: value for key, value in table.config.items() if key != "tasks"}
    parent.mkdir(parents=True, exist_ok=True)
    by_task: dict[str, list[list[Episode]]] = {}
    for row in rows or [[episode] for episode in table.episodes]:
        by_task.setdefault(row[0].task, []).append(row)
    for task, group in by_task.items():
        lines = [
            {
                "doc_id": n,
                "target": "1",
                "filtered_resps": "</answer>\u2028",
                "token_counts": [{"input_tokens": 7, "output_tokens": 3}],
                "accuracy": 1.0,
                "episodes": {
                    "made": made,
                    "episodes": _EPISODES.dump_python(episodes, mode="json"),
                },
            }
            for n, episodes in enumerate(group)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (parent / f"{date}_samples_{task}.jsonl").write_text(text, "utf-8")
    head = {
        "configs": {
            task: {"metadata": {"version": 1, "armbench": table.config["tasks"][task]}}
            for task in by_task
        },
        "n-samples": {task: {"effective": len(group)} for task, group in by_task.items()},
        "config": {"model": "some_model", "model_args": "pretrained=x/y"},
        "model_name": "x/y",
    }
    write_head(parent, head, date)
    return parent


def write_head(parent: Path, head: dict[str, Any], date: str = DATE) -> None:
    (parent / f"{date}_results.json").write_text(json.dumps(head), "utf-8")


def edit_head(parent: Path, **changes: Any) -> None:
    file = parent / f"{DATE}_results.json"
    write_head(parent, {**json.loads(file.read_text("utf-8")), **changes})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_dir(tmp_path / "runs", "judge", "121?")


# --- equal to the run directory -----------------------------------------------------------


def test_every_figure_of_the_row_is_that_of_the_run_directory(tmp_path: Path, run: Path) -> None:
    ours, theirs = load(run), load(folder(tmp_path / "out", run))
    assert theirs.source == "lmms-eval"
    assert theirs.episodes == ours.episodes
    assert (theirs.judge, theirs.policies, theirs.notes) == (ours.judge, ours.policies, ())
    assert theirs.config == ours.config
    tables = [
        render([board([replace(table, path=Path("same"))])], "csv", ()) for table in (ours, theirs)
    ]
    assert tables[0] == tables[1]


def test_the_order_of_the_rows_does_not_matter_nor_do_rows_that_ranks_repeat(
    tmp_path: Path, run: Path
) -> None:
    ours = load(run).episodes
    rows = [[episode] for episode in (*reversed(ours), ours[0])]
    assert load(folder(tmp_path / "out", run, rows=rows)).episodes == ours


def test_repeats_of_a_row_are_episodes_of_their_own(tmp_path: Path, run: Path) -> None:
    first = load(run).episodes[0]
    again = replace(first, repeat=1, counted_as="wrong")
    found = load(folder(tmp_path / "out", run, rows=[[first, again]]))
    assert found.episodes == (first, again)


def test_a_model_of_lmms_eval_gets_its_name_and_tokens_and_no_guesses(
    tmp_path: Path, run: Path
) -> None:
    told = replace(load(run).episodes[0], model="", calls=None, seconds=None, input_tokens=None)
    found = load(folder(tmp_path / "out", run, rows=[[told]]))
    (episode,) = found.episodes
    assert found.judge == episode.model == "x/y"
    assert (episode.input_tokens, episode.output_tokens) == (7, 3)
    assert episode.calls is None
    assert episode.seconds is None
    assert "neither calls nor seconds" in found.notes[0]


# --- found --------------------------------------------------------------------------------


def test_results_may_lie_in_a_folder_named_by_the_model(tmp_path: Path, run: Path) -> None:
    inner = folder(tmp_path / "out" / "model__name", run)
    assert load(tmp_path / "out").episodes == load(run).episodes
    assert load(inner / f"{DATE}_results.json").episodes == load(run).episodes


def test_several_runs_in_a_folder_stand_for_themselves(tmp_path: Path, run: Path) -> None:
    out = folder(folder(tmp_path / "out", run), run, date="20260102_000000")
    with pytest.raises(ConfigError, match="several runs of lmms-eval; name one of: 20260101"):
        load(out)
    found = expand([out])
    assert [path.name[:8] for path in found] == ["20260101", "20260102"]
    assert len(read([out])[0]) == 2


def test_a_folder_of_run_directories_does_not_stand_for_results_beside_them(
    tmp_path: Path, run: Path
) -> None:
    folder(run.parent / "lmms", run)
    assert expand([run.parent]) == [run]


# --- bad input ----------------------------------------------------------------------------


def test_tasks_that_are_not_ours_are_left_out_by_name(tmp_path: Path, run: Path) -> None:
    out = folder(tmp_path / "out", run)
    configs = json.loads((out / f"{DATE}_results.json").read_text("utf-8"))["configs"]
    edit_head(out, configs={**configs, "mme": {"metadata": [{"version": 0}]}})
    assert any("mme left out" in note for note in load(out).notes)
    edit_head(out, configs={"mme": {}})
    with pytest.raises(ConfigError, match="no scored episode of a judge task: mme left out"):
        load(out)


def test_a_torn_last_line_is_told_as_a_row_too_few(tmp_path: Path, run: Path) -> None:
    out = folder(tmp_path / "out", run)
    (log,) = out.glob("*_samples_*")
    log.write_bytes(log.read_bytes()[:-5])
    found = load(out)
    assert len(found.episodes) == 3
    assert found.notes == ("toy: 3 rows in the log, but 4 were judged",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{}", "line 2: episodes: Field required"),
        ("{", "line 2: Invalid JSON"),
        ('{"episodes": {"made": {}, "episodes": [{}]}}', "line 2: .*model: Field required"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, run: Path, line: str, says: str) -> None:
    out = folder(tmp_path / "out", run)
    (log,) = out.glob("*_samples_*")
    lines = log.read_text("utf-8").split("\n")
    log.write_text("\n".join([lines[0], line, *lines[2:]]), "utf-8")
    with pytest.raises(ConfigError, match=says):
        load(out)


def test_results_without_samples_say_which_option_was_missing(tmp_path: Path, run: Path) -> None:
    out = folder(tmp_path / "out", run)
    (log,) = out.glob("*_samples_*")
    log.unlink()
    with pytest.raises(ConfigError, match="--log_samples"):
        load(out)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"configs": 3}'])
def test_a_broken_results_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{DATE}_results.json").write_text(text)
    with pytest.raises(ConfigError, match=f"{DATE}_results.json"):
        load(tmp_path)


def test_a_folder_of_nothing_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run directory"):
        load(tmp_path)
