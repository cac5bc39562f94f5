"""Keys and ends of a log's lines are those that reading the whole lines gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armbench.errors import ConfigError
from armbench.logscan import Items, Scan, known_hashes
from armbench.trajectory import Judgement, ModelEvent, StopEvent, ToolEvent, Trajectory
from armbench.types import Reply, Sample, TextPart, ToolCall, ToolResult

STOP = {"kind": "stop", "reason": "error", "detail": ""}


def line(sample_id: str = "a", reason: str = "answered", **more: object) -> str:
    stop = StopEvent(reason=reason)  # type: ignore[arg-type]
    events = (*more.pop("events", ()), stop)  # type: ignore[misc]
    fields = {"sample_id": sample_id, "sample_hash": "0f", "task": "t", **more}
    record = Trajectory(events=events, judgement=Judgement(parse="missing"), **fields)
    return record.model_dump_json() + "\n"


def item(name: str, text: str = "?") -> Sample:
    return Sample(id=name, task="t", mode="open", format="f", question=(TextPart(text=text),))


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(lines).encode())
    return path


TEXTS = st.text(max_size=20) | st.sampled_from(['"\\', "\\", json.dumps(STOP), 'x"},{"kind":'])


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.lists(st.integers(0, 9), max_size=4), st.booleans(), st.booleans())
def test_a_line_says_what_its_record_says(
    tmp_path_factory, name, text, order, broke, spoof
) -> None:
    """Also where texts, or the arguments of a call, look like the end of an episode."""
    arguments = {"a": STOP, "b": [STOP]} if spoof else {}
    events = (
        ModelEvent(reply=Reply(text=text), kept=0),
        ToolEvent(
            call=ToolCall(id="1", arguments=arguments, raw=text), result=ToolResult(meta=arguments)
        ),
    )
    whole = line(
        name,
        "error" if broke else "answered",
        task=text,
        order=tuple(order),
        repeat=3,
        events=events,
    )
    file = write(tmp_path_factory.mktemp("log") / "t.jsonl", whole)
    record = Trajectory.model_validate_json(whole)
    assert {key: place.broke for key, place in Scan().look([file]).items()} == {record.key: broke}


def test_a_line_of_another_writer_is_read_whole(tmp_path: Path) -> None:
    spaced = json.dumps(json.loads(line("a", "error")), indent=None) + "\n"
    file = write(tmp_path / "t.jsonl", spaced)
    ((key, place),) = Scan().look([file]).items()
    assert (key[0], place.broke) == ("a", True)


@pytest.mark.parametrize(
    "broken",
    [
        *(b"not json\n", b"[]\n", (line("a")[:90] + line("b")).encode(), b"\n"),
        line("C:item").replace("C:", "C:\\").encode(),  # no escape that JSON has
        line("a?b").encode().replace(b"a?b", b"a\xffb"),  # no UTF-8
        line("a").replace('"order":[]', '"order":[,]').encode(),
        line("a").replace('"repeat":0', '"repeat":' + "9" * 5000).encode(),
    ],
)
def test_a_line_that_cannot_be_read_is_said(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(line("x").encode() + broken)
    with pytest.raises(ConfigError, match=r"t\.jsonl"):
        Scan().look([file])


def test_of_one_writer_the_last_line_counts_and_of_several_one_that_did_not_break(
    tmp_path: Path,
) -> None:
    one = write(tmp_path / "1.jsonl", line("a"), line("a", "error"), line("b"), line("c", "error"))
    two = write(tmp_path / "2.jsonl", line("a"), line("b", "error"), line("c", "error"), "torn")
    found = Scan().look([one, two])
    assert {key[0]: (place.file, place.broke) for key, place in found.items()} == {
        "a": (two, False),
        "b": (one, False),
        "c": (two, True),
    }


def test_looking_again_reads_what_was_added(tmp_path: Path, monkeypatch) -> None:
    one = write(tmp_path / "1.jsonl", line("a"), line("b", "error"))
    two = write(tmp_path / "2.jsonl", line("c"))
    scan = Scan()
    scan.look([one, two])
    seen = []
    monkeypatch.setattr(
        "armbench.logscan._head", lambda x, f: seen.append(x) or (("k", "", 0, ()), 0)
    )
    with one.open("a") as handle:
        handle.write(line("b"))
    scan.look([one, two])
    assert seen == [line("b").encode()]


def test_a_log_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    file = write(tmp_path / "1.jsonl", line("a"))
    scan = Scan()
    assert len(scan.look([file])) == 1
    for lines in ((line("b" * 50), line("c")), (line("d"),)):
        write(file, *lines)
        assert set(scan.look([file])) == set(Scan().look([file]))


def test_known_hashes_are_those_of_the_items(tmp_path: Path) -> None:
    items = [item("a"), item("b"), item("b", "another"), item('c"\\'), item("d")]
    file = write(tmp_path / "s.jsonl", *(i.model_dump_json() + "\n" for i in items))
    for logged in ([], items[:1], items[:2], items[:3], items):
        keys = [(i.id, i.hash, 0, ()) for i in logged]
        assert known_hashes([file], keys) == {i.hash for i in items}
    # One that the log names but nobody kept has to be kept again.
    assert known_hashes([file], [("e", "ff", 0, ())]) == {i.hash for i in items}


def test_items_are_read_when_asked_for_and_few_are_kept(tmp_path: Path) -> None:
    items = [item(str(n)) for n in range(200)]
    file = write(tmp_path / "s.jsonl", *(i.model_dump_json() + "\n" for i in items))
    found = Items([file])
    assert dict(found) == {i.hash: i for i in items}
    assert len(found._kept) <= 64
    assert found.get("nothing") is None
