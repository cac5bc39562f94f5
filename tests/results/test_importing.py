"""ARM-Thinker's own results become runs like any other."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from armbench.cli import main
from armbench.errors import ConfigError, DataError
from armbench.evaluate import read_records, rescore
from armbench.images import ImageStore
from armbench.results.frames import read_frames
from armbench.results.importing import Imported, import_results, import_text
from armbench.results.importing_messages import Pictures, read_conversation
from armbench.results.runs import load
from armbench.runlog import RunDir
from armbench.score import Record
from armbench.trajectory import ModelEvent, NoteEvent, ToolEvent
from armbench.types import ImagePart

TOOLS = (
    'Judge.\n<tools>\n{"type": "function", "function": {"name": "image_zoom_in_tool", '
    '"description": "Zoom.", "parameters": {"type": "object"}}}\nno schema\n</tools>'
)
ZOOM = '{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [1, 2, 3, 4]}}'
CALL = f"<think>look</think>\n<tool_call>\n{ZOOM}\n</tool_call>"
NO_MORE = "You have reached the maximum number of tool calls; answer now."

Message = dict[str, Any]


def says(role: str, *content: str) -> Message:
    """A message; what ends in .png is a picture."""
    if len(content) == 1 and not content[0].endswith(".png"):
        return {"role": role, "content": content[0]}
    parts = [
        {"type": "image_url", "image_url": {"url": text}}
        if text.endswith(".png")
        else {"type": "text", "text": text}
        for text in content
    ]
    return {"role": role, "content": parts}


def talk(last: str, idx: str = "a1") -> list[Message]:
    """A conversation with one call and a last turn."""
    return [
        says("system", TOOLS),
        says("user", f"{idx}/img_0000.png", "Which?"),
        says("assistant", CALL),
        says("tool", f"{idx}/img_0001.png", "This is observation_1"),
        says("assistant", last),
    ]


def answered(verdict: str) -> str:
    return f"<think>so</think><answer>Overall Judgment: {verdict}</answer>"


def row(idx: str = "a1", gt: Any = "1", last: str = "", **fields: Any) -> dict[str, Any]:
    """A line of the judge script's output."""
    last = last or answered("Answer 1 is better")
    result = {"tool_call_cnt": 1, "full_messages": talk(last, idx), "model_resp": last, "score": 0}
    item = {"idx": idx, "id": idx, "question": "Which?", "preds": ["x", "y"], "gt": gt}
    images = {"images": [f"elsewhere/{idx}.jpg"], "rm_tag": "pair_rm"}
    return {**item, **images, "judge_result": result, **fields}


def picture(path: Path, color: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 48), color).save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Folder of a judge's results with the pictures of item a1."""
    for n in range(2):
        picture(tmp_path / "results" / "images" / "a1" / f"img_000{n}.png", ("red", "blue")[n])
    return tmp_path / "results"


def imported(folder: Path, *rows: Any, name: str = "Judge-7B.jsonl") -> Imported:
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    (folder / name).write_text(text, "utf-8")
    return import_results(folder / name, folder / "runs", "track", None)


def records(found: Imported) -> list[Record]:
    return list(read_records(RunDir(found.path)))


# --- the judge's JSON lines ---------------------------------------------------------------


def test_a_row_becomes_an_item_and_what_was_said_its_events(results: Path) -> None:
    (record,) = records(imported(results, row()))
    sample, trajectory = record.sample, record.trajectory
    assert (sample.candidates, sample.gold, sample.task) == (("x", "y"), 1, "track")
    assert record.score.counted_as == "correct"
    assert trajectory.model == "Judge-7B"
    assert [tool.name for tool in trajectory.tools] == ["image_zoom_in_tool"]
    turn, looked, last, stop = trajectory.events
    assert isinstance(turn, ModelEvent)
    assert turn.reply.text == CALL
    assert isinstance(looked, ToolEvent)
    assert looked.call.arguments == {"bbox_2d": [1, 2, 3, 4]}
    assert isinstance(last, ModelEvent)
    assert stop.kind == "stop"
    assert trajectory.stop.reason == "answered"


def test_pictures_are_those_that_lie_beside_the_file(results: Path) -> None:
    (record,) = records(imported(results, row()))
    (shown,) = record.sample.images
    looked = record.trajectory.events[1]
    assert isinstance(looked, ToolEvent)
    assert isinstance(looked.result.parts[0], ImagePart)
    assert looked.result.parts[0].name == "observation_1"
    assert looked.result.parts[0].image != shown
    asked = [p for m in record.trajectory.messages for p in m.parts if isinstance(p, ImagePart)]
    assert [(part.name, part.image) for part in asked] == [("original_image", shown)]


@pytest.mark.parametrize(("gt", "verdict"), [(True, "True"), ("False", "False"), (True, "False")])
def test_gold_of_any_type_and_single_judgments_are_scored(
    results: Path, gt: Any, verdict: str
) -> None:
    line = row(gt=gt, last=answered(verdict), rm_tag="single_rm", preds=["x"])
    (record,) = records(imported(results, line))
    assert record.score.counted_as == ("correct" if str(gt) == verdict else "wrong")


def test_scores_of_the_file_are_counted_beside_ours(results: Path) -> None:
    found = imported(results, row("a1"), row("a2", gt=2))
    assert "scores in the file: 0 of 2 right; verdicts read anew: 1; 1 differ" in found.notes


def test_the_item_is_the_one_that_the_data_set_gives(results: Path) -> None:
    data = picture(results / "data" / "elsewhere" / "a1.jpg")
    path = results / "j.jsonl"
    path.write_text(json.dumps(row()) + "\n")
    found = import_results(path, results / "runs", "track", results / "data")
    (record,) = records(found)
    (ref,) = record.sample.images
    assert ref.sha256 == ImageStore().add_bytes(data).sha256
    assert record.sample.cluster == "elsewhere/a1.jpg"


def test_a_row_without_its_conversation_has_its_last_reply(results: Path) -> None:
    line = row()
    line["judge_result"] = {"model_resp": answered("Answer 2 is better")}
    found = imported(results, line)
    (record,) = records(found)
    assert record.score.counted_as == "wrong"
    assert record.trajectory.messages == ()
    assert load(found.path).episodes[0].calls == 0
    assert "1 rows hold the last reply alone, without the conversation" in found.notes


def test_calls_that_were_made_but_not_kept_are_not_known(results: Path) -> None:
    line = row()
    del line["judge_result"]["full_messages"]
    assert load(imported(results, line).path).episodes[0].calls is None


def test_the_last_row_of_an_item_counts(results: Path) -> None:
    found = imported(results, row(), row(last=answered("Answer 2 is better")))
    (record,) = records(found)
    assert record.score.counted_as == "wrong"
    assert "1 rows replaced by later ones of the same item" in found.notes


# --- unknown is unknown -------------------------------------------------------------------


def test_what_no_such_file_holds_is_nowhere_zero(results: Path) -> None:
    found = imported(results, row())
    (episode,) = load(found.path).episodes
    assert episode.seconds is episode.input_tokens is episode.output_tokens is None
    assert episode.calls == 1
    assert rescore(found.path).report.tasks["track"].output_tokens is None
    frames = read_frames(found.path)
    assert frames.episodes[["seconds", "input_tokens"]].isna().all(axis=None)
    assert frames.events["output_tokens"].isna().all()
    assert load(found.path).notes[0].startswith("imported; not in its file: input_tokens")


def test_the_run_works_with_every_command(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(imported(results, row(), row("a2")).path)
    for command in (
        ["score", run],
        ["show", run, "a1"],
        ["leaderboard", run],
        ["analyze", run],
        ["view", run, "-o", str(results / "view.html")],
    ):
        assert main(command) == 0, command
    assert "Judge-7B" in capsys.readouterr().out


def test_the_same_file_gives_the_same_run(results: Path) -> None:
    first, second = (imported(results, row(), row("a2")) for _ in range(2))
    assert first.path != second.path
    for name in ("run.json", "samples.jsonl", "trajectories.jsonl", "scores.json"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


# --- the bare list ------------------------------------------------------------------------


def test_a_bare_list_is_one_open_conversation(results: Path) -> None:
    path = results / "result.json"
    path.write_text(json.dumps(talk("<answer>Shanghai</answer>")))
    found = import_results(path, results / "runs", "imported", None)
    (record,) = records(found)
    assert record.sample.mode == "open"
    assert record.sample.gold is None
    assert record.sample.text == "Which?"
    assert len(record.sample.images) == 1
    assert record.score.counted_as == "unlabelled"
    assert load(found.path).judge == "unknown"


# --- how episodes end ---------------------------------------------------------------------


def end_of(*messages: Message) -> tuple[str, list[str]]:
    read = read_conversation([says("user", "Q"), *messages], Pictures([], ImageStore()))
    return read.events[-1].reason, [event.kind for event in read.events[:-1]]  # type: ignore[union-attr]


def test_the_end_of_a_conversation_is_named() -> None:
    call, done = says("assistant", CALL), says("assistant", answered("True"))
    warned = says("tool", NO_MORE)
    assert end_of(done) == ("answered", ["model"])
    assert end_of(call, says("user", "seen"), done) == ("answered", ["model", "tool", "model"])
    assert end_of(call, warned, done) == ("answered", ["model", "note", "model"])
    assert end_of(call, warned, call) == ("max_turns", ["model", "note", "model"])
    assert end_of(says("assistant", "<tool_call>{broken</tool_call>"))[0] == "format_errors"
    assert end_of(call) == ("error", ["model"])
    assert end_of(call, says("tool", "seen")) == ("error", ["model", "tool"])
    assert end_of({"role": "assistant", "content": None}) == ("answered", ["model"])


def test_failed_calls_are_failed_calls() -> None:
    for text, kind in (
        ("Error: Unknown tool 'x'", "unknown_tool"),
        ("Error when executing tool: y", "tool_error"),
        ("No Error", None),
    ):
        messages = [says("user", "Q"), says("assistant", CALL), says("tool", text)]
        event = read_conversation(messages, Pictures([], ImageStore())).events[1]
        assert isinstance(event, ToolEvent)
        assert (event.result.error.kind if event.result.error else None) == kind


def test_what_follows_no_call_is_a_note() -> None:
    messages = [says("assistant", "hm"), says("user", "go on"), says("assistant", "True")]
    note = read_conversation(messages, Pictures([], ImageStore())).events[1]
    assert isinstance(note, NoteEvent)
    assert note.text == "go on"


# --- bad input ----------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_listed_by_line(results: Path) -> None:
    torn = json.dumps(row())[:50]
    silent = row("a3")
    silent["judge_result"]["full_messages"] = [says("user", "Q")]
    found = imported(results, row(), "", "[]", '{"idx": 3}', row("a2", gt=7), silent, torn)
    assert found.episodes == 1
    text = import_text(found)
    assert "5 rows left out:" in text
    for line in (
        "line 3: the line is no JSON object",
        "line 4: the field 'judge_result' is missing",
        "line 5: gt is '7'; the answers are 1 to 2",
        "line 6: the conversation has no message of the judge",
        "line 7: no JSON, or cut off",
    ):
        assert f"  {line}" in text
    assert len(json.loads((found.path / "bad_rows.json").read_text())["track"]) == 5
    many = Imported(found.path, 1, found.bad * 9, [])
    assert "… and 25 more" in import_text(many)


@pytest.mark.parametrize(
    "url",
    [
        "../secret.png",
        "/etc/passwd.png",
        "https://example.org/a.png",
        "nul\0.png",
        "a1/absent.png",
        "data:image/png;base64,!!.png",
        f"{'x' * 5000}.png",
    ],
)
def test_pictures_outside_or_unusable_are_left_out_and_counted(results: Path, url: str) -> None:
    picture(results.parent / "secret.png")
    line = row()
    line["judge_result"]["full_messages"][1] = says("user", url, "Which?")
    line["images"] = [url]
    found = imported(results, line)
    (record,) = records(found)
    assert record.sample.images == ()
    assert record.sample.cluster == url
    assert any(note.startswith("1 pictures left out") for note in found.notes)


def test_an_inline_picture_is_taken(results: Path) -> None:
    data = base64.b64encode(picture(results / "p.png", "green")).decode()
    line = row()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    line["judge_result"]["full_messages"][1]["content"] = [part]
    (record,) = records(imported(results, line))
    assert len(record.sample.images) == 1


@pytest.mark.parametrize("text", ["", "[]", "[1]", "[", '{"a": 1}', "\ud800"])
def test_a_file_without_a_usable_row_is_an_error_and_leaves_nothing(
    results: Path, text: str
) -> None:
    path = results / "x.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"x\.jsonl"):
        import_results(path, results / "runs", "track", None)
    assert not list((results / "runs").glob("*"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "image_url", "url", "x"]),
            inner | st.sampled_from(["assistant", "user", "tool", "text", "image_url", CALL]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=4))
def test_any_messages_are_read_or_refused(messages: list[Any]) -> None:
    try:
        read = read_conversation(messages, Pictures([], ImageStore()))
    except DataError:
        return
    assert read.events[-1].kind == "stop"
    assert any(event.kind == "model" for event in read.events)
