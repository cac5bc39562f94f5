"""The commands on finished runs; modules are imported where they are used."""

from __future__ import annotations

import argparse

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


# --- leaderboard --------------------------------------------------------------------------


def _add_leaderboard(commands: Commands) -> None:
    pass


# --- compare ------------------------------------------------------------------------------


def _add_compare(commands: Commands) -> None:
    pass


# --- diff-config --------------------------------------------------------------------------


def _add_diff_config(commands: Commands) -> None:
    pass


# --- analyze ------------------------------------------------------------------------------


def _add_analyze(commands: Commands) -> None:
    pass


# --- view ---------------------------------------------------------------------------------


def _add_view(commands: Commands) -> None:
    pass


# --- replay -------------------------------------------------------------------------------


def _add_replay(commands: Commands) -> None:
    pass


# --- export -------------------------------------------------------------------------------


def _add_export(commands: Commands) -> None:
    pass


# --- import -------------------------------------------------------------------------------


def _add_import(commands: Commands) -> None:
    pass
