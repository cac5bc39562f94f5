"""Which runs stand in a table, and what they are called there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from armbench.errors import ConfigError
from armbench.results.rows import expand, find, labels, read, together
from armbench.runlog import write_json
from tests.results.boards import run, run_dir

# --- finding ------------------------------------------------------------------------------


def test_a_folder_of_runs_stands_for_the_runs_in_it_each_once(tmp_path: Path) -> None:
    b, a = run_dir(tmp_path, "b"), run_dir(tmp_path, "a")
    (tmp_path / "lmms-results").mkdir()
    assert expand([tmp_path]) == [a, b]
    assert expand([b, tmp_path, tmp_path / "lmms-results" / ".." / a.name]) == [b, a]


def test_what_is_no_folder_of_runs_stands_for_itself(tmp_path: Path) -> None:
    results = tmp_path / "lmms-results"
    results.mkdir()
    nothing = tmp_path / "nothing"
    run = run_dir(tmp_path, "a")
    run_dir(run, "inside")
    assert expand([results, nothing, run]) == [results, nothing, run]


def test_runs_that_cannot_be_read_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good, empty, newer = (
        run_dir(tmp_path, name, n) for name, n in (("g", "12"), ("e", ""), ("n", "1"))
    )
    write_json(newer / "run.json", {"schema_version": 99, "config": {}})
    tables, problems = read([tmp_path, tmp_path / "absent"])
    assert [table.path for table in tables] == [good]
    assert len(problems) == 3
    for path, problem in zip((empty, newer, tmp_path / "absent"), problems, strict=True):
        assert str(path) in problem


def test_nothing_to_read_is_an_error_that_names_every_reason(tmp_path: Path) -> None:
    run_dir(tmp_path, "empty", "")
    with pytest.raises(ConfigError, match=r"(?s)no finished episode.*absent"):
        read([tmp_path, tmp_path / "absent"])


# --- grouping -----------------------------------------------------------------------------


def test_runs_stand_together_if_tasks_join_them() -> None:
    a, ab, c, b = (run(name, {task: "+" for task in name}) for name in ("a", "ab", "c", "b"))
    assert together([a, b, c]) == [[a], [b], [c]]
    assert together([c, b, a, ab]) == [[b, a, ab], [c]]
    assert together([c]) == [[c]]


# --- names --------------------------------------------------------------------------------


def judge(name: str, where: str, **settings: Any) -> Any:
    return run(name, path=Path(where), config={"judge": {"loop": settings}, "seed": 0})


def test_judges_of_different_names_keep_them() -> None:
    assert labels([judge("a", "x"), judge("b", "y", max_turns=4)]) == ["a", "b"]


def test_equal_names_are_told_apart_by_what_differs_in_the_configuration() -> None:
    runs = [
        judge("a", "x"),
        judge("a", "y", max_turns=4),
        judge("a", "z", max_turns=4, dialect="native"),
        judge("b", "w", max_turns=9),
    ]
    assert labels(runs) == ["a", "a (max_turns=4)", "a (max_turns=4, dialect=native)", "b"]


def test_equal_configurations_are_told_apart_by_folder_and_else_by_path() -> None:
    assert labels([judge("a", "r/x"), judge("a", "r/x-2")]) == ["a (x)", "a (x-2)"]
    assert labels([judge("a", "r/x"), judge("a", "s/x")]) == ["a (r/x)", "a (s/x)"]


def test_many_differences_make_no_name() -> None:
    settings = {f"k{n}": n for n in range(9)}
    assert labels([judge("a", "r/x"), judge("a", "r/y", **settings)]) == ["a (x)", "a (y)"]
    long = "z" * 1000
    named = labels([judge("a", "r/x"), judge("a", "r/y", prompt=long)])
    assert max(map(len, named)) < 60


@pytest.mark.parametrize("wanted", ["a (max_turns=4)", "runs/y", "./runs/../runs/y", "y"])
def test_a_run_is_found_by_label_path_or_folder(wanted: str) -> None:
    runs = [judge("a", "runs/x"), judge("a", "runs/y", max_turns=4), judge("b", "runs/z")]
    assert find(wanted, runs, labels(runs)) == 1
    assert find("b", runs, labels(runs)) == 2


def test_a_name_of_no_run_or_of_several_is_an_error_that_names_the_rows() -> None:
    runs = [judge("a", "runs/x", n=1), judge("a", "runs/y", n=2)]
    with pytest.raises(ConfigError, match=r"several runs are called 'a'.*a \(n=1\), a \(n=2\)"):
        find("a", runs, labels(runs))
    with pytest.raises(ConfigError, match="no run is called 'c'"):
        find("c", runs, labels(runs))
