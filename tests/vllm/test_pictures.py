"""Pictures by name and from a shared folder, as a real vLLM takes them: bytes are counted."""

from __future__ import annotations

import base64
import io
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from armbench.images import ImageStore
from armbench.models.openai import OpenAIBackend
from armbench.types import ImageRef, Reply
from tests.models.openai_client import ask, generate, shown, user
from tests.vllm.conftest import Server

TURNS = 3


class Wire(socketserver.ThreadingTCPServer):
    """Passes requests on to a server and counts their bytes."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = ("127.0.0.1", urlsplit(server.base_url).port)
        self.base_url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.sent = 0


class _Passing(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        with socket.create_connection(self.server.behind) as behind:
            back = threading.Thread(target=self._back, args=(behind,), daemon=True)
            back.start()
            while data := self.request.recv(1 << 16):
                self.server.sent += len(data)
                behind.sendall(data)
            behind.shutdown(socket.SHUT_RDWR)
            back.join()

    def _back(self, behind: socket.socket) -> None:
        while data := behind.recv(1 << 16):
            self.request.sendall(data)


@contextmanager
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server) as through:
        threading.Thread(target=through.serve_forever, daemon=True).start()
        try:
            yield through
        finally:
            through.shutdown()


def noise() -> bytes:
    """A large JPEG that no server has seen."""
    buffer = io.BytesIO()
    Image.effect_noise((900, 700), 90).convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def talk(backend: OpenAIBackend, store: ImageStore, ref: ImageRef) -> list[Reply]:
    """Three requests that begin alike, as the turns of an episode do."""
    backend.check()
    messages, replies = [shown(ref)], list[Reply]()
    for turn in range(TURNS):
        messages.append(user(f"turn {turn}"))
        replies += generate(backend, ask(*messages, store=store, max_tokens=8))
    return replies


def heard(replies: list[Reply]) -> tuple[tuple[str, int | None], ...]:
    return tuple((reply.text, reply.usage.input_tokens) for reply in replies)


@pytest.fixture
def data() -> bytes:
    return noise()


def test_a_picture_crosses_the_wire_once_and_says_the_same(
    vllm_server: Server, data: bytes
) -> None:
    folder = vllm_server.media / "run" / "images"
    sent, said = {}, {}
    for way, root in (("data", ""), ("auto", ""), ("auto", str(vllm_server.media))):
        store = ImageStore(folder)
        ref = store.add_bytes(data)
        with wire(vllm_server) as through:
            backend = OpenAIBackend(
                vllm_server.model, through.base_url, pictures=way, media_root=root
            )
            said[way, root] = heard(talk(backend, store, ref))
            sent[way, root] = through.sent
    once = len(base64.b64encode(data))
    every, named, shared = sent.values()
    print(f"bytes of {TURNS} turns: {sent}, the picture as base64: {once}")
    assert every > TURNS * once
    assert once < named < 1.1 * once
    assert shared < 20_000
    assert len(set(said.values())) == 1


def test_a_name_that_the_server_has_dropped_is_sent_again(vllm_server: Server) -> None:
    store = ImageStore()
    ref = store.add_bytes(noise())
    backend = OpenAIBackend(vllm_server.model, vllm_server.base_url, pictures="uuid")
    # As after a restart of the server: we think that it knows what it does not.
    backend._pictures._sent[backend._pictures.name(ref, ask(store=store))] = None
    said = heard(talk(backend, store, ref))
    plain = OpenAIBackend(vllm_server.model, vllm_server.base_url, pictures="data")
    assert said == heard(talk(plain, store, ref))


def test_a_file_outside_the_allowed_folder_is_sent_instead(
    vllm_server: Server, data: bytes, tmp_path: Path
) -> None:
    store = ImageStore(tmp_path / "images")
    ref = store.add_bytes(data)
    backend = OpenAIBackend(
        vllm_server.model, vllm_server.base_url, pictures="data", media_root=str(tmp_path)
    )
    assert len(talk(backend, store, ref)) == TURNS
