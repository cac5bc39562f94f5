"""Groups of roll-outs: what is shared changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.episode import Ask
from armbench.errors import DataError
from armbench.images import ImageStore
from armbench.models import tiny
from armbench.prompt import show
from armbench.types import ImagePart, ImageRef, Message, Sample, TextPart

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from armbench.models.hf import HFBackend  # noqa: E402
from armbench.models.hf_group import GroupBackend  # noqa: E402

SIZE = tiny.TinySize(vocab=400, layers=2, heads=2, kv_heads=1, mlp=64, vision_layers=1)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def backends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HFBackend, GroupBackend]:
    folder: Path = tmp_path_factory.mktemp("group") / request.param
    tiny.build_tiny(folder, family=request.param, size=SIZE, texts=["Which is better?"])
    plain = HFBackend(folder, batch_size=7, logprobs=True)
    shared = GroupBackend.around(
        plain.model, plain.processor, name="g", batch_size=7, logprobs=True
    )
    return plain, shared


def user(*parts: Any) -> Message:
    return Message(role="user", parts=parts)


def text(words: str) -> TextPart:
    return TextPart(text=words)


def noise(store: ImageStore, width: int, height: int) -> ImagePart:
    pixels = random.Random(width).randbytes(width * height * 3)
    return ImagePart(image=store.add_image(Image.frombytes("RGB", (width, height), pixels)))


def prompts(store: ImageStore) -> list[tuple[Message, ...]]:
    """A short one, one with a picture, and one with two, the second from a tool."""
    call = Message(role="assistant", parts=(text("<tool_call>zoom</tool_call>"),))
    crop = Message(role="tool", parts=(noise(store, 60, 60), text("a crop")))
    return [
        (user(text("Is 7 odd?")),),
        (user(noise(store, 200, 120), text("Which is better?")),),
        (user(noise(store, 90, 300), text("And now, of these two?")), call, crop),
    ]


def asks(store: ImageStore, which: tuple[int, ...], copies: int, **more: Any) -> list[Ask]:
    sample = Sample(id="1", task="t", mode="single", format="single_rm", question=())
    shown, every = show(sample, (), ()), prompts(store)
    settings: dict[str, Any] = {"max_tokens": 9, "temperature": 1.0} | more
    return [
        Ask(
            messages=every[n],
            store=store,
            max_pixels=1280 * 28 * 28,
            shown=shown,
            seed=100 * n + copy,
            **settings,
        )
        for n in which
        for copy in range(copies)
    ]


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_group_writes_what_each_would_alone(
    backends: tuple[HFBackend, GroupBackend], which: tuple[int, ...]
) -> None:
    """Also after a batch with pictures, whose positions a batch without must not inherit."""
    plain, shared = backends
    store = ImageStore()
    requests = asks(store, which, 4)
    # Of different lengths, so that rows leave the batch one after another.
    requests = [replace(ask, max_tokens=3 + 2 * (n % 4)) for n, ask in enumerate(requests)]
    expected, found = plain.generate_batch(requests), shared.generate_batch(requests)
    for one, other in zip(expected, found, strict=True):
        assert (other.token_ids, other.text) == (one.token_ids, one.text)
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-4)
        assert (other.finish_reason, other.usage) == (one.finish_reason, one.usage)
    assert len({reply.token_ids for reply in found}) > len(which), "copies part"


def test_equal_prompts_are_read_once(
    backends: tuple[HFBackend, GroupBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shared = backends
    rows = []
    whole = shared.model.forward

    def counted(*args: Any, **inputs: Any) -> Any:
        rows.append(inputs["input_ids"].shape)
        return whole(*args, **inputs)

    monkeypatch.setattr(shared.model, "forward", counted)
    shared.generate_batch(asks(ImageStore(), (1,), 6, max_tokens=3))
    assert rows[0][0] == 1, "the prompt"
    assert [tuple(shape) for shape in rows[1:]] == [(6, 1)] * 2


def test_a_request_that_cannot_be_served_does_not_harm_its_group(
    backends: tuple[HFBackend, GroupBackend],
) -> None:
    _, shared = backends
    store = ImageStore()
    lost = ImageRef(sha256="0" * 64, mime="image/png", width=30, height=30)
    bad = replace(asks(store, (0,), 1)[0], messages=(user(ImagePart(image=lost)),))
    found = shared.generate_batch([*asks(store, (1,), 2), bad, bad])
    assert all(isinstance(reply, DataError) for reply in found[2:])
    assert all(reply.token_ids for reply in found[:2])


def test_other_models_are_served_the_plain_way(
    backends: tuple[HFBackend, GroupBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shared = backends
    served = []
    monkeypatch.delattr(type(shared.model.model), "compute_3d_position_ids")
    monkeypatch.setattr(HFBackend, "_write", lambda self, rows, sampler: served.append(len(rows)))
    shared.generate_batch(asks(ImageStore(), (0, 1), 2))
    assert served == [4]
