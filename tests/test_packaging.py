"""The three ways to use the code: wheel, editable install, bare checkout."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import armbench

ROOT = Path(__file__).parents[1]
PACKAGES = {"models", "tasks", "training", "results"}
PROBE = (
    "import armbench, armbench.models, armbench.tasks, armbench.training, armbench.results;"
    "from armbench.task import resolve; print(len(resolve(['armbench_mini'])))"
)


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**clean, **env},
        cwd="/",
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "armbench"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    options = ["-q", "--no-deps", "--no-build-isolation", "-w", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_wheel_holds_code_and_data_and_runs_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert "armbench/cli.py" in names
    assert "armbench/tasks/mini/fine_grained.yaml" in names
    assert "armbench/tasks/judge_task.inc" in names
    assert any(n.startswith("armbench/tasks/mini/data/documents/") for n in names)
    assert not any(n.startswith(("tests/", "benchmarks/", "armbench/tests/")) for n in names)
    first = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    probe = python(f"{first}; {PROBE}; print(armbench.__file__)")
    assert probe.returncode == 0, probe.stderr
    count, where = probe.stdout.split()
    assert count == "3"
    assert where.startswith(str(tmp_path))


def test_bare_checkout_runs():
    probe = python(PROBE, PYTHONPATH=str(ROOT))
    assert probe.returncode == 0, probe.stderr
    assert probe.stdout.strip() == "3"


def test_editable_install_runs():
    assert python(PROBE).stdout.strip() == "3"


def test_submodules_have_one_name():
    """Importing ``models`` beside ``armbench.models`` would make every class twice."""
    for path in ROOT.rglob("*.py"):
        top = path.relative_to(ROOT).parts[0]
        if top.startswith(".venv") or top == "build":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            tops = {name.split(".")[0] for name in names}
            assert not tops & PACKAGES, f"{path}: import armbench.{min(tops & PACKAGES)} instead"


def test_core_knows_no_framework():
    """Imports go down: the core never imports models, tasks or results at module level."""
    heavy = {"torch", "transformers", "vllm", "lmms_eval", "vlmeval", "datasets"}
    for path in (ROOT / "armbench").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = (
                    [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                )
                for name in names:
                    top = str(name).split(".")
                    assert top[0] not in heavy, f"{path} imports {name}"
                    assert top[:2] not in (["armbench", "models"], ["armbench", "results"]), path


def test_import_is_quick_and_light():
    code = (
        "import sys, armbench; heavy = {'torch', 'pandas', 'openai', 'pydantic', 'numpy', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert python(code).stdout.strip() == "[]"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['armbench', '--help']\n"
        "from armbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'openai', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    assert python(code).stdout.splitlines()[-1] == "[]"


def test_public_names_are_those_listed():
    assert armbench.__all__ == sorted(set(armbench.__all__))
    for name in armbench.__all__:
        assert getattr(armbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        armbench.nonsense  # noqa: B018


def test_no_file_is_longer_than_400_lines():
    for folder in ("armbench", "models", "tasks", "training", "results", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 400, path
