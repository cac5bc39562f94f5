"""What differs between two runs' making, and that nothing else is said to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from armbench.cli import main
from armbench.errors import ConfigError
from armbench.results.configs import diff_config, diff_text
from armbench.runlog import RunDir

CONFIG: dict[str, Any] = {
    "tasks": {"toy": {"spec": {"tools": ["image"], "loop": {"max_turns": 8}}, "data": "aaaa"}},
    "judge": {"backend": "x", "tools": None},
    "prompt": "1111",
}


def made(parent: Path, name: str, change: dict[str, Any] | None = None) -> Path:
    """A run directory; `change` replaces keys of its configuration, dotted."""
    config = json.loads(json.dumps(CONFIG))
    for key, value in (change or {}).items():
        *path, last = key.split(".")
        at = config
        for step in path:
            at = at[step]
        at[last] = value
    run = RunDir.create(parent, name, config)
    run.close()
    return run.path


def test_runs_made_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    assert diff_config(a, b) == []
    assert main(["diff-config", str(a), str(b)]) == 0
    assert capsys.readouterr().out == "same configuration\n"


def test_settings_hashes_and_versions_by_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"tasks.toy.spec.loop.max_turns": 3, "tasks.toy.data": "bbbb", "judge.tools": []}
    a, b = made(tmp_path, "a"), made(tmp_path, "b", change)
    head = json.loads((b / "run.json").read_text())
    head["versions"]["pillow"] = "0.1"
    (b / "run.json").write_text(json.dumps(head))
    found = diff_config(a, b)
    assert [key for key, *_ in found] == [
        "config.judge.tools",
        "config.tasks.toy.data",
        "config.tasks.toy.spec.loop.max_turns",
        "versions.pillow",
    ]
    assert found[0][1:] == ("(not set)", "[]")
    assert found[1][1:] == ("aaaa", "bbbb")
    assert found[2][1:] == ("8", "3")
    assert main(["diff-config", str(a), str(b)]) == 1
    out = capsys.readouterr().out
    assert "4 keys differ:" in out
    assert "config.tasks.toy.data\n  - aaaa\n  + bbbb\n" in out


def test_long_values_are_shortened_where_they_differ(tmp_path: Path) -> None:
    a = made(tmp_path, "a", {"prompt": "x" * 500 + "cat" + "y" * 500})
    b = made(tmp_path, "b", {"prompt": "x" * 500 + "dog" + "y" * 500})
    ((_, old, new),) = diff_config(a, b)
    assert "xcaty" in old
    assert "xdogy" in new
    assert len(old) < 100
    ((_, old, new),) = diff_config(a, made(tmp_path, "c", {"prompt": "short"}))
    assert old == "x" * 60 + "…"
    assert new == "short"


def test_foreign_values_stand_inert(tmp_path: Path) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b", {"judge.backend": "\x1b[2J\u202e\nkey"})
    lines = diff_text(a, b, diff_config(a, b)).splitlines()
    assert len(lines) == 6
    assert not {"\x1b", "\u202e"} & set("".join(lines))


@pytest.mark.parametrize(
    ("name", "said"),
    [("hosted", "results of other hosts keep no configuration"), ("gone", "does not exist")],
)
def test_what_is_no_run_says_so(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "hosted").mkdir()
    for pair in ((made(tmp_path, "a"), tmp_path / name), (tmp_path / name, made(tmp_path, "b"))):
        with pytest.raises(ConfigError, match=said):
            diff_config(*pair)


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    (b / "run.json").write_text('{"schema_version": 99}')
    with pytest.raises(ConfigError, match="newer armbench"):
        diff_config(a, b)
