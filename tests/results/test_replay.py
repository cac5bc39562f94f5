"""A log that is true replays as equal; whatever was changed in it is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.cli import main
from armbench.episode import LoopConfig, Plan
from armbench.errors import BackendError, ConfigError, ContextExceeded
from armbench.evaluate import offer
from armbench.models.scripted import as_reply
from armbench.results.replay import replay
from armbench.results.replay_text import audit_text
from armbench.runlog import RunDir
from armbench.trajectory import Failure
from armbench.types import ImagePart, Message, NativeCall, TextPart
from tests.helpers import answer, call, make_sample, picture, run_episode
from tests.results.replaying import (
    TURNS,
    ZOOMS,
    copy,
    edit,
    file_of,
    judged,
    kinds,
    make,
    put,
    results,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four episodes (two items, both orders) with five calls each."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return copy(made, tmp_path / "run")


# --- a true log ---------------------------------------------------------------------------


def test_a_true_log_is_equal_and_left_alone(run: Path) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    audit = replay(run)
    assert audit.clean
    assert (audit.episodes, audit.calls["equal"], audit.pictures) == (4, 4 * 5, 3)
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_of_one_tool_or_the_first_episodes_only(run: Path) -> None:
    audit = replay(run, limit=3, tool="image_zoom_in_tool")
    assert audit.clean
    assert audit.episodes == 3
    assert (audit.calls["equal"], audit.calls["skipped"]) == (3 * ZOOMS, 3 * (5 - ZOOMS))
    skipped = replay(run, tool="another")
    assert (skipped.clean, skipped.calls["skipped"]) == (True, 4 * 5)


@pytest.mark.parametrize("options", [{"dialect": "qwen3vl"}, {"tool_role": "user"}])
def test_in_every_form_of_calling(tmp_path: Path, options: dict[str, Any]) -> None:
    qwen = call("image_zoom_in_tool", bbox_2d=[0, 0, 500, 500], label="it", img_idx=0)
    audit = replay(make(tmp_path, [*TURNS[:2], qwen, answer(1)], **options))
    assert audit.clean
    assert audit.calls["equal"] == 4 * 3


def test_native_calls_whose_server_numbers_them_alike(tmp_path: Path) -> None:
    def turn(ask: Any) -> Any:
        done = sum(message.role == "assistant" for message in ask.messages)
        if done == 2:
            return answer(1)
        arguments = json.dumps({"image": "original_image", "bbox_2d": [0, 0, 300 + done, 300]})
        made = NativeCall(id="call_0", name="image_zoom_in_tool", arguments=arguments)
        return as_reply("").model_copy(update={"calls": (made,)})

    audit = replay(make(tmp_path, turn, dialect="native"))
    assert audit.clean
    assert audit.calls["equal"] == 4 * 2


@pytest.mark.parametrize("error", [ContextExceeded("long"), BackendError("down", "http_500")])
def test_what_a_server_ended_is_equal_as_far_as_it_went(tmp_path: Path, error: Exception) -> None:
    def turn(ask: Any) -> Any:
        return error if len(ask.messages) > 4 else TURNS[0]

    audit = replay(make(tmp_path, turn))
    assert audit.clean
    assert audit.calls["equal"] == 4 * 2


def test_an_episode_that_ran_out_of_time(run: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        row["events"] = [*row["events"][:2], {"kind": "stop", "reason": "max_seconds"}]

    audit = replay(edit(run, change), limit=1)
    assert audit.clean
    assert audit.calls["equal"] == 1


def test_limits_are_those_of_the_run(tmp_path: Path) -> None:
    run = make(tmp_path, [TURNS[0]], max_turns=2)
    audit = replay(run)
    assert audit.clean
    assert audit.calls["equal"] == 4 * 2


def test_a_hosts_own_messages(tmp_path: Path) -> None:
    config = {"tasks": {}, "judge": {"loop": {}, "tools": ["image"]}, "seed": 0}
    run = RunDir.create(tmp_path, "host", config)
    ref = picture(run.images, (300, 200))
    parts = (ImagePart(image=ref, name="original_image"), TextPart(text="What?"))
    sample = make_sample(["What?", ref], mode="open", candidates=(), gold=None)
    tools = offer(("image",), LoopConfig())
    prompt = (Message(role="user", parts=parts),)
    plan = Plan(sample, run.images, (), tools, prompt=prompt)
    run.add_sample(sample)
    run.append(run_episode(plan, [TURNS[0], "<answer>red</answer>"]))
    audit = replay(run.path)
    assert audit.clean
    assert audit.calls["equal"] == 1


# --- a changed log ------------------------------------------------------------------------


def test_one_word(run: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        part = results(row)[0]["parts"][-1]
        part["text"] = part["text"].replace("Zoomed in", "Zoomed out")

    audit = replay(edit(run, change))
    assert kinds(audit) == [{"text"}]
    (difference,) = audit.different[0].differences
    assert "Zoomed out on" in difference.logged
    assert "Zoomed in on" in difference.now
    assert audit.calls["equal"] == 4 * 5 - 1


def test_one_pixel(run: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        part = results(row)[1]["parts"][0]
        image = Image.open(file_of(run, part)).convert("RGB")
        red, green, blue = image.getpixel((3, 4))  # type: ignore[misc]
        image.putpixel((3, 4), (red, green, blue ^ 1))
        put(run, part, image)

    audit = replay(edit(run, change))
    assert kinds(audit) == [{"picture"}]
    assert "1 of 120000 pixels differ, by at most 1 of 255" in audit.different[0].differences[0].now
    assert not audit.missing
    assert not audit.altered


def test_the_same_pixels_in_another_encoding_are_equal(run: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        crop = results(row)[0]["parts"][0]
        old = crop["image"]["sha256"]
        put(run, crop, Image.open(file_of(run, crop)), level=9)
        assert crop["image"]["sha256"] != old
        # The crop of that crop says which picture it was cut from.
        results(row)[1]["meta"]["sha256"] = crop["image"]["sha256"]

    audit = replay(edit(run, change, first=False))
    assert audit.clean
    assert audit.recoded == 4
    assert "4 of the equal ones give the same pixels in another encoding" in audit_text(audit)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda row: results(row)[0]["meta"].update(box=[0, 0, 1, 1]), {"meta"}),
        (lambda row: results(row)[0].update(truncated=True), {"text"}),
        (lambda row: results(row)[2]["error"].update(kind="no_box"), {"error"}),
        (lambda row: results(row)[2].update(error=None), {"error"}),
        (lambda row: results(row)[3]["error"].update(kind="other"), {"error"}),
        (lambda row: results(row)[0]["parts"].pop(0), {"picture"}),
        (lambda row: row["events"][1]["call"]["arguments"].update(image="x"), {"call"}),
    ],
)
def test_each_part_of_a_call_under_its_name(
    run: Path, change: Callable[[dict[str, Any]], None], found: set[str]
) -> None:
    assert kinds(replay(edit(run, change))) == [found]


def test_a_call_left_out_or_made_up(run: Path) -> None:
    audit = replay(edit(run, lambda row: row["events"].pop(9)))
    assert kinds(audit) == [{"call"}]
    assert audit.different[0].differences[0].logged == "none"
    audit = replay(edit(run, lambda row: row["events"].insert(8, row["events"][1])))
    assert {"call"} in kinds(audit)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda row: row["messages"][1]["parts"][1].update(text="Take 1."), "prompt"),
        (lambda row: row["tools"].clear(), "prompt"),
        (lambda row: row["events"][0].update(kept=2), "turns"),
        (lambda row: row["events"][-1].update(reason="max_turns"), "turns"),
    ],
)
def test_prompts_and_turns(run: Path, change: Callable[[dict[str, Any]], None], kind: str) -> None:
    audit = replay(edit(run, change))
    assert [d.kind for check in audit.rest for d in check.differences] == [kind]
    assert not audit.clean


def test_files_that_are_gone_or_hold_something_else(run: Path) -> None:
    rows: list[dict[str, Any]] = []
    edit(run, rows.append)
    first, second = (results(rows[0])[n]["parts"][0] for n in (0, 1))
    file_of(run, first).unlink()
    file_of(run, second).write_bytes(b"nothing")
    audit = replay(run)
    assert audit.missing == [first["image"]["sha256"]]
    assert audit.altered == [second["image"]["sha256"]]
    assert audit.calls["equal"] == 4 * 5  # what the tools give is still what the log says
    assert not audit.clean


def test_a_picture_of_the_item_that_is_gone(run: Path) -> None:
    rows: list[dict[str, Any]] = []
    edit(run, rows.append)
    file_of(run, rows[0]["messages"][1]["parts"][0]).unlink()
    audit = replay(run)
    assert {check.reason for check in audit.not_run} == {
        f"ImageError: picture {audit.missing[0][:12]} is not in the image store"
    }
    # A crop of the logged crop needs the item's picture no more.
    assert (audit.calls["not run"], audit.calls["equal"]) == (4 * 1, 4 * 4)


# --- what is not there --------------------------------------------------------------------


def test_another_installations_tool(run: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        text = json.dumps(row).replace("image_zoom_in_tool", "somebody_elses_one")
        row.update(json.loads(text))

    audit = replay(edit(run, change))
    assert [check.reason for check in audit.not_run] == [
        "DataError: there is no tool 'somebody_elses_one' among those of this run here"
    ] * ZOOMS
    assert audit.calls["equal"] == 4 * 5 - ZOOMS
    assert not audit.rest


def test_items_and_settings_that_are_gone(run: Path) -> None:
    lines = (run / "samples.jsonl").read_text().splitlines()
    (run / "samples.jsonl").write_text(lines[0] + "\n")
    audit = replay(run)
    assert audit.calls == {"equal": 10, "different": 0, "not run": 10, "skipped": 0}
    assert len(audit.rest) == 2
    assert audit.not_run[0].reason.startswith("samples.jsonl lacks the item")
    head = json.loads((run / "run.json").read_text())
    head["config"]["tasks"] = {}
    (run / "run.json").write_text(json.dumps(head))
    assert "run.json does not say how toy was judged" in audit_text(replay(run))


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    pages = tmp_path / "here" / "docs" / "report"
    pages.mkdir(parents=True)
    for n, words in enumerate(["apples and pears", "a comet over Ravenna"], 1):
        Image.new("RGB", (300, 400), (n * 80, 0, 0)).save(pages / f"{n}.png")
        (pages / f"{n}.txt").write_text(words)
    row = {"doc": "report", "question": "What?", "answer": "a comet", "wrong_answers": ["tin"]}
    turns = [
        call("doc_page_retrieval_by_query", filename="report", query="comet"),
        call("image_zoom_in_tool", image="observation_1", bbox_2d=[0, 0, 500, 500]),
        answer(1),
    ]
    more = "documents: docs\n  tools: [document, image]"
    return judged(tmp_path / "here", [row], "document_qa", more, turns)


def test_documents_lie_where_the_user_says(documents: Path) -> None:
    here = documents.parents[1]
    audit = replay(documents, data=str(here))
    assert audit.clean
    assert audit.calls["equal"] == 4
    assert not any("data" in note for note in audit.notes)
    with (here / "items.jsonl").open("a") as file:
        file.write("\n")
    assert "toy: its data here is not the data of the run" in replay(documents, str(here)).notes


def test_documents_that_are_absent_or_another(documents: Path) -> None:
    here = documents.parents[1]
    audit = replay(documents)
    # The picture of a page is in the log, so that a crop of it can be made again.
    assert (audit.calls["not run"], audit.calls["equal"]) == (2, 2)
    assert "--data" in audit.not_run[0].reason
    (here / "docs" / "report").rename(here / "docs" / "other")
    audit = replay(documents, str(here))
    assert "There is no document named 'report'" in audit.not_run[0].reason
    (here / "docs" / "other").rename(here / "docs" / "report")
    Image.new("RGB", (300, 400), "blue").save(here / "docs" / "report" / "2.png")
    assert {"picture"} in kinds(replay(documents, str(here)))


def test_a_tool_that_broke_breaks_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(row: dict[str, Any]) -> None:
        row["events"] = [row["events"][0], {"kind": "stop", "reason": "error", "detail": "…"}]
        broke = {"boundary": "tool", "type": "ZeroDivisionError", "message": "zoom: zero"}
        row["failures"] = [broke]

    audit = replay(edit(run, change))
    assert kinds(audit) == [{"error"}]
    assert audit.different[0].differences[0].logged == "ZeroDivisionError: zoom: zero"

    failure = Failure(boundary="tool", type="ZeroDivisionError", message="zoom: zero")
    monkeypatch.setattr("armbench.results.replay.run_tool", lambda run: failure)
    audit = replay(run, limit=1)
    assert audit.clean
    assert audit.calls["equal"] == 1


# --- the command --------------------------------------------------------------------------


def test_the_command_counts_shows_examples_and_exits_as_it_found(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(run)]) == 0
    out = capsys.readouterr().out
    assert "tool calls: 20: 20 equal, 0 different, 0 not run" in out
    assert "prompts and turns: all 4 as logged" in out

    def change(row: dict[str, Any]) -> None:
        results(row)[0]["parts"][-1]["text"] = "\x1b[2J\u202egone"
        results(row)[1]["meta"] = {}

    edit(run, change, first=False)
    assert main(["replay", str(run)]) == 1
    out = capsys.readouterr().out
    assert "different calls: 8 (meta 4, text 4)" in out
    assert "… and 3 more" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_no_run_and_an_empty_one(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="is no run directory"):
        replay(tmp_path)
    (run / "trajectories.jsonl").write_text("")
    with pytest.raises(ConfigError, match="holds no finished episode"):
        replay(run)


def test_other_versions_are_named(run: Path) -> None:
    head = json.loads((run / "run.json").read_text())
    head["versions"]["pillow"] = "1.0"
    (run / "run.json").write_text(json.dumps(head))
    (note,) = replay(run).notes
    assert note.startswith("pillow: 1.0 when the run was made")
