"""Output folders of VLMEvalKit, laid out as ms-vlmeval 0.0.20 does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from armbench.errors import ConfigError
from armbench.results.leaderboard import board
from armbench.results.rows import expand
from armbench.results.runs import RunTable, load
from armbench.results.tables import render

REWARD = [
    {"index": n, "category": "c", "answer": "[0, 1]", "prediction": text, "score": score}
    for n, (text, score) in enumerate(
        [("Answer 1", 1.0), ("=1+1", 0.0), ("Failed to obtain answer via API.", 0.0)]
    )
]
CHOICE = [{"index": n, "prediction": "A", "hit": n % 2, "log": "…"} for n in range(4)]
YES = [{"index": n, "prediction": "Yes", "extracted": "Yes", "score": n > 0} for n in range(2)]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """A table as VLMEvalKit writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    if file.suffix == ".xlsx":
        frame.to_excel(file, index=False, engine="openpyxl")
    elif file.suffix == ".tsv":
        frame.to_csv(file, sep="\t", index=False, quoting=1)
    else:
        file.write_text(json.dumps(rows, indent=4, ensure_ascii=False), "utf-8")


def output(parent: Path, form: str = "tsv", model: str = "m1", status: bool = True) -> Path:
    """The folder of a model on three data sets; two judges' tables, aggregates, pickles beside."""
    made = parent / model
    for name, rows, scored in (
        ("VL-RewardBench", REWARD, "_gpt-4o-mini"),
        ("Choice", CHOICE, "_gpt-4o-mini_result"),
        ("YN", YES, "_auxmatch"),
    ):
        plain = [{k: v for k, v in r.items() if k not in ("score", "hit")} for r in rows]
        write(made / f"{model}_{name}.{form}", plain)
        write(made / f"{model}_{name}{scored}.{form}", rows)
        (made / f"{model}_{name}_score.csv").write_text('"Overall"\n"0.5"\n')
        (made / f"{model}_{name}{scored}.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    if status:
        said = {"status": "done", "judge_model": "gpt-4o-mini"}
        names = ("VL-RewardBench", "Choice", "YN")
        write_status(made, {"model_name": model, "datasets": dict.fromkeys(names, said)})
    (made / "T20260101-000000").mkdir()
    return made


def write_status(made: Path, status: dict[str, Any]) -> None:
    (made / "status.json").write_text(json.dumps(status))


def counted(table: RunTable, task: str) -> list[str]:
    return [episode.counted_as for episode in table.episodes if episode.task == task]


# --- read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tsv", "xlsx", "json"])
@pytest.mark.parametrize("status", [True, False])
def test_rows_count_as_vlmevalkit_scored_them(tmp_path: Path, form: str, status: bool) -> None:
    output(tmp_path, form, status=status)
    table = load(tmp_path)
    assert (table.source, table.judge) == ("VLMEvalKit", "m1")
    assert counted(table, "VL-RewardBench") == ["correct", "wrong", "infrastructure"]
    assert counted(table, "Choice") == ["wrong", "correct"] * 2
    assert counted(table, "YN") == ["wrong", "correct"]


def test_what_the_folder_does_not_hold_is_na_and_said(tmp_path: Path) -> None:
    output(tmp_path)
    table = load(tmp_path)
    (row,) = board([table]).rows
    rates = row.rates
    assert rates.calls is rates.seconds is rates.input_tokens is rates.consistency is None
    assert rates.unscored == {
        "malformed": None,
        "missing": None,
        "ambiguous": None,
        "refused": None,
        "truncated": None,
        "infrastructure": pytest.approx(1 / 9),
    }
    text = render([board([table])], "md", ())
    assert "no order of candidates, calls, tokens or seconds" in text
    assert "answers were read with the help of gpt-4o-mini" in text
    assert "nan" not in text.lower()


def test_rows_of_data_sets_are_not_taken_for_one_another(tmp_path: Path) -> None:
    output(tmp_path)
    episodes = load(tmp_path).episodes
    assert len({episode.item for episode in episodes}) == len(episodes)
    assert len({episode.cluster for episode in episodes}) == len(episodes)


def test_a_data_set_whose_name_goes_on_from_another_keeps_its_own_tables(tmp_path: Path) -> None:
    made = output(tmp_path)
    write(made / "m1_Choice_V2_gpt-4o-mini_result.tsv", [{"index": 0, "hit": 1}])
    status = json.loads((made / "status.json").read_text())
    status["datasets"]["Choice_V2"] = {"judge_model": "gpt-4o-mini"}
    write_status(made, status)
    table = load(made)
    assert counted(table, "Choice_V2") == ["correct"]
    assert len(counted(table, "Choice")) == 4


def test_models_of_a_work_folder_stand_for_themselves(tmp_path: Path) -> None:
    found = [output(tmp_path, model="m1"), output(tmp_path, model="m2")]
    assert expand([tmp_path]) == found
    with pytest.raises(ConfigError, match="several models of VLMEvalKit; name one of: m1, m2"):
        load(tmp_path)


def test_older_folders_of_single_runs_are_named_by_the_model_above(tmp_path: Path) -> None:
    made = tmp_path / "m1" / "T20250101_Gabcdef"
    write(made / "m1_YN_auxmatch.tsv", YES)
    write(made / "m1_YN.tsv", [{"index": 0, "prediction": "Yes"}])
    table = load(tmp_path)
    assert (table.judge, counted(table, "YN")) == ("m1", ["wrong", "correct"])


# --- not read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"index": 0, "score": 0.5}], "not all 0 or 1 ('0.5')"),
        ([{"index": 0, "score": -1}], "not all 0 or 1 ('-1')"),
        ([{"index": 0, "score": ""}], "not all 0 or 1 ('')"),
        ([{"index": 0, "score": 1}, {"index": 0, "score": 0}], "the same index"),
        ([{"index": 0, "prediction": "x"}], "no table has a score"),
    ],
)
def test_a_data_set_that_does_not_say_what_is_right_is_left_out_and_why(
    tmp_path: Path, rows: list[dict[str, Any]], says: str
) -> None:
    made = output(tmp_path)
    write(made / "m1_YN_auxmatch.tsv", rows)
    table = load(tmp_path)
    assert not counted(table, "YN")
    assert any(note.startswith("YN left out: ") and says in note for note in table.notes)


def test_two_tables_of_scores_are_not_chosen_between(tmp_path: Path) -> None:
    made = output(tmp_path)
    write(made / "m1_YN_other.tsv", YES)
    (note,) = (note for note in load(tmp_path).notes if note.startswith("YN left out"))
    assert "several tables have scores: m1_YN_auxmatch.tsv, m1_YN_other.tsv" in note


def test_predictions_alone_are_an_error_that_says_so(tmp_path: Path) -> None:
    write(tmp_path / "m1" / "m1_YN.tsv", [{"index": 0, "prediction": "Yes"}])
    with pytest.raises(ConfigError, match="YN left out: no table has a score for each row"):
        load(tmp_path)


@pytest.mark.parametrize("form", ["xlsx", "json", "tsv"])
def test_a_broken_table_is_named(tmp_path: Path, form: str) -> None:
    made = output(tmp_path, form)
    (made / f"m1_YN_auxmatch.{form}").write_bytes(b'{"a"\x00\xff')
    with pytest.raises(ConfigError, match=f"cannot read .*m1_YN_auxmatch.{form}"):
        load(tmp_path)


def test_a_status_of_another_program_is_not_believed(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"datasets": []}'):
        (tmp_path / "status.json").write_text(text)
        with pytest.raises(ConfigError, match="is no run directory"):
            load(tmp_path)
