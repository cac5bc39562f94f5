"""Logs that inspect itself reads, with everything an episode holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from armbench.evaluate import rescore
from armbench.images import ImageStore
from armbench.results.export import export
from armbench.results.runs import anchor
from armbench.runlog import RunDir
from armbench.score import Record
from armbench.trajectory import Failure, ModelEvent, Timing
from armbench.types import Reply, Sample, ToolSpec, Usage
from tests.helpers import (
    TOOLS,
    answer,
    as_reply,
    call,
    loop,
    make_plan,
    make_sample,
    make_trajectory,
    run_episode,
)
from tests.results.viewing import hostile_run, judged, write_run, zoom_episode

inspect_log = pytest.importorskip("inspect_ai.log", reason="no inspect-ai")


def logs(run: Path, folder: Path) -> dict[str, Any]:
    """The logs by task, read by inspect, pictures in their places."""
    found = {}
    for path in export(run, "inspect", folder).paths:
        log = inspect_log.read_eval_log(str(path), resolve_attachments=True)
        found[log.eval.task] = log
    return found


def only(tmp_path: Path, sample: Sample, trajectory: Any, store: ImageStore | None = None) -> Any:
    """The sample of a run of one episode."""
    run = write_run(tmp_path, [(sample, trajectory)], store=store)
    (log,) = logs(run, tmp_path / "logs").values()
    (found,) = log.samples
    return found


def talk(tmp_path: Path, *replies: Any, **limits: Any) -> Any:
    sample, store = make_sample(), ImageStore()
    plan = make_plan(*TOOLS, sample=sample, store=store, loop=loop(**limits))
    return only(tmp_path, sample, run_episode(plan, replies), store)


def test_each_task_has_a_log_with_the_runs_own_figures(tmp_path: Path) -> None:
    episodes = [judged(make_sample(id=f"i{n}", task="one"), 1 + n % 2) for n in range(20)]
    episodes += [judged(make_sample(id="j", task="two/../x", mode="single"), None)]
    run = write_run(tmp_path, episodes)
    found = logs(run, tmp_path / "logs")
    figures = rescore(run).report.tasks
    assert set(found) == {"one", "two/../x"}
    for task, log in found.items():
        assert log.status == "success"
        (score,) = log.results.scores
        metrics = {name: metric.value for name, metric in score.metrics.items()}
        assert metrics["accuracy"] == figures[task].overall.accuracy
        assert metrics["accuracy_low"] == figures[task].overall.low
        assert metrics["unscored"] == score.unscored_samples == figures[task].unscored
        assert log.eval.model == "toy-judge"
    assert len(found["one"].samples) == found["one"].results.total_samples == 20
    assert sorted(path.parent for path in (tmp_path / "logs").iterdir()) == [tmp_path / "logs"] * 2


def test_a_sample_is_named_by_item_and_order_and_repeats_are_epochs(tmp_path: Path) -> None:
    pair, single = make_sample(id="p"), make_sample(id="s", mode="single")
    episodes = [
        judged(pair, 1, order=(0, 1)),
        judged(pair, 1, order=(1, 0)),
        judged(single, True, repeat=2),
    ]
    (log,) = logs(write_run(tmp_path, episodes), tmp_path / "logs").values()
    names = {(sample.id, sample.epoch) for sample in log.samples}
    assert names == {("p [1,2]", 1), ("p [2,1]", 1), ("s", 3)}
    uuids = {sample.uuid for sample in log.samples}
    assert anchor("toy", "p", 0, (1, 0)) in uuids


def test_names_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a\\b", "x" * 500 + "1", "x" * 500 + "2", "\x00", "\\x00"]
    episodes = [judged(make_sample(id=name, mode="single"), True) for name in names]
    changed = make_sample(id="a_b", mode="single", category="changed")
    run = write_run(tmp_path, [*episodes, judged(changed, True)])
    (log,) = logs(run, tmp_path / "logs").values()
    assert len({sample.id for sample in log.samples}) == 8
    assert {sample.metadata["sample_id"] for sample in log.samples} == set(names)
    with ZipFile(next((tmp_path / "logs").iterdir())) as file:
        entries = [name for name in file.namelist() if name.startswith("samples/")]
    assert all(name.count("/") == 1 and len(name) < 200 for name in entries)


def test_the_conversation_is_there_with_pictures(tmp_path: Path) -> None:
    store = ImageStore()
    sample, trajectory = zoom_episode(store)
    found = only(tmp_path, sample, trajectory, store)
    speakers = "system user assistant tool assistant tool assistant tool assistant"
    assert [message.role for message in found.messages] == speakers.split()
    picture = found.messages[1].content[0].image
    assert picture.startswith("data:image/png;base64,")
    assert found.input[0].content[0].image == picture
    assert "What is in the corner?" in found.input[0].text
    asked, shown = found.messages[2:4]
    assert [part.type for part in asked.content] == ["reasoning"]
    assert asked.tool_calls[0].arguments["image"] == "original_image"
    assert (shown.tool_call_id, shown.function) == ("call_1", "image_zoom_in_tool")
    assert shown.content[0].image not in ("", picture)
    assert found.messages[7].error.message.startswith("There is no image named")
    assert found.output.completion.endswith("</answer>")


def test_a_picture_is_kept_once_however_often_it_is_shown(tmp_path: Path) -> None:
    store = ImageStore()
    run = write_run(tmp_path, [zoom_episode(store)], store=store)
    (path,) = export(run, "inspect", tmp_path / "logs").paths
    (sample,) = inspect_log.read_eval_log(str(path)).samples
    pictures = [text for text in sample.attachments.values() if text.startswith("data:")]
    assert len(pictures) == 3


def test_events_tell_what_happened_when(tmp_path: Path) -> None:
    store = ImageStore()
    sample, trajectory = zoom_episode(store)
    waits = (1.0, 0.5, 2.0, 0.0, 0.25, 0.0, 3.0, 0.0)
    timing = Timing(started=1000.0, seconds=7.0, model_seconds=6.0, tool_seconds=0.5, waits=waits)
    found = only(tmp_path, sample, trajectory.model_copy(update={"timing": timing}), store)
    kinds = "sample_init model tool model tool model tool model info score"
    assert [event.event for event in found.events] == kinds.split()
    times = [event.timestamp.timestamp() - 1000 for event in found.events]
    assert times == [0, 0, 1, 1.5, 3.5, 3.5, 3.75, 3.75, 6.75, 6.75]
    turn, tool = found.events[1:3]
    assert [message.role for message in turn.input] == ["system", "user"]
    assert turn.output.metadata == {"written after the call, thrown away": " said too early"}
    assert (turn.output.time, tool.working_time) == (1.0, 0.5)
    assert tool.message_id == found.messages[3].id
    assert (found.total_time, found.working_time) == (7.0, 6.5)


@pytest.mark.parametrize(
    ("verdict", "value", "counted"),
    [(1, "C", "correct"), (2, "I", "wrong"), (None, "N", "missing")],
)
def test_a_score_says_what_the_episode_counts_as(
    tmp_path: Path, verdict: Any, value: str, counted: str
) -> None:
    found = only(tmp_path, *judged(make_sample(), verdict))
    score = found.scores["verdict"]
    assert score.value == value
    assert score.explanation.startswith(f"{counted}. Verdict: ")
    assert score.metadata["counted_as"] == counted
    assert (score.metadata["gold"], score.metadata["verdict"]) == (1, verdict)
    assert found.target == "Answer 1 (no. 1 in the data set)"
    assert score.answer == (verdict and f"Answer {verdict} (no. {verdict} in the data set)")


def test_an_item_without_label_is_not_wrong(tmp_path: Path) -> None:
    found = only(tmp_path, *judged(make_sample(gold=None), 1))
    assert found.scores["verdict"].value == "N"
    assert found.target == "no label"


def test_what_broke_is_an_error(tmp_path: Path) -> None:
    failure = Failure(boundary="provider", type="Boom", message="gone")
    found = talk(tmp_path, failure)
    assert found.error.message == "provider: Boom: gone"
    assert found.scores["verdict"].reason == "infrastructure"
    assert found.output.choices == []


def test_limits_are_told(tmp_path: Path) -> None:
    again = call("read", name="text_0")
    found = talk(tmp_path, again, again, max_turns=1)
    assert (found.limit.type, found.limit.reason.split(":")[0]) == ("custom", "max_turns")
    kinds = [event.event for event in found.events]
    assert kinds == "sample_init model tool info model sample_limit info score".split()


def test_a_call_that_cannot_be_read_keeps_its_reason(tmp_path: Path) -> None:
    found = talk(tmp_path, "<tool_call>{</tool_call>", answer(1))
    (made,) = found.messages[2].tool_calls
    assert made.parse_error.startswith("The tool call could not be read")
    assert found.messages[3].error.type == "parsing"


def test_tokens_refusals_and_reasoning(tmp_path: Path) -> None:
    spent = Usage(input_tokens=7, output_tokens=5, cached_tokens=2)
    reply = Reply(
        text="", reasoning="hm", refusal="no", finish_reason="content_filter", usage=spent
    )
    found = talk(tmp_path, reply)
    assert (found.output.error, found.output.stop_reason) == ("no", "content_filter")
    assert found.output.message.content[0].reasoning == "hm"
    used = found.model_usage["toy-judge"]
    assert (used.input_tokens, used.output_tokens, used.input_tokens_cache_read) == (7, 5, 2)
    assert used.total_tokens == 12


def test_a_schema_that_inspect_cannot_say_is_kept_as_it_is(tmp_path: Path) -> None:
    spec = ToolSpec(name="odd", description="d", parameters={"type": "array"})
    event = ModelEvent(reply=as_reply(answer(1)), kept=0)
    trajectory = make_trajectory(make_sample(), 1, events=(event,))
    found = only(tmp_path, make_sample(), trajectory.model_copy(update={"tools": (spec,)}))
    (tool,) = found.events[1].tools
    assert tool.options == {"parameters": {"type": "array"}}


def test_a_log_is_whole_or_not_there(tmp_path: Path, monkeypatch: Any) -> None:
    run = write_run(tmp_path, [judged(make_sample(id=f"i{n}"), 1) for n in range(3)])
    export(run, "inspect", tmp_path / "logs")
    before = {path: path.read_bytes() for path in (tmp_path / "logs").iterdir()}

    def torn(run: RunDir) -> Any:
        yield Record(*records[0])
        raise OSError(5, "Input/output error", "disk")

    from armbench.results import export_inspect

    records = [(r.sample, r.trajectory, r.score) for r in export_inspect.read_records(RunDir(run))]
    monkeypatch.setattr(export_inspect, "read_records", torn)
    with pytest.raises(Exception, match=r"cannot export to .*logs: Input/output error"):
        export(run, "inspect", tmp_path / "logs")
    assert {path: path.read_bytes() for path in (tmp_path / "logs").iterdir()} == before


def test_nothing_in_a_log_is_the_time_of_writing(tmp_path: Path) -> None:
    run = write_run(tmp_path, [judged(make_sample(), 1)])
    (path,) = export(run, "inspect", tmp_path / "logs").paths
    with ZipFile(path) as file:
        assert {info.date_time[0] for info in file.infolist()} == {1980}
    assert path.name.startswith("1970-01-01T00-00-00+00-00_toy_")


def test_hostile_episodes_can_be_read_back(tmp_path: Path) -> None:
    (log,) = logs(hostile_run(tmp_path), tmp_path / "logs").values()
    assert len(log.samples) == 13
    assert {sample.completed_at[:4] for sample in log.samples} == {"2100"}
