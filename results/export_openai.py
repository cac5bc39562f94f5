"""Episodes as chat messages in OpenAI's form, a JSON object a line, pictures in files beside it.

A line is ``{"id", "messages", "tools", "metadata"}``. Messages are as the judge saw them, the
system prompt included, but for calls: those that could be read are ``tool_calls`` whatever form
the judge wrote them in. A ``tool`` message holds text alone, so that the pictures of a turn's
results come in a ``user`` message after the last of them. What the server gave apart from the
text as reasoning is ``reasoning_content``, as vLLM and others name it. Picture URLs are paths
from the file's folder; the files are the pictures as sent to the judge, named by their hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from armbench.errors import ConfigError
from armbench.evaluate import read_records
from armbench.progress import SlowProgress
from armbench.results.conversation import Turn, facts, turns
from armbench.results.export_pictures import Pictures
from armbench.results.runs import anchor
from armbench.runlog import RunDir
from armbench.score import Record
from armbench.trajectory import ModelEvent
from armbench.types import ImagePart, Part, ToolCall

_SUFFIX = {"image/png": "png", "image/jpeg": "jpg"}

Json = dict[str, Any]


def write_openai(run: RunDir, out: Path, folder: Path, pictures: Pictures) -> int:
    """Write a run; picture files go to `folder`, which has to be in the folder of `out`.

    Returns:
        How many episodes were written.

    Raises:
        ConfigError: If the run cannot be read, or holds no finished episode.
        OSError: If something cannot be written.
    """
    say = SlowProgress(f"exporting {run.path.name}")
    count = 0
    files = _Files(folder)
    with out.open("wb") as handle:
        for count, record in enumerate(read_records(run), 1):
            line = _Episode(record, pictures, files).line()
            # A log can hold numbers that JSON cannot.
            handle.write(to_json(line, inf_nan_mode="strings") + b"\n")
            say(count, count, "episodes")
    if not count:
        raise ConfigError(f"{run.path} holds no finished episode yet")
    return count


class _Files:
    """Picture files, each written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[str] = set()

    def url(self, mime: str, data: bytes) -> str:
        """Path of a picture from the folder that the JSONL is in."""
        name = f"{hashlib.sha256(data).hexdigest()}.{_SUFFIX[mime]}"
        if name not in self._written:
            self._folder.mkdir(exist_ok=True)
            (self._folder / name).write_bytes(data)
            self._written.add(name)
        return f"{self._folder.name}/{name}"


class _Episode:
    """One line while it is made."""

    def __init__(self, record: Record, pictures: Pictures, files: _Files) -> None:
        self._record, self._pictures, self._files = record, pictures, files
        self._task = record.sample.task

    def line(self) -> Json:
        t = self._record.trajectory
        return {
            "id": anchor(t.task, t.sample_id, t.repeat, t.order),
            "messages": list(self._messages()),
            "tools": [spec.function_schema() for spec in t.tools],
            "metadata": facts(self._record),
        }

    def _messages(self) -> Iterator[Json]:
        owed: set[str] = set()  # calls whose results have to come next
        held: list[Json] = []  # pictures of results, which have to wait for the last of them
        for turn in turns(self._record.trajectory):
            if turn.role != "tool" and held:
                yield {"role": "user", "content": held}
                held = []
            if turn.role == "assistant":
                owed = {call.id for call in turn.calls if call.arguments is not None}
                yield self._assistant(turn)
            elif turn.call is not None and turn.call.id in owed:
                owed.remove(turn.call.id)
                texts = [part for part in turn.parts if not isinstance(part, ImagePart)]
                shown = [part for part in turn.parts if isinstance(part, ImagePart)]
                held += self._content(shown)
                text = "\n".join(part.text for part in texts)
                yield {"role": "tool", "tool_call_id": turn.call.id, "content": text}
            elif turn.role == "tool":  # the answer to what could not be read as a call
                held += self._content(turn.parts)
            else:
                content = self._content(turn.parts)
                alone = len(content) == 1 and content[0]["type"] == "text"
                # Templates of many models take a system prompt as a string only.
                yield {"role": turn.role, "content": content[0]["text"] if alone else content}
        if held:
            yield {"role": "user", "content": held}

    def _assistant(self, turn: Turn) -> Json:
        calls = [_call(call) for call in turn.calls if call.arguments is not None]
        message: Json = {"role": "assistant", "content": turn.text}
        if turn.reasoning:
            message["reasoning_content"] = turn.reasoning
        if calls:
            message["tool_calls"] = calls
        event = None if turn.place is None else self._record.trajectory.events[turn.place]
        if isinstance(event, ModelEvent) and event.reply.refusal:
            message["refusal"] = event.reply.refusal
        return message

    def _content(self, parts: Sequence[Part]) -> list[Json]:
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> Json:
        if not isinstance(part, ImagePart):
            return {"type": "text", "text": part.text}
        found = self._pictures.shown(part.image, self._task)
        if found is None:
            return {"type": "text", "text": self._pictures.absent(part.image)}
        return {"type": "image_url", "image_url": {"url": self._files.url(*found)}}


def _call(call: ToolCall) -> Json:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
