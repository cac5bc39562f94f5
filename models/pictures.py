"""How a server is given its pictures: once, where it can remember them.

vLLM keeps processed pictures under a name that the client may choose. A picture is sent in full
the first time, under the hash of its content, and by that name alone from then on; a server
that has dropped it says so and is sent it again. One that shares a folder with us
(``--allowed-local-media-path``) reads it there. Every other server gets it in full each turn, as
base64 that is kept for a while.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from armbench.errors import ConfigError
from armbench.images import MAX_PIXELS
from armbench.types import ImagePart, ImageRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from armbench.episode import Ask

__all__ = ["Body", "Pictures", "processor_size"]

Way = Literal["auto", "data", "uuid"]
_CACHED = 64 << 20
_REMEMBERED = 1 << 14
_MISSES = 8
_MISS = re.compile(r"cache miss for image", re.IGNORECASE)
_NO_FILE = re.compile(r"local[ -]media[ -]path|load local files|subpath", re.IGNORECASE)
_LEAST_PIXELS = 56 * 56


class Pictures:
    """What one server has been shown. Thread-safe.

    Args:
        way: ``data`` sends every picture in full every time, ``uuid`` once; ``auto`` is ``uuid``
            once `probe` has found that the server can, else ``data``.
        media_root: A folder of that path on the server too, which it may read; empty for none.
        resize: ``client``: shrunk here to the pixel budget. ``server``: sent as they are, and the
            server's processor is told the budget. A number: made here the size that a processor
            with patches of so many pixels (28 for Qwen2.5-VL, 32 for Qwen3-VL) would make them.

    Raises:
        ConfigError: If an argument does not fit.
    """

    def __init__(self, way: str = "auto", media_root: str = "", resize: str | int = "client"):
        if way not in ("auto", "data", "uuid"):
            raise ConfigError(f"pictures has to be auto, data or uuid, not {way!r}")
        if resize not in ("client", "server") and not (isinstance(resize, int) and resize > 0):
            raise ConfigError(f"resize has to be client, server or a number, not {resize!r}")
        self.way, self.resize = way, resize
        self._root = Path(media_root).resolve() if media_root else None
        if self._root is not None and not self._root.is_dir():
            raise ConfigError(f"media_root: there is no folder {media_root}")
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._data: OrderedDict[str, bytes] = OrderedDict()
        self._used = self._hits = self._misses = 0
        self._lock = threading.Lock()  # requests are put together in worker threads

    def probe(self, send: Callable[[dict[str, Any]], str]) -> None:
        """Find out whether the server knows pictures by name, if that is to be found out.

        Args:
            send: Sends the fields of a request and returns the error it was refused with; empty
                if it was not. A server that lets an unknown name pass has dropped it in silence.
        """
        if self.way != "auto":
            return
        unknown = {"type": "image_url", "image_url": None, "uuid": f"probe-{secrets.token_hex(8)}"}
        content = [unknown, {"type": "text", "text": "?"}]
        refusal = send({"messages": [{"role": "user", "content": content}], "max_tokens": 1})
        self.way = "uuid" if _MISS.search(refusal) else "data"

    @property
    def once(self) -> bool:
        """Whether a picture is sent once."""
        return self.way == "uuid"

    def options(self, ask: Ask) -> dict[str, Any]:
        """Further fields of a request with pictures."""
        if self.resize != "server":
            return {}
        return {"mm_processor_kwargs": {"max_pixels": ask.max_pixels}}

    def name(self, ref: ImageRef, ask: Ask) -> str:
        """What the server knows a picture by: its content, and what is done to it."""
        return f"{ref.sha256[:40]}-{self.resize}-{ask.max_pixels}"

    def needs_data(self, ask: Ask) -> bool:
        """Whether a picture of a request has to be sent in full."""
        refs = {p.image for m in ask.messages for p in m.parts if isinstance(p, ImagePart)}
        return any(not self._knows(self.name(ref, ask)) for ref in refs)

    def _knows(self, name: str) -> bool:
        with self._lock:
            return self.once and name in self._sent

    def took(self, body: Body) -> None:
        """The server has answered a request: it has its pictures."""
        if not self.once:
            return
        with self._lock:
            self._hits += len(body.by_name)
            for name in (*body.by_name, *body.in_full):
                self._sent[name] = None
                self._sent.move_to_end(name)
            while len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)

    def refused(self, body: Body, message: str) -> bool:
        """Whether a refused request is worth sending again, with its pictures in full."""
        if body.by_name and _MISS.search(message):
            with self._lock:
                for name in body.by_name:
                    self._sent.pop(name, None)
                self._misses += 1
                if self._misses >= _MISSES and self._misses > self._hits:
                    # Several servers behind one address, none of which sees all requests.
                    self.way = "data"
            return True
        if body.by_file and _NO_FILE.search(message):
            self._root = None
            return True
        return False

    def url(self, ref: ImageRef, ask: Ask, body: Body) -> str:
        """Where the server finds a picture that it does not know: in the request, or in a file."""
        name = self.name(ref, ask)
        if self._root is not None:
            body.by_file += 1
            return self._file(ref, ask, name, self._root).as_uri()
        with self._lock:
            if name in self._data:
                self._data.move_to_end(name)
                return body.mark(self._data[name])
        mime, data = self._view(ref, ask)
        url = b"data:%b;base64,%b" % (mime.encode(), base64.b64encode(data))
        with self._lock:
            self._used += len(url) - len(self._data.get(name, b""))
            self._data[name] = url
            while self._used > _CACHED and len(self._data) > 1:
                _, old = self._data.popitem(last=False)
                self._used -= len(old)
        return body.mark(url)

    def _view(self, ref: ImageRef, ask: Ask) -> tuple[str, bytes]:
        if self.resize == "server":
            return ask.store.view(ref, MAX_PIXELS)
        if isinstance(self.resize, int):
            size = processor_size(ref.width, ref.height, self.resize, ask.max_pixels)
            return ask.store.resized(ref, size)
        return ask.store.view(ref, ask.max_pixels)

    def _file(self, ref: ImageRef, ask: Ask, name: str, root: Path) -> Path:
        """A file under the shared folder: the original itself, if it can go as it is and is."""
        if ask.store.root is not None and ask.store.is_sendable(ref):
            path = ask.store.path(ref).resolve()
            as_is = self.resize == "server" or (
                self.resize == "client" and ref.width * ref.height <= ask.max_pixels
            )
            if as_is and root in path.parents:
                return path
        folder = root / "armbench-pictures"
        for known in (folder / f"{name}.png", folder / f"{name}.jpg"):
            if known.exists():
                return known
        mime, data = self._view(ref, ask)
        target = folder / f"{name}.{'jpg' if mime == 'image/jpeg' else 'png'}"
        folder.mkdir(exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        temporary.write_bytes(data)
        temporary.replace(target)
        return target


class Body:
    """A request being put together; its pictures stay bytes beside the JSON.

    Writing twenty megabytes of base64 as JSON would copy them three times.

    Attributes:
        by_name: Names of the pictures that the server is thought to have.
        in_full: Names of those that are sent along.
        by_file: How many of these lie in the shared folder.
    """

    def __init__(self, pictures: Pictures, ask: Ask) -> None:
        self._pictures, self._ask = pictures, ask
        self._nonce = ""  # made with the first picture
        self._marked: list[bytes] = []
        self.by_name: list[str] = []
        self.in_full: list[str] = []
        self.by_file = 0

    def mark(self, data: bytes) -> str:
        """A stand-in for a text of base64."""
        # No text can hold it by chance or by guess.
        self._nonce = self._nonce or f"@{secrets.token_hex(16)}@"
        self._marked.append(data)
        return f"{self._nonce}{len(self._marked) - 1}@"

    def part(self, part: ImagePart) -> dict[str, Any]:
        """A picture as a part of a message."""
        name = self._pictures.name(part.image, self._ask)
        if self._pictures._knows(name):
            self.by_name.append(name)
            return {"type": "image_url", "image_url": None, "uuid": name}
        whole = {"url": self._pictures.url(part.image, self._ask, self)}
        shown: dict[str, Any] = {"type": "image_url", "image_url": whole}
        if self._pictures.once:
            self.in_full.append(name)
            shown["uuid"] = name
        return shown

    def pieces(self, fields: dict[str, Any]) -> list[bytes]:
        """The JSON of a request, stand-ins replaced."""
        text = json.dumps(fields).encode()
        if not self._marked:
            return [text]
        # Text, number, text, number, …: what a group of split() catches is kept.
        found = re.split(re.escape(self._nonce).encode() + rb"(\d+)@", text)
        marked, self._marked = self._marked, []
        return [marked[int(x)] if n % 2 else x for n, x in enumerate(found)]


def processor_size(
    width: int, height: int, patch: int, most: int, least: int = _LEAST_PIXELS
) -> tuple[int, int]:
    """The size that the image processor of the Qwen families gives a picture.

    Sides are whole patches, the shape is kept as far as that allows, and the pixels are between
    `least` and `most` (``smart_resize`` of transformers' Qwen2-VL image processor).

    Returns:
        Width and height in pixels.
    """
    across, down = (max(patch, round(side / patch) * patch) for side in (width, height))
    if across * down > most:
        scale = (width * height / most) ** 0.5
        across, down = (max(patch, int(s / scale / patch) * patch) for s in (width, height))
    elif across * down < least:
        scale = (least / (width * height)) ** 0.5
        across, down = (-int(-s * scale // patch) * patch for s in (width, height))
    return across, down
