"""The commands on finished runs; modules are imported where they are used."""

from __future__ import annotations

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from armbench.cli import positive
from armbench.errors import ConfigError

Commands = argparse._SubParsersAction  # type: ignore[type-arg]


def add_commands(commands: Commands) -> None:
    """Add every command of this package to the command line."""
    _add_leaderboard(commands)
    _add_compare(commands)
    _add_diff_config(commands)
    _add_analyze(commands)
    _add_view(commands)
    _add_replay(commands)
    _add_export(commands)
    _add_import(commands)


def _command(commands: Commands, name: str, help: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _width() -> int:
    """Columns to print in: a terminal has a width; a pipe gets the same bytes everywhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 120


def _needs(extra: str, *modules: str) -> None:
    """Say how to install what is missing before any work is done.

    Raises:
        ConfigError: If a module is missing.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise ConfigError(f"this command needs {names}: pip install 'armbench[{extra}]'")


# --- leaderboard --------------------------------------------------------------------------


_LEADERBOARD = """\
  armbench leaderboard runs/                              every run in a folder
  armbench leaderboard runs/A runs/B --baseline runs/B    with marks of significance
  armbench leaderboard runs/ lmms-results/ --published    beside published figures
  armbench leaderboard runs/ --prices prices.yaml --format html --out board.html

RUN is a run directory, a folder of run directories, a result folder of lmms-eval or an output
folder of VLMEvalKit. A price file maps names of judges (* and ? allowed) to prices per million
tokens: {"gpt-4o*": {input: 2.5, cached: 1.25, output: 10}}, or CSV: model,input,cached,output."""


def _add_leaderboard(commands: Commands) -> None:
    parser = _command(commands, "leaderboard", "compare judges in a table", _LEADERBOARD)
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--published", action="store_true", help="add published figures, apart")
    parser.add_argument(
        "--baseline", metavar="RUN", help="row to compare the others with: a name or path"
    )
    parser.add_argument("--prices", type=Path, metavar="FILE", help="price file, see below")
    parser.add_argument(
        "--policy",
        choices=["wrong", "exclude"],
        help="count unscored episodes as wrong, or leave them out (default: as each run says)",
    )
    parser.add_argument(
        "--format", choices=["table", "md", "latex", "html", "csv"], default="table"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there")
    parser.set_defaults(function=_leaderboard)


def _leaderboard(args: argparse.Namespace) -> int:
    from armbench.results.leaderboard import boards
    from armbench.results.prices import read_prices
    from armbench.results.published import published
    from armbench.results.rows import read
    from armbench.results.tables import render

    prices = read_prices(args.prices) if args.prices else None
    runs, problems = read(args.run)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    found = boards(runs, baseline=args.baseline, policy=args.policy, prices=prices)
    numbers = published() if args.published else ()
    text = render(found, args.format, numbers, width=_width() if args.out is None else 120)
    if args.out is None:
        print(text, end="")
    else:
        _write(args.out, text)
    return 1 if problems else 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    print(f"written: {path}", file=sys.stderr)


# --- compare ------------------------------------------------------------------------------


_COMPARE = """\
  armbench compare runs/A runs/B                     who is better on what both judged, and where
  armbench compare runs/A runs/B --view report.html  … flipped items link into the viewer's page
  armbench compare runs/TOOLS runs/NONE --tools-lift what tools brought to one judge

The page for --view is made by: armbench view A B -o report.html"""


def _add_compare(commands: Commands) -> None:
    parser = _command(commands, "compare", "compare two runs on the same episodes", _COMPARE)
    parser.add_argument("a", type=Path, metavar="A", help="a run, of any source")
    parser.add_argument("b", type=Path, metavar="B", help="another run")
    parser.add_argument(
        "--view", type=Path, metavar="REPORT.html", help="link flipped items into this page"
    )
    parser.add_argument(
        "--tools-lift", action="store_true", help="the runs are one judge with and without tools"
    )
    parser.add_argument(
        "--policy",
        choices=["wrong", "exclude"],
        help="count unscored episodes as wrong, or leave them out (default: as the runs say)",
    )
    parser.add_argument("--format", choices=["table", "md"], default="table")
    parser.add_argument("--all", action="store_true", help="whole lists, not their beginnings")
    parser.set_defaults(function=_compare)


def _compare(args: argparse.Namespace) -> int:
    from armbench.results.compare import compare
    from armbench.results.compare_text import render
    from armbench.results.runs import load

    found = compare(load(args.a), load(args.b), policy=args.policy, tools_lift=args.tools_lift)
    view = args.view.as_posix() if args.view else ""
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else 120
    print(render(found, args.format, view=view, all=args.all, width=wide), end="")
    return 0


# --- diff-config --------------------------------------------------------------------------


_DIFF_CONFIG = """\
  armbench diff-config runs/A runs/B

Exit code: 0 if the runs were made alike, 1 if anything differs."""


def _add_diff_config(commands: Commands) -> None:
    parser = _command(commands, "diff-config", "show how two runs differ in making", _DIFF_CONFIG)
    parser.add_argument("a", type=Path, metavar="A")
    parser.add_argument("b", type=Path, metavar="B")
    parser.set_defaults(function=_diff_config)


def _diff_config(args: argparse.Namespace) -> int:
    from armbench.results.configs import diff_config, diff_text

    found = diff_config(args.a, args.b)
    print(diff_text(args.a, args.b, found))
    return 1 if found else 0


# --- analyze ------------------------------------------------------------------------------


def _add_analyze(commands: Commands) -> None:
    parser = _command(
        commands,
        "analyze",
        "what the judge did: turns, tools, evidence, biases, costs, failures",
        """\
  armbench analyze runs/NAME
  armbench analyze runs/NAME --out analysis      # also analysis.html and a PNG for each chart""",
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="folder for analysis.html and the charts")
    parser.set_defaults(function=_analyze)


def _analyze(args: argparse.Namespace) -> int:
    _needs("results", "statsmodels", "matplotlib")
    from armbench.results.analysis import analyze
    from armbench.results.formats import as_text

    found = analyze(args.run)
    print(as_text([section.block for section in found.sections], _width()), end="")
    if args.out is not None:
        from armbench.results.analysis_page import write

        print(f"\nwritten: {', '.join(map(str, write(found, args.out)))}")
    return 0


# --- view ---------------------------------------------------------------------------------


_VIEW = """\
  armbench view runs/A -o report.html                     one run
  armbench view runs/A runs/B -o report.html              episodes of the same item side by side
  armbench view runs/A -o small.html --max-mb 10          failures first, the rest sampled

The page is one file: no server, no network. Keys: j/k next and previous episode, / search, ? all.
report.html#e=NAME opens an episode, &run=N the one of another run, &compare=1 two side by side."""


def _add_view(commands: Commands) -> None:
    parser = _command(commands, "view", "write runs as a page to look through", _VIEW)
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--max-mb",
        type=float,
        default=40.0,
        metavar="MB",
        help="most millions of bytes; beyond it failures first, the rest sampled (default: 40)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="most episodes")
    parser.set_defaults(function=_view)


def _view(args: argparse.Namespace) -> int:
    from armbench.results.viewer.make import view

    made = view(args.run, args.out, args.max_mb, args.limit)
    print(f"{made.path}: {made.episodes} of {made.of} episodes, {made.size / 1e6:.1f} MB")
    if made.missing or made.broken:
        print(f"{made.missing} picture files are missing, {made.broken} cannot be decoded")
    return 0


# --- replay -------------------------------------------------------------------------------


_REPLAY = """\
  armbench replay runs/NAME                      every tool call of the log, run again
  armbench replay runs/NAME --data DIR           documents lie there and not where they were
  armbench replay runs/NAME --tool image_zoom_in_tool --limit 100

The judge's replies are taken from the log; prompts, turns, results and picture files are
compared with what comes out now. The run is only read. Exit code: 0 if all is as logged, 1 if
something differs or could not be run."""


def _add_replay(commands: Commands) -> None:
    parser = _command(commands, "replay", "run the tool calls of a log again, compare", _REPLAY)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument(
        "--data", default="", metavar="PATH", help="the tasks' data, if it is not where it was"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="first N episodes only")
    parser.add_argument("--tool", default="", metavar="NAME", help="calls of this tool only")
    parser.set_defaults(function=_replay)


def _replay(args: argparse.Namespace) -> int:
    from armbench.results.replay import replay
    from armbench.results.replay_text import audit_text

    audit = replay(args.run, args.data, args.limit, args.tool)
    print(audit_text(audit))
    return 0 if audit.clean else 1


# --- export -------------------------------------------------------------------------------


_EXPORT = """\
  armbench export runs/NAME --to inspect -o logs     one .eval a task: inspect view --log-dir logs
  armbench export runs/NAME --to openai              chat messages, a JSON line an episode
  armbench export runs/NAME --to parquet --table calls
  armbench export runs/NAME --to csv -o episodes.csv

Without -o the name is made from the run's, in the current folder. Files of that name are
replaced. Pictures of openai lie in a folder beside the file, named like it with -images.
Exit code: 0 if all is there, 1 if pictures could not be had."""


def _add_export(commands: Commands) -> None:
    parser = _command(commands, "export", "write a run in the form of other programs", _EXPORT)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument(
        "--to", required=True, choices=["inspect", "jsonl", "parquet", "csv", "openai"]
    )
    parser.add_argument(
        "-o", "--out", type=Path, metavar="OUT", help="file to write; a folder for inspect"
    )
    parser.add_argument(
        "--table",
        choices=["episodes", "events", "calls"],
        help="of jsonl, parquet and csv (default: episodes)",
    )
    parser.set_defaults(function=_export)


def _export(args: argparse.Namespace) -> int:
    from armbench.results.export import export

    made = export(args.run, args.to, args.out, args.table)
    print(f"{made.rows} {made.unit} written: {', '.join(map(str, made.paths))}")
    if made.missing or made.broken:
        print(f"{made.missing} picture files are missing, {made.broken} cannot be decoded")
    return 1 if made.missing or made.broken else 0


# --- import -------------------------------------------------------------------------------


_IMPORT = """\
  armbench import result.json                              one conversation, as ARM-Thinker logs it
  armbench import results/RUN/MODEL.jsonl -o runs          its judge's results, one item a line
  armbench import MODEL.jsonl --task armbench_vl_fine_grained --images DATA

Verdicts are read anew; what the file does not hold stays unknown. Exit code: 0 if every row
could be used, else 1."""


def _add_import(commands: Commands) -> None:
    parser = _command(commands, "import", "make a run of ARM-Thinker's own results", _IMPORT)
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs"), metavar="FOLDER")
    parser.add_argument(
        "--task", default="imported", metavar="NAME", help="name of its task (default: imported)"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="where its pictures are, if not beside it"
    )
    parser.set_defaults(function=_import)


def _import(args: argparse.Namespace) -> int:
    from armbench.results.importing import import_results, import_text

    found = import_results(args.path, args.out, args.task, args.images)
    print(import_text(found))
    return 1 if found.bad else 0
