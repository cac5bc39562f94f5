"""Sharegpt files: as published, as LLaMA-Factory wants them, and as people break them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.errors import DataError
from armbench.images import ImageStore
from armbench.training.encode import conversation
from armbench.training.filters import Sieve
from armbench.training.recipe import Filters
from armbench.training.sharegpt import Unusable, read_sharegpt, write_sharegpt
from armbench.trajectory import ToolEvent, Trajectory
from armbench.types import ImagePart, Sample
from tests.helpers import answer
from tests.training.demos import SEES, play, zoom

CALL = zoom()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pics").mkdir()
    for n in range(2):
        Image.new("RGB", (40 + n, 30), "red").save(tmp_path / "pics" / f"{n}.png")
    return tmp_path


def row(**changes: Any) -> dict[str, Any]:
    """A row as the published data has it."""
    return {
        "idx": 7,
        "id": "deep-7",
        "source": "deepeyes",
        "question": "What colour?",
        "gt": "1",
        "tool_call_cnt": 1,
        "images": ["pics/0.png", "pics/1.png"],
        "conversations": [
            {"from": "system", "value": "Judge."},
            {"from": "human", "value": "<image>\nWhat colour? 1: red 2: blue"},
            {"from": "gpt", "value": f"<think>look</think>{CALL}"},
            {"from": "human", "value": "<tool_response>\n<image>Zoomed.\n</tool_response>"},
            {"from": "gpt", "value": answer(1)},
        ],
        **changes,
    }


def read(folder: Path, *rows: Any) -> list[Any]:
    (folder / "rows.json").write_text(json.dumps(rows))
    return list(read_sharegpt(folder / "rows.json", ImageStore()))


def read_one(folder: Path, **changes: Any) -> tuple[Trajectory, Sample]:
    [found] = read(folder, row(**changes))
    assert not isinstance(found, Unusable), found
    episode: tuple[Trajectory, Sample] = found
    return episode


def shape(trajectory: Trajectory) -> list[tuple[str, str]]:
    """Who speaks, and what, a picture as a mark."""
    return [
        (
            message.role,
            "".join("◼" if isinstance(p, ImagePart) else p.text for p in message.parts),
        )
        for message in conversation(trajectory)[0]
    ]


def test_a_published_row_is_an_episode(folder: Path) -> None:
    trajectory, sample = read_one(folder)
    assert shape(trajectory) == [
        ("system", "Judge."),
        ("user", "◼\nWhat colour? 1: red 2: blue"),
        ("assistant", f"<think>look</think>{CALL}"),
        ("tool", "◼Zoomed."),
        ("assistant", answer(1)),
    ]
    assert (sample.id, sample.task, sample.gold) == ("deep-7", "deepeyes", 1)
    assert Sieve(Filters()).why_not(trajectory, sample) == ""


@pytest.mark.parametrize("speaker", ["observation", "tool"])
def test_results_have_speakers_of_their_own_elsewhere(folder: Path, speaker: str) -> None:
    turns = row()["conversations"]
    turns[3] = {"from": speaker, "value": "<image>Zoomed."}
    assert shape(read_one(folder, conversations=turns)[0]) == shape(read_one(folder)[0])


@pytest.mark.parametrize(
    ("gt", "last", "reason"),
    [
        ("1", answer(1), ""),
        ("2", answer(1), "accuracy"),
        ("True", answer(True), ""),
        ("false", answer(True), "accuracy"),
        ("4", answer(4), ""),
        (True, answer(True), ""),
        (2, answer(2), ""),
    ],
)
def test_the_right_answer_is_read_of_any_type(
    folder: Path, gt: Any, last: str, reason: str
) -> None:
    turns = [*row()["conversations"][:4], {"from": "gpt", "value": last}]
    trajectory, sample = read_one(folder, gt=gt, conversations=turns)
    assert Sieve(Filters()).why_not(trajectory, sample) == reason


def test_a_result_that_says_error_brought_nothing(folder: Path) -> None:
    turns = row()["conversations"]
    turns[3]["value"] = "<tool_response>Error: no such image</tool_response>"
    trajectory, sample = read_one(folder, conversations=turns, images=["pics/0.png"])
    assert Sieve(Filters()).why_not(trajectory, sample) == "tools"


def test_rows_without_a_right_answer_are_not_checked(folder: Path) -> None:
    trajectory, sample = read_one(folder, gt="")
    sieve = Sieve(Filters())
    assert sieve.why_not(trajectory, sample) == ""
    assert sieve.unchecked == {"accuracy": 1}


def turns(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"from": speaker, "value": value} for speaker, value in pairs]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"images": ["pics/0.png"]}, "deep-7: has more <image> marks than images"),
        ({"images": [f"pics/{n % 2}.png" for n in range(3)]}, "has more images than <image> marks"),
        ({"images": ["pics/0.png", "pics/gone.png"]}, r"picture 'pics/gone\.png' is missing"),
        ({"images": ["../secret.png", "pics/0.png"]}, "lies outside the data folder"),
        ({"images": ["/etc/passwd", "pics/0.png"]}, "lies outside the data folder"),
        ({"images": ["rows.json", "pics/0.png"]}, "is not a readable picture"),
        ({"images": "pics/0.png"}, "images is no list"),
        ({"conversations": []}, "has no conversations"),
        ({"conversations": turns(("human", "a"))}, "does not end with a turn of the judge"),
        ({"conversations": turns(("gpt", "a"))}, "answers nothing"),
        ({"conversations": turns(("human", "a"), ("gpt", "b"), ("gpt", "c"))}, "answers nothing"),
        ({"conversations": turns(("narrator", "a"))}, "unknown speaker 'narrator'"),
        ({"conversations": turns(("human", 3))}, "has a turn without value"),
        ({"tools": "[{}]"}, "lists its tools apart"),
    ],
)
def test_a_broken_row_is_named_and_the_rest_are_read(
    folder: Path, changes: dict[str, Any], why: str
) -> None:
    if "conversations" in changes:
        changes = {"images": [], **changes}
    broken, whole = read(folder, row(**changes), row(id="whole"))
    assert isinstance(broken, Unusable)
    with pytest.raises(Unusable, match=why):
        raise broken
    assert whole[1].id == "whole"


def test_json_lines_will_do_and_other_files_will_not(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_text(f"{json.dumps(row())}\n\n{json.dumps(row(id='b'))}\n")
    assert [episode[1].id for episode in read_sharegpt(path, ImageStore())] == ["deep-7", "b"]
    path.write_text("no json")
    with pytest.raises(DataError, match="is no sharegpt JSON"):
        list(read_sharegpt(path, ImageStore()))
    with pytest.raises(DataError, match="No such file"):
        list(read_sharegpt(folder / "absent.json", ImageStore()))
    [odd] = read(folder, "a string")
    assert str(odd) == "row 1: is no JSON object"


def test_what_is_written_reads_as_the_same_conversation(tmp_path: Path) -> None:
    first = play(f"<think>I look.</think>\n{CALL}", answer(1, SEES))
    second = play(answer(2), tools=False, gold=2, id="item-2")
    assert write_sharegpt([first, second], tmp_path / "out" / "rows.json") == 2
    again = list(read_sharegpt(tmp_path / "out" / "rows.json", ImageStore()))
    assert [shape(episode[0]) for episode in again] == [shape(first[0]), shape(second[0])]
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert [row["tool_call_cnt"] for row in rows] == [1, 0]
    assert [row["gt"] for row in rows] == ["1", "2"]
    assert all((tmp_path / "out" / name).is_file() for name in rows[0]["images"])


def test_speakers_take_turns_as_llama_factory_wants(tmp_path: Path) -> None:
    """A note after a result would be two turns of the same side."""
    episode = play(CALL, CALL, CALL, answer(1))
    write_sharegpt([episode], tmp_path / "rows.json")
    [row] = json.loads((tmp_path / "rows.json").read_text())
    speakers = [turn["from"] for turn in row["conversations"]]
    assert speakers == ["system", "human", *["gpt", "observation"] * 3, "gpt"]
    assert "No tool calls are left" in row["conversations"][-2]["value"]
    assert sum(t["value"].count("<image>") for t in row["conversations"]) == len(row["images"])


def test_a_mark_in_the_judges_words_is_no_picture(tmp_path: Path) -> None:
    write_sharegpt([play(answer(1, "an <image> tag"), tools=False)], tmp_path / "rows.json")
    [episode] = read_sharegpt(tmp_path / "rows.json", ImageStore())
    assert not isinstance(episode, Unusable)
    assert not any(isinstance(event, ToolEvent) for event in episode[0].events)
    assert "an < image> tag" in episode[0].last_text
