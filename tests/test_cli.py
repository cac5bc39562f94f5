"""The command line, end to end, as a user would type it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from armbench.cli import main

ROW = {"id": "one", "instruction": "Say hi", "output_1": "hi", "output_2": "go away", "gold": 1}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "items.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    return file


def test_run_show_score(data, capsys):
    assert main(["run", "--task", "judge_pairs", "--data", str(data), "--model", "first"]) == 0
    out = capsys.readouterr().out
    assert "judge_pairs" in out
    assert "unscored episodes count as wrong" in out
    (run,) = Path("runs").iterdir()
    assert main(["show", str(run)]) == 0
    assert "one" in capsys.readouterr().out
    assert main(["show", str(run), "one"]) == 0
    shown = capsys.readouterr().out
    assert "Say hi" in shown
    assert "Overall Judgment: Answer 1 is better" in shown
    assert main(["score", str(run)]) == 0
    assert "overridden" not in capsys.readouterr().out
    assert main(["score", str(run), "--policy", "exclude"]) == 0
    rescored = capsys.readouterr().out
    assert "policy overridden: unscored episodes are left out in every task" in rescored
    assert "judge_pairs: unscored episodes are left out" in rescored


def test_mini_run_with_the_rules(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["run", "--task", "armbench_mini", "--limit", "4", "--concurrency", "8"])
    assert code == 0
    out = capsys.readouterr().out
    for track in ("fine_grained", "long_document", "instruction"):
        assert f"armbench_mini_{track}" in out
    (run,) = Path("runs").iterdir()
    events = [
        event
        for line in (run / "trajectories.jsonl").read_text().splitlines()
        for event in json.loads(line)["events"]
    ]
    called = {e["call"]["name"] for e in events if e["kind"] == "tool"}
    assert {"image_zoom_in_tool", "doc_page_retrieval_by_query"} <= called
    pictures = [
        part["image"]["sha256"]
        for e in events
        if e["kind"] == "tool"
        for part in e["result"]["parts"]
        if part["type"] == "image"
    ]
    assert pictures
    for sha in pictures:
        assert (run / "images" / sha[:2] / f"{sha}.png").exists()


def test_check_all_bundled(capsys):
    assert main(["check", "armbench_mini"]) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_check_finds_bad_rows(data, capsys):
    data.write_text(json.dumps({**ROW, "gold": 3}) + "\n" + json.dumps(ROW) + "\n")
    assert main(["check", "judge_pairs", "--data", str(data)]) == 1
    assert "FAILED: line 1: gold is 3; the answers are 1 to 2" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["tasks", "tools", "models"])
def test_ls(what, capsys):
    assert main(["ls", what]) == 0
    assert capsys.readouterr().out.startswith(f"{what}:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "nope"], "unknown task 'nope'"),
        (["--task", "judge_pairs"], "pass --data PATH"),
        (["--task", "judge_pairs", "--data", "nope.jsonl"], "no data file"),
        (["--task", "judge_pairs", "--model", "nope"], "unknown model back-end"),
    ],
)
def test_errors_are_one_line_that_names_the_fix(data, arguments, message, capsys):
    if arguments[-1] == "nope" and "--model" in arguments:
        arguments = [*arguments, "--data", str(data)]
    assert main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("armbench: ")
    assert len(error.splitlines()) == 1


def test_debug_gives_the_traceback(data):
    command = [sys.executable, "-m", "armbench.cli", "--debug", "run", "--task", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_unreachable_server_is_said_at_once(data, capsys):
    began = time.monotonic()
    model = "openai,model=m,base_url=http://127.0.0.1:9/v1"
    assert main(["run", "--task", "judge_pairs", "--data", str(data), "--model", model]) == 2
    assert time.monotonic() - began < 10
    assert "no OpenAI-compatible server answers at http://127.0.0.1:9/v1" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_unresolved_rows_give_exit_code_1(data, capsys):
    with data.open("a") as file:
        file.write("{broken\n")
    assert main(["run", "--task", "judge_pairs", "--data", str(data), "--model", "first"]) == 1
    assert "1 rows could not be judged" in capsys.readouterr().out


def test_scripted_judge_from_a_file(data, capsys):
    Path("replies.jsonl").write_text('"<answer>Answer 2</answer>"\n')
    model = "scripted,path=replies.jsonl"
    assert main(["run", "--task", "judge_pairs", "--data", str(data), "--model", model]) == 0
    assert "0.500" in capsys.readouterr().out


def test_an_index_is_built_once_and_used(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pypdfium2")
    monkeypatch.chdir(tmp_path)
    pages = Path("docs") / "report"
    pages.mkdir(parents=True)
    for n, words in enumerate(["apples and pears", "a comet over Ravenna", "tin mines"], 1):
        Image.new("RGB", (300, 400), "white").save(pages / f"{n}.png")
        (pages / f"{n}.txt").write_text(words)
    assert main(["index", "docs", "--out", "index"]) == 0
    assert "1 documents indexed, 0 unchanged: index" in capsys.readouterr().out
    assert main(["index", "docs", "--out", "index"]) == 0
    assert "0 documents indexed, 1 unchanged: index" in capsys.readouterr().out
    row = {"doc": "report", "question": "What was seen over Ravenna?", "answer": "a comet"}
    Path("items.jsonl").write_text(json.dumps({**row, "wrong_answers": ["apples"]}) + "\n")
    Path("mine.yaml").write_text(
        "task: mine\narmbench:\n  loader: document_qa\n  data: items.jsonl\n"
        "  documents: index\n  tools: [document]\n"
    )
    assert main(["run", "--task", "mine.yaml", "--model", "rules"]) == 0
    (run,) = Path("runs").iterdir()
    (episode,) = (json.loads(x) for x in (run / "trajectories.jsonl").read_text().splitlines())
    found = [e["result"]["meta"]["pages"] for e in episode["events"] if e["kind"] == "tool"]
    assert found[0][0] == 2
    assert episode["scores"][0]["counted_as"] == "correct"


def test_index_reports_what_it_skips(tmp_path, capsys):
    pytest.importorskip("pypdfium2")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    assert main(["index", str(tmp_path), "--out", str(tmp_path / "index")]) == 1
    assert "skipped broken.pdf" in capsys.readouterr().err
