"""The teacher plays by the rules: real tools, and verdicts that the evidence gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from armbench.errors import ConfigError
from armbench.evaluate import read_records
from armbench.evidence import seen
from armbench.models.hf_load import load_processor
from armbench.runlog import RunDir
from armbench.score import Record
from armbench.training.encode import encode
from armbench.training.filters import brought_evidence, well_formed
from armbench.training.recipe import Recipe
from armbench.training.reproduce import _Found
from armbench.training.sources import RunSource
from armbench.training.start import TASKS, check_apart, demonstrate, make_data, make_start
from armbench.training.teacher import NOTHING, SEARCHED, _passage, compared, row_for
from armbench.trajectory import Trajectory

pytest.importorskip("reportlab")

RECIPE = Recipe(name="toy", model="start", loop={"max_pixels": 50176, "tool_text_limit": 1200})
MANY = dict.fromkeys(TASKS, 8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("made") / "data", 5, 8)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return demonstrate(data, tmp_path_factory.mktemp("runs"), RECIPE, 0.0, MANY)


def records(runs: list[Path]) -> list[Record]:
    return [record for run in runs for record in read_records(RunDir(run))]


def test_every_demonstration_is_right_well_formed_and_saw_evidence(runs: list[Path]) -> None:
    found = records(runs)
    assert len(found) == 24
    for record in found:
        assert record.score.counted_as == "correct"
        assert well_formed(record.trajectory.last_text)
        if record.sample.category in SEARCHED:
            assert not called(record.trajectory)
            continue
        assert brought_evidence(record.trajectory, record.sample)
        if "long_document" not in record.sample.task:  # an answer may be on no page at all
            assert seen(record.trajectory.events, record.sample).enough


def test_what_it_says_of_a_checker_is_what_the_checker_said(runs: list[Path]) -> None:
    for record in records(runs):
        checks = [e.result.meta.get("check") for e in record.trajectory.events if e.kind == "tool"]
        if "instruction" in record.sample.task:
            told = f"{sum(map(bool, checks))} of {len(checks)}."
            assert told in record.trajectory.last_text


def test_it_repeats_what_it_was_shown_word_by_word(runs: list[Path]) -> None:
    told = 0
    for record in records(runs):
        events = record.trajectory.events
        shown = [p for m in record.trajectory.messages for p in m.parts]
        shown += [p for e in events if e.kind == "tool" for p in e.result.parts]
        text = "\n".join(p.text for p in shown if p.type == "text")
        said = "\n".join(e.reply.text for e in events if e.kind == "model")
        lines = re.findall(r"^\d\. .*?(?=</think>|$)", said, re.MULTILINE)
        lines += re.findall(r"^=== Answer.*? ===\n.+?(?==== Answer|\n)", said, re.MULTILINE)
        assert all(line in text for line in lines)
        told += len(lines)
        if found := re.search(r"I read:\n(.*)$", said, re.MULTILINE):
            assert found[1] in text
    assert told > 24


def test_the_heading_of_the_answer_that_says_what_was_wanted_comes_last() -> None:
    heads = ["=== Answer 1 ===\n", "=== Answer 2 ===\n"]
    claims = [("It is a plus.", "plus"), ("cross", "cross")]
    both = (
        "=== Answer 1 ===\nIt is a plus.\nplus=== Answer 1 ===\n"
        "=== Answer 2 ===\ncross=== Answer 2 ===\n"
    )
    assert compared(heads, claims, "cross") == f"{both}cross=== Answer 2 ===\n"
    assert compared(heads, claims, "plus") == f"{both}plus=== Answer 1 ===\n"
    assert compared(heads, claims, "circle") == f"{both}circle\n"


def test_few_episodes_that_found_nothing_are_learnt_from(runs: list[Path]) -> None:
    for run in runs:
        played = [row[0].last_text for row in RunSource(run)]
        learnt = [row[0].last_text for row in _Found(run)]
        lost = [text for text in played if NOTHING in text]
        assert [t for t in learnt if NOTHING not in t] == [t for t in played if NOTHING not in t]
        assert [t for t in learnt if NOTHING in t] == lost[4::5]


def test_of_lessons_as_few_without_a_call_are_learnt_from(runs: list[Path]) -> None:
    for run in runs:
        plain = [row[0] for row in RunSource(run) if not called(row[0])]
        learnt = [row[0] for row in _Found(run, called=True) if not called(row[0])]
        assert learnt == plain[4::5]


def called(played: Trajectory) -> bool:
    return any(event.kind == "tool" for event in played.events)


@pytest.mark.parametrize(
    ("question", "value", "words"),
    [
        ("What was it at Pelton in 1966?", "632", "Pelton 551 632\n1965 551\n1966 632"),
        ("What was it in 1965 for Garton?", "772", "Garton 772 486\n1965 772"),
        ("What was it at Pelton in 1966?", "486", ""),
        ("Which had the most in 1966?", "Pelton", ""),
    ],
)
def test_a_row_is_read_up_to_the_year(question: str, value: str, words: str) -> None:
    text = "Table: use\nStation 1965 1966\nGarton 772 486\nPelton 551 632\nNew windows"
    assert row_for(question, value, text) == words


@pytest.mark.parametrize(
    ("query", "value", "words"),
    [
        ("valves Pelton 1968", "317", ""),
        ("valves Pelton 1966", "350", ""),
        ("clerk of Pelton", "Ada Linvik", "clerk of\nPelton is Ada Linvik"),
    ],
)
def test_a_passage_goes_from_what_was_asked_to_the_answer(
    query: str, value: str, words: str
) -> None:
    text = (
        "It stood at 350 in 1966. For 1968, Pelton put the number\nof valves at 317. "
        "The clerk of\nPelton is Ada Linvik."
    )
    assert _passage(query, value, text) == words


def test_without_tools_none_are_offered(data: Path, tmp_path: Path) -> None:
    for record in records(demonstrate(data, tmp_path, RECIPE, 1.0, MANY)):
        assert not record.trajectory.tools
        assert record.score.counted_as == "correct"


def test_a_share_is_judged_directly(data: Path, tmp_path: Path) -> None:
    found = records(demonstrate(data, tmp_path, RECIPE, 0.5, MANY))
    direct = sum(not any(e.kind == "tool" for e in r.trajectory.events) for r in found)
    assert 6 <= direct <= 18


def test_training_data_that_is_evaluation_data_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="evaluation set"):
        make_data(tmp_path / "same", 2718, 4)
    check_apart(data)
    manifest = json.loads((data / "manifest.json").read_text("utf-8"))
    import armbench.tasks.mini as mini

    theirs = json.loads((Path(mini.__file__).parent / "data/manifest.json").read_text("utf-8"))
    picture = next(name for name in theirs["files"] if name.startswith("images/scene"))
    manifest["files"]["images/leaked.png"] = theirs["files"][picture]
    leaky = tmp_path / "leaky"
    leaky.mkdir()
    for file in data.glob("*.jsonl"):
        (leaky / file.name).write_bytes(file.read_bytes())
    (leaky / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ConfigError, match="shares 1 items or files"):
        check_apart(leaky)


def test_the_start_reads_its_prompts_in_few_tokens(runs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    start = make_start(runs, tmp_path / "start", 0)
    processor = load_processor(start)
    from armbench.episode import LoopConfig

    loop = LoopConfig.model_validate(dict(RECIPE.loop))
    for run in runs:
        for record in read_records(RunDir(run)):
            encoded = encode(record.trajectory, processor, RunDir(run).images, loop)
            system = record.trajectory.messages[0].parts[0]
            assert len(processor.tokenizer.encode(system.text)) < 200
            assert encoded.length < 1600
    read = processor.tokenizer.tokenize
    for word in ("Pelton", "Ada", "632", "1966", ",254", "rising diagonal"):
        assert len(read(word)) == 1, word
        for text in (f"for {word}.", f"at\n{word}\n"):
            assert read(word)[0] in read(text), text
    again = make_start(runs, tmp_path / "again", 0)
    for file in start.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()
