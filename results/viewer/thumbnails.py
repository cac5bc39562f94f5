"""Small copies of a run's pictures, each once by its hash, made in a few threads."""

from __future__ import annotations

import io
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from armbench.errors import ImageError
from armbench.images import ImageStore
from armbench.types import ImageRef

PIXELS = 768 * 768
"""Most pixels of a thumbnail: a row of document pages may be wider than a photograph, and lower."""
LONG_SIDE = 2048
"""Longest side of a thumbnail, in pixels."""
_QUALITY = 70
_AHEAD = 8  # pictures per worker that are made before they are asked for
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Thumbnail:
    """A picture made small.

    Attributes:
        data: WebP; empty where there is a problem.
        problem: ``missing``: no such file in any run; ``broken``: it cannot be decoded.
    """

    data: bytes = b""
    problem: Literal["", "missing", "broken"] = ""


class Thumbnails:
    """Makes the thumbnails of pictures that lie in one of several folders.

    Args:
        folders: The runs' picture folders.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        # Each picture is decoded once, so that nothing is gained by keeping it.
        self._stores = [ImageStore(folder, cache_bytes=0) for folder in folders]

    def make(self, ref: ImageRef) -> Thumbnail:
        """One thumbnail; Pillow lets other threads work while it decodes and encodes."""
        store = self._find(ref)
        if store is None:
            return Thumbnail(problem="missing")
        try:
            image = store.view_image(ref, PIXELS)
        except ImageError:
            return Thumbnail(problem="broken")
        if max(image.size) > LONG_SIDE:
            image = image.copy()
            image.thumbnail((LONG_SIDE, LONG_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=_QUALITY, method=2)
        return Thumbnail(buffer.getvalue())

    def _find(self, ref: ImageRef) -> ImageStore | None:
        if not _SHA256.fullmatch(ref.sha256):  # a log can name anything; only hashes are files
            return None
        return next((store for store in self._stores if store.path(ref).is_file()), None)

    def by_group(self, groups: Iterable[Sequence[ImageRef]]) -> Iterator[dict[str, Thumbnail]]:
        """For each group, in order, the thumbnails that no group before it had, by hash.

        Works a little ahead; what is not asked for any more is not made.
        """
        workers = min(8, os.cpu_count() or 1)
        known: set[str] = set()
        waiting: deque[dict[str, Future[Thumbnail]]] = deque()
        pool = ThreadPoolExecutor(workers)
        try:
            for group in groups:
                fresh = {ref.sha256: ref for ref in group if ref.sha256 not in known}
                known.update(fresh)
                waiting.append({sha: pool.submit(self.make, ref) for sha, ref in fresh.items()})
                while sum(map(len, waiting)) > workers * _AHEAD:
                    yield _done(waiting.popleft())
            while waiting:
                yield _done(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _done(group: dict[str, Future[Thumbnail]]) -> dict[str, Thumbnail]:
    return {sha: future.result() for sha, future in group.items()}
