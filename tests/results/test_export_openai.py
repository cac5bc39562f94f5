"""Chat messages that OpenAI's API would take, pictures beside them."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.images import ImageStore
from armbench.results.export import export
from armbench.results.runs import anchor
from armbench.types import NativeCall
from tests.helpers import (
    TOOLS,
    answer,
    as_reply,
    call,
    loop,
    make_plan,
    make_sample,
    picture,
    run_episode,
)
from tests.results.viewing import document_episode, hostile_run, judged, write_run, zoom_episode


def lines(run: Path, tmp_path: Path) -> list[dict[str, Any]]:
    out = tmp_path / "chat.jsonl"
    export(run, "openai", out)
    found = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    for line in found:
        check(line["messages"])
    return found


def check(messages: list[dict[str, Any]]) -> None:
    """What the API asks for: each call is answered, before anything else is said."""
    owed: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in owed
            assert isinstance(message["content"], str)
            owed.remove(message["tool_call_id"])
            continue
        assert not owed
        owed = [c["id"] for c in message.get("tool_calls", [])]
        for made in message.get("tool_calls", []):
            assert made["function"]["name"]
            assert isinstance(json.loads(made["function"]["arguments"]), dict)
    assert not owed


def talk(tmp_path: Path, *replies: Any, **limits: Any) -> list[dict[str, Any]]:
    """The messages after the opening."""
    store, sample = ImageStore(), make_sample()
    plan = make_plan(*TOOLS, sample=sample, store=store, loop=loop(**limits))
    run = write_run(tmp_path, [(sample, run_episode(plan, replies))], store=store)
    (line,) = lines(run, tmp_path)
    found: list[dict[str, Any]] = line["messages"][2:]
    return found


def test_an_episode_is_a_line(tmp_path: Path) -> None:
    store = ImageStore()
    sample, trajectory = zoom_episode(store)
    (line,) = lines(write_run(tmp_path, [(sample, trajectory)], store=store), tmp_path)
    assert list(line) == ["id", "messages", "tools", "metadata"]
    assert line["id"] == anchor("toy", "zoomed", 0, (0, 1))
    assert line["tools"] == [spec.function_schema() for spec in trajectory.tools]
    assert (line["metadata"]["sample_id"], line["metadata"]["counted_as"]) == ("zoomed", "correct")
    speakers = "system user assistant tool user assistant tool user assistant tool assistant"
    assert [message["role"] for message in line["messages"]] == speakers.split()
    assert line["messages"][0]["content"] == trajectory.messages[0].text
    assert line["messages"][-1] == {"role": "assistant", "content": trajectory.last_text}


def test_a_call_is_a_tool_call_and_no_text(tmp_path: Path) -> None:
    made, shown, _ = talk(tmp_path, "I read " + call("read", name="text_0"), answer(1))
    assert made["content"] == "I read"
    (asked,) = made["tool_calls"]
    assert asked["function"] == {"name": "read", "arguments": '{"name": "text_0"}'}
    assert (asked["id"], shown["content"]) == ("call_1", "a cat")


def test_pictures_of_results_come_after_the_last_of_them(tmp_path: Path) -> None:
    said = call("paint", colors=["red"]) + call("paint", colors=["blue", "lime"])
    told = talk(tmp_path, said, answer(1), parallel_calls=True)
    assert [m["role"] for m in told] == ["assistant", "tool", "tool", "user", "assistant"]
    assert [part["type"] for part in told[3]["content"]] == ["image_url"] * 3


def test_what_is_no_call_is_answered_by_the_user(tmp_path: Path) -> None:
    broken = "<tool_call>\n{\n</tool_call>"
    asked, refused, _ = talk(tmp_path, broken, answer(1))
    assert asked == {"role": "assistant", "content": broken}
    assert refused["role"] == "user"
    assert refused["content"][0]["text"].startswith("Error: The tool call could not be read")


def test_a_servers_reasoning_and_refusal_have_their_own_places(tmp_path: Path) -> None:
    given = NativeCall(id="a", name="read", arguments='{"name": "text_0"}')
    replies = [as_reply("", reasoning="hm", calls=(given,)), as_reply("", refusal="I will not")]
    asked, _, last = talk(tmp_path, *replies, dialect="native")
    assert (asked["reasoning_content"], asked["content"]) == ("hm", "")
    assert (last["content"], last["refusal"]) == ("", "I will not")


def with_picture(tmp_path: Path, size: tuple[int, int]) -> Path:
    store = ImageStore()
    sample = make_sample([picture(store, size), "What?"])
    plan = make_plan(sample=sample, store=store)
    return write_run(tmp_path, [(sample, run_episode(plan, [answer(1)]))], store=store)


def test_pictures_lie_beside_the_file_under_the_hash_of_what_they_hold(tmp_path: Path) -> None:
    run = with_picture(tmp_path, (64, 48))
    (line,) = lines(run, tmp_path)
    url = line["messages"][1]["content"][0]["image_url"]["url"]
    assert url.startswith("chat-images/")
    data = (tmp_path / url).read_bytes()
    assert url == f"chat-images/{hashlib.sha256(data).hexdigest()}.png"


@pytest.mark.parametrize("where", ["task", "judge"])
def test_pictures_are_as_the_judge_was_sent_them(tmp_path: Path, where: str) -> None:
    run = with_picture(tmp_path, (80, 60))
    head = json.loads((run / "run.json").read_text())
    most = {"task": 1000, "judge": 9999}[where]
    head["config"]["tasks"]["toy"]["spec"]["loop"] = {"max_pixels": most}
    head["config"]["judge"]["loop"] = {"max_pixels": 1000} if where == "judge" else {}
    (run / "run.json").write_text(json.dumps(head))
    (line,) = lines(run, tmp_path)
    url = line["messages"][1]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO((tmp_path / url).read_bytes())) as image:
        assert image.size == (36, 27)


def test_a_missing_picture_is_said_in_its_place(tmp_path: Path) -> None:
    run = with_picture(tmp_path, (64, 48))
    next((run / "images").glob("*/*")).unlink()
    (line,) = lines(run, tmp_path)
    first, *_ = line["messages"][1]["content"]
    assert first == {"type": "text", "text": "[a picture of 64x48 is missing]"}


def test_numbers_that_json_cannot_hold_become_words(tmp_path: Path) -> None:
    run = write_run(tmp_path, [judged(make_sample(meta={"n": float("inf")}), None)])
    items = run / "samples.jsonl"
    items.write_text(items.read_text().replace('"n":null', '"n":Infinity'))
    (line,) = lines(run, tmp_path)
    assert line["metadata"]["meta"] == {"n": "Infinity"}


def test_documents_and_hostile_texts_make_lines_too(tmp_path: Path) -> None:
    store = ImageStore()
    (paged,) = lines(write_run(tmp_path, [document_episode(store)], store=store), tmp_path)
    assert paged["metadata"]["evidence_seen"] is False
    assert len(lines(hostile_run(tmp_path), tmp_path)) == 13
