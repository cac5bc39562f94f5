"""Writes a log of inspect piece by piece, so that memory holds a few of its samples only.

inspect's own writer keeps all samples of a log until it is closed, and stamps what it writes
with the clock. Here it writes small logs, which are put together: an ``.eval`` file is a zip of
one JSON for each sample, ``summaries.json`` with a line for each, and ``header.json`` with the
rest (inspect's documentation, "Eval log files"). Each piece is inspect's own writing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile, ZipInfo

from inspect_ai.log import EvalLog, EvalSample, EvalSpec, write_eval_log

_AT_ONCE = 16
_SUMMARIES = "summaries.json"
_SAMPLES = "samples/"


class LogFile:
    """One ``.eval`` file while it is written.

    Args:
        folder: Where to; the file gets its name when it is whole.
        spec: Any description of the log; the one that counts is given to `close`.
    """

    def __init__(self, folder: Path, spec: EvalSpec) -> None:
        self._spec = spec
        self._scratch = TemporaryDirectory(prefix=".inspect-", dir=folder)
        self._part = Path(self._scratch.name) / "whole"
        self._zip = ZipFile(self._part, "w")
        self._waiting: list[EvalSample] = []
        self._summaries: list[Any] = []

    def add(self, sample: EvalSample) -> None:
        """Write a sample."""
        self._waiting.append(sample)
        if len(self._waiting) == _AT_ONCE:
            self._write()

    def _write(self) -> None:
        log = EvalLog(eval=self._spec, status="success", samples=self._waiting)
        for info, data in self._written(log):
            if info.filename == _SUMMARIES:
                self._summaries += json.loads(data)
            elif info.filename.startswith(_SAMPLES):
                self._keep(info, data)
        self._waiting = []

    def close(self, log: EvalLog, target: Path) -> None:
        """Write what is left and the log's head, and put the file in place."""
        if self._waiting:
            self._write()
        for info, data in self._written(log):
            self._keep(info, json.dumps(self._summaries) if info.filename == _SUMMARIES else data)
        self._zip.close()
        self._part.replace(target)
        self._scratch.cleanup()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._zip.close()
        self._scratch.cleanup()

    def _written(self, log: EvalLog) -> Iterator[tuple[ZipInfo, bytes]]:
        path = Path(self._scratch.name) / "piece.eval"
        write_eval_log(log, path)
        with ZipFile(path) as file:
            for info in file.infolist():
                yield info, file.read(info)

    def _keep(self, info: ZipInfo, data: bytes | str) -> None:
        # A new entry has the date 1980-01-01; that of inspect's is the time of writing.
        self._zip.writestr(ZipInfo(info.filename), data, info.compress_type)
