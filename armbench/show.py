"""``armbench show``: a run or an episode in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from armbench.errors import ConfigError
from armbench.evaluate import read_records, summarize
from armbench.report import Episode
from armbench.runlog import RunDir
from armbench.score import Record
from armbench.summary import outcome_text
from armbench.trajectory import Event, ModelEvent, NoteEvent, StopEvent, ToolEvent
from armbench.types import ImagePart, Part, TextPart

_STYLE = {"correct": "green", "wrong": "red"}


def show_run(path: Path) -> None:
    """Print a run's settings, figures and episodes."""
    run = RunDir(path)
    episodes = []
    table = Table("sample", "order", "repeat", "counted as", "verdict", "turns", "calls", "stop")
    for record in read_records(run):
        episodes.append(episode := Episode.of(record))
        t = record.trajectory
        order = ",".join(str(i + 1) for i in t.order)
        counted = Text(record.score.counted_as, _STYLE.get(record.score.counted_as, "yellow"))
        verdict = "-" if t.judgement.verdict is None else str(t.judgement.verdict)
        numbers = [verdict, str(episode.turns), str(episode.calls), t.stop.reason]
        table.add_row(Text(t.sample_id), order, str(t.repeat), counted, *numbers)
    print(outcome_text(summarize(run, episodes)))
    Console().print(table)


def show_sample(path: Path, sample_id: str) -> None:
    """Print every episode of an item, turn by turn.

    Raises:
        ConfigError: If the run has no such item.
    """
    found = [r for r in read_records(RunDir(path)) if r.trajectory.sample_id == sample_id]
    if not found:
        raise ConfigError(
            f"{path} has no episode of {sample_id!r}; `armbench show {path}` lists them"
        )
    console = Console()
    for record in found:
        _episode(console, record)


def _episode(console: Console, record: Record) -> None:
    t, sample = record.trajectory, record.sample
    order = ", ".join(f"Answer {p} = no. {i + 1}" for p, i in enumerate(t.order, 1))
    console.rule(Text(f"{t.sample_id}  repeat {t.repeat}  {order}"))
    for message in t.messages:
        _panel(console, message.role, message.parts)
    for event in t.events:
        _event(console, event)
    gold = "none" if sample.gold is None else f"{sample.gold} (data-set order)"
    j = t.judgement
    verdict = f"verdict {j.verdict} (shown order)" if j.parse == "ok" else f"{j.parse}: {j.detail}"
    style = _STYLE.get(record.score.counted_as, "yellow")
    console.print(Text(f"{verdict}; gold {gold}; counted as {record.score.counted_as}", style))


def _event(console: Console, event: Event) -> None:
    if isinstance(event, ModelEvent):
        reply = event.reply
        text = Text(reply.reasoning + reply.text[: event.kept])
        text.append(reply.text[event.kept :], style="dim strike")
        usage = f"{reply.usage.input_tokens} in, {reply.usage.output_tokens} out"
        console.print(Panel(text, title="judge", subtitle=Text(f"{reply.finish_reason}; {usage}")))
    elif isinstance(event, ToolEvent):
        title = f"tool {event.call.name}" + (" (error)" if event.result.error else "")
        _panel(console, title, event.result.parts)
    elif isinstance(event, NoteEvent):
        console.print(Panel(Text(event.text), title=Text(f"note: {event.reason}")))
    elif isinstance(event, StopEvent):
        console.print(Text(f"stop: {event.reason} {event.detail}"))


def _panel(console: Console, title: str, parts: tuple[Part, ...]) -> None:
    lines = []
    for part in parts:
        if isinstance(part, TextPart):
            lines.append(part.text)
        elif isinstance(part, ImagePart):
            ref = part.image
            lines.append(f"[picture {part.name} {ref.width}x{ref.height} {ref.sha256[:12]}]")
    console.print(Panel(Text("\n".join(lines)), title=Text(title)))
