"""The pictures of a run as its judge was sent them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from armbench.episode import LoopConfig
from armbench.errors import ConfigError, ImageError, problems
from armbench.images import ImageStore
from armbench.runlog import RunDir
from armbench.types import ImageRef

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CACHE = 64 << 20  # bytes; an episode's pictures are asked for once or twice, one after another


def loop_of(config: dict[str, Any], task: str) -> LoopConfig:
    """The limits that the episodes of a task ran under, as far as ``run.json`` says.

    Raises:
        ConfigError: If it says what cannot be.
    """
    entry = (config.get("tasks") or {}).get(task) or {}
    given = (entry.get("spec") or {}).get("loop") or {}
    overrides = (config.get("judge") or {}).get("loop") or {}
    try:
        return LoopConfig.model_validate({**given, **overrides})
    except ValidationError as error:
        raise ConfigError(f"run.json: {task}: {problems(error)}") from None


class Pictures:
    """Reads and shrinks the pictures of a run; counts those that cannot be had.

    Args:
        run: The run.

    Attributes:
        missing: Hashes of pictures without a file.
        broken: Hashes of those that cannot be decoded.
    """

    def __init__(self, run: RunDir) -> None:
        self._store = ImageStore(run.images.root, cache_bytes=_CACHE)
        self.missing: set[str] = set()
        self.broken: set[str] = set()
        self._config = run.config()
        self._most: dict[str, int] = {}

    def shown(self, ref: ImageRef, task: str) -> tuple[str, bytes] | None:
        """Media type and bytes within the task's pixel budget; None where there is a problem."""
        # A log can name anything; only hashes are files.
        if not _SHA256.fullmatch(ref.sha256) or not self._store.path(ref).is_file():
            self.missing.add(ref.sha256)
            return None
        try:
            return self._store.view(ref, self._budget(task))
        except ImageError:
            self.broken.add(ref.sha256)
            return None

    def _budget(self, task: str) -> int:
        if task not in self._most:
            self._most[task] = loop_of(self._config, task).max_pixels
        return self._most[task]

    def absent(self, ref: ImageRef) -> str:
        """What stands in the place of a picture that cannot be had."""
        why = "cannot be decoded" if ref.sha256 in self.broken else "is missing"
        return f"[a picture of {ref.width}x{ref.height} {why}]"
