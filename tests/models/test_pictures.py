"""Pictures are sent once where the server can keep them, and in full everywhere else."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.errors import BackendError, ConfigError
from armbench.images import ImageStore
from armbench.models.openai import OpenAIBackend
from armbench.models.pictures import processor_size
from armbench.types import ImagePart, ImageRef, Message, TextPart
from tests.models import stub_server as stub
from tests.models.openai_client import ask, generate, opened, picture, shown
from tests.models.stub_server import Answer, Request, StubServer

pytestmark = pytest.mark.usefixtures("clean_environment")
MISS = stub.error(400, "Cache miss for image at index 0 but data is not provided.")


class Remembering:
    """Answers as vLLM does: a picture by name alone has to be known."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def __call__(self, request: Request) -> Answer | str:
        parts = _pictures(request)
        if any(p["image_url"] is None and p["uuid"] not in self.known for p in parts):
            return MISS
        self.known |= {p["uuid"] for p in parts if "uuid" in p}
        return "ok"


def _pictures(request: Request) -> list[dict[str, Any]]:
    contents = [m["content"] for m in request.messages if isinstance(m["content"], list)]
    return [p for content in contents for p in content if p["type"] == "image_url"]


def vllm_models() -> Answer:
    data = [{"id": "stub", "object": "model", "owned_by": "vllm"}]
    return Answer(json.dumps({"object": "list", "data": data}).encode())


@pytest.fixture
def store() -> ImageStore:
    return ImageStore()


@pytest.fixture
def ref(store: ImageStore) -> ImageRef:
    return store.add_bytes(picture("red", (300, 200), "JPEG"))


def test_a_picture_goes_in_full_once_and_by_name_from_then_on(store, ref) -> None:
    other = store.add_bytes(picture("blue", (30, 20)))
    with StubServer(Remembering()) as server:
        backend = OpenAIBackend("stub", server.base_url, pictures="uuid")
        generate(backend, ask(shown(ref), store=store))
        generate(backend, ask(shown(ref), shown(other), store=store))
        generate(backend, ask(shown(ref), shown(other), store=store))
        first, second, third = (_pictures(request) for request in server.requests)
    assert opened(first[0]).size == (300, 200)
    assert second[0] == {"type": "image_url", "image_url": None, "uuid": first[0]["uuid"]}
    assert opened(second[1]).size == (30, 20)
    assert [p["image_url"] for p in third] == [None, None]


def test_the_name_is_of_the_content_and_of_what_is_done_to_it(store, ref) -> None:
    again = ImageStore().add_bytes(picture("red", (300, 200), "JPEG"))
    with StubServer(Remembering()) as server:
        backend = OpenAIBackend("stub", server.base_url, pictures="uuid")
        for one, pixels in ((ref, 10_000), (ref, 5_000), (again, 10_000)):
            generate(backend, ask(shown(one), store=store, max_pixels=pixels))
        names = [_pictures(request)[0]["uuid"] for request in server.requests]
    assert names[0] == names[2] != names[1]


def test_a_server_that_dropped_it_is_sent_it_again(store, ref) -> None:
    script = Remembering()
    with StubServer(script) as server:
        backend = OpenAIBackend("stub", server.base_url, pictures="uuid")
        generate(backend, ask(shown(ref), store=store))
        script.known.clear()
        (reply,) = generate(backend, ask(shown(ref), store=store))
        sent = [_pictures(request)[0]["image_url"] is not None for request in server.requests]
    assert (reply.text, reply.retries) == ("ok", 0)
    assert sent == [True, False, True]


def test_where_names_mostly_miss_they_are_given_up(store, ref) -> None:
    def forgetful(request: Request) -> Answer | str:
        return MISS if _pictures(request)[0]["image_url"] is None else "ok"

    with StubServer(forgetful) as server:
        backend = OpenAIBackend("stub", server.base_url, pictures="uuid")
        for _ in range(20):
            generate(backend, ask(shown(ref), store=store))
        by_name = [r for r in server.requests if _pictures(r)[0]["image_url"] is None]
        assert len(by_name) == 8
        assert server.chats == 28


def test_a_400_of_another_kind_is_not_tried_again(store, ref) -> None:
    with StubServer(lambda request: stub.error(400, "bad picture")) as server:
        backend = OpenAIBackend("stub", server.base_url, pictures="uuid")
        with pytest.raises(BackendError, match="bad picture"):
            generate(backend, ask(shown(ref), store=store))
        assert server.chats == 1


# --- the probe ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "models", "way", "asked"),
    [
        (MISS, vllm_models(), "uuid", 1),
        ("all fine", vllm_models(), "data", 1),  # dropped in silence
        (stub.error(400, "image_url is required"), vllm_models(), "data", 1),
        (MISS, ("stub",), "auto", 0),  # not vLLM: never asked, and sent in full
    ],
)
def test_the_server_is_asked_once_whether_it_can(answer, models, way, asked) -> None:
    with StubServer(lambda request: answer, models=models) as server:
        backend = OpenAIBackend("stub", server.base_url)
        backend.check()
        assert backend._pictures.way == way
        assert server.chats == asked


def test_others_get_it_in_full_every_time(store, ref) -> None:
    with StubServer() as server:
        backend = OpenAIBackend("stub", server.base_url)
        backend.check()
        for _ in range(2):
            generate(backend, ask(shown(ref), store=store))
        for request in server.requests:
            (part,) = _pictures(request)
            assert "uuid" not in part
            assert opened(part).size == (300, 200)


# --- who shrinks --------------------------------------------------------------------------


def test_the_server_may_shrink_originals_itself(store, ref) -> None:
    with StubServer() as server:
        backend = OpenAIBackend("stub", server.base_url, resize="server")
        generate(backend, ask(shown(ref), store=store, max_pixels=10_000))
        (request,) = server.requests
    data = _pictures(request)[0]["image_url"]["url"].partition(",")[2]
    assert base64.b64decode(data) == store.read(ref)
    assert request.json["mm_processor_kwargs"] == {"max_pixels": 10_000}


def test_pictures_may_be_made_the_size_that_the_processor_would_make_them(store, ref) -> None:
    with StubServer() as server:
        backend = OpenAIBackend("stub", server.base_url, resize=28)
        generate(backend, ask(shown(ref), store=store, max_pixels=28 * 28 * 40))
        (part,) = _pictures(server.requests[0])
    assert opened(part).size == processor_size(300, 200, 28, 28 * 28 * 40)


@pytest.mark.parametrize("patch", [28, 32])
def test_the_size_is_that_of_the_library(patch: int) -> None:
    library = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    most, least = 1280 * 28 * 28, 56 * 56
    for width, height in ((4000, 3000), (300, 200), (30, 20), (57, 3), (7680, 4320), (1, 90)):
        down, across = library.smart_resize(height, width, patch, least, most)
        assert processor_size(width, height, patch, most) == (across, down)


def test_bad_settings_are_named() -> None:
    for wrong in ({"pictures": "always"}, {"resize": "both"}, {"media_root": "/no/such"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            OpenAIBackend("stub", **wrong)


# --- a shared folder ----------------------------------------------------------------------


def test_a_shared_folder_is_read_by_the_server(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "run" / "images")
    small = store.add_bytes(picture("red", (30, 20)))
    large = store.add_bytes(picture("blue", (300, 200)))
    with StubServer() as server:
        backend = OpenAIBackend("stub", server.base_url, media_root=str(tmp_path))
        generate(backend, ask(shown(small, large), store=store, max_pixels=10_000))
        urls = [part["image_url"]["url"] for part in _pictures(server.requests[0])]
    paths = [Path(url.removeprefix("file://")) for url in urls]
    assert paths[0] == store.path(small)  # as it is, where it is
    assert paths[1].parent == tmp_path / "armbench-pictures"
    with Image.open(paths[1]) as image:
        assert image.size == (122, 81)


def test_a_server_that_may_not_read_it_gets_data(tmp_path: Path) -> None:
    def strict(request: Request) -> Answer | str:
        if _pictures(request)[0]["image_url"]["url"].startswith("file:"):
            return stub.error(400, "Cannot load local files without `--allowed-local-media-path`.")
        return "ok"

    store = ImageStore(tmp_path / "images")
    ref = store.add_bytes(picture("red", (30, 20)))
    with StubServer(strict) as server:
        backend = OpenAIBackend("stub", server.base_url, media_root=str(tmp_path))
        for _ in range(2):
            assert generate(backend, ask(shown(ref), store=store))[0].text == "ok"
        assert server.chats == 3


# --- what goes over the wire --------------------------------------------------------------


def test_a_large_picture_arrives_whole_and_text_cannot_pose_as_one(store) -> None:
    noise = io.BytesIO()
    Image.effect_noise((1200, 900), 90).convert("RGB").save(noise, "PNG")
    ref = store.add_bytes(noise.getvalue())
    text = 'data:image/png;base64,AAAA @0123456789abcdef@0@ "quoted" \\u0000'
    message = Message(role="user", parts=(TextPart(text=text), ImagePart(image=ref)))
    with StubServer() as server:
        backend = OpenAIBackend("stub", server.base_url)
        generate(backend, ask(message, store=store, max_pixels=1 << 30))
        (request,) = server.requests
    assert len(request.body) > 1 << 20
    shown_text, part = request.messages[0]["content"]
    assert shown_text["text"] == text
    assert base64.b64decode(part["image_url"]["url"].partition(",")[2]) == noise.getvalue()
    assert not re.search(rb"@[0-9a-f]{32}@", request.body)


def test_a_picture_is_sent_again_after_a_passing_error(store, ref) -> None:
    answers = [stub.error(503), "ok"]
    with StubServer(lambda request: answers[min(request.number, 1)]) as server:
        reply = generate(OpenAIBackend("stub", server.base_url), ask(shown(ref), store=store))[0]
        first, second = (_pictures(request) for request in server.requests)
    assert reply.retries == 1
    assert first == second
