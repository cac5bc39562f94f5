"""Our tools as verl calls them."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from armbench.errors import ConfigError
from armbench.images import ImageStore
from armbench.tools import NEEDS, VARIANTS, build_tools, family_of, tool_names
from armbench.tools import verl as ours
from armbench.tools.verl import CLASSES, EVENTS
from armbench.trajectory import ToolEvent
from tests.document_files import write_pdf
from tests.helpers import picture

# What verl 0.9.1 reads of a tool, its schema and its answers (experimental/agent_loop/
# tool_agent_loop.py, tools/tool_registry.py); `test_with_the_real_package` says whether it holds.


class AgentData:
    """The episode that verl's loop hands to tools, as far as tools may look at it."""

    def __init__(self) -> None:
        self.extra_fields: dict[str, Any] = {}


def verl_calls(tool: Any, item: dict[str, Any], arguments: Any, episode: Any = None) -> Any:
    """A call as verl's tool loop makes it: create, execute, release."""

    async def go() -> Any:
        instance, _ = await tool.create(create_kwargs=item)
        try:
            return await tool.execute(instance, arguments, agent_data=episode)
        finally:
            await tool.release(instance)

    return asyncio.run(go())


@pytest.fixture
def photo(tmp_path: Path) -> Iterator[str]:
    store = ImageStore(tmp_path / "images")
    return store.path(picture(store, (400, 300))).relative_to(tmp_path).as_posix()


def zoom(tmp_path: Path, **config: Any) -> Any:
    return ours.ImageZoomInTool({"type": "native", "data": str(tmp_path), **config})


BOX = {"image": "original_image", "bbox_2d": [0, 0, 500, 500]}


# --- ours for verl


def test_every_tool_is_a_class():
    assert {*CLASSES.values(), "extract_text_from_image"} == set(tool_names())
    for name, tool in CLASSES.items():
        if family_of(tool) in NEEDS:  # made of tools that their own tests build
            continue
        made = getattr(ours, name)({"type": "native"})
        assert made.tool == tool
        [built] = build_tools([tool]).values()
        assert made.name == built.spec.name
        said = made.tool_schema.model_dump(exclude_unset=True, exclude_none=True)
        assert said == built.spec.function_schema()
    with pytest.raises(AttributeError, match="NoSuchTool"):
        ours.NoSuchTool  # noqa: B018


def test_a_call_gives_text_and_pictures(tmp_path: Path, photo: str):
    answered, reward, metrics = verl_calls(
        zoom(tmp_path), {"images": {"original_image": photo}}, BOX
    )
    assert answered.text.startswith("observation_1 (1: 400x300)\nZoomed in on original_image")
    assert [image.size for image in answered.image] == [(400, 300)]
    assert (answered.video, reward, metrics) == (None, 0.0, {"ok": True})


def test_an_item_may_come_as_json(tmp_path: Path, photo: str):
    # Parquet gives each row the keys of all rows, None where it has none.
    item = {"item": json.dumps({"images": {"original_image": photo, "original_image_2": None}})}
    answered, _, _ = verl_calls(zoom(tmp_path), item, BOX)
    assert "Zoomed in" in answered.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"image": "other", "bbox_2d": [0, 0, 9, 9]}, "There is no image named 'other'"),
        ({"image": "original_image"}, "Bad arguments"),
        ({"image": "original_image", "bbox_2d": [5, 5, 5, 5]}, "is empty"),
        (None, "Bad arguments"),
    ],
)
def test_a_bad_call_is_told_so(tmp_path: Path, photo: str, arguments: Any, says: str):
    images = {"original_image": photo}
    answered, _, metrics = verl_calls(zoom(tmp_path), {"images": images}, arguments)
    assert answered.text.startswith("Error:")
    assert says in answered.text
    assert answered.image is None
    assert metrics == {"ok": False}


def test_calls_of_an_episode_share_their_pictures(tmp_path: Path, photo: str):
    tool, episode = zoom(tmp_path), AgentData()
    item = {"images": {"original_image": photo}}
    verl_calls(tool, item, BOX, episode)
    again = {"image": "observation_1", "bbox_2d": [0, 0, 500, 500]}
    answered, _, _ = verl_calls(tool, item, again, episode)
    assert answered.text.startswith("observation_2")
    other, _, _ = verl_calls(tool, item, again, AgentData())
    assert "There is no image named 'observation_1'" in other.text


def test_an_episode_keeps_what_ran(tmp_path: Path, photo: str):
    episode = AgentData()
    verl_calls(zoom(tmp_path), {"images": {"original_image": photo}}, BOX, episode)
    [record] = json.loads(json.dumps(episode.extra_fields[EVENTS]))
    event = ToolEvent.model_validate_json(record)
    assert (event.call.name, event.call.arguments) == ("image_zoom_in_tool", BOX)
    assert event.result.meta["bbox_2d"] == [0, 0, 500, 500]


def test_an_episode_that_is_over_is_forgotten(tmp_path: Path, photo: str):
    tool, episode = zoom(tmp_path), AgentData()
    verl_calls(tool, {"images": {"original_image": photo}}, BOX, episode)
    known = len(ours._EPISODES)
    del episode
    gc.collect()
    assert len(ours._EPISODES) == known - 1
    assert not tool._items
    assert not tool._contexts


def test_text_is_inert_and_cut(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    write_pdf(tmp_path / "docs" / "a.pdf", ["<tool_call>\n" + "a river\n" * 20])
    config = {"data": str(tmp_path), "tool_text_limit": 150, "settings": {"returns": "text"}}
    tool = ours.DocPageByIndexTool(config)
    answered, _, _ = verl_calls(tool, {"documents": "docs"}, {"filename": "a.pdf", "image_idx": 1})
    assert "< tool_call>" in answered.text
    assert "<tool_call>" not in answered.text
    assert len(answered.text) <= 150
    assert "characters cut" in answered.text


def test_checkers_read_the_items_texts():
    tool = ours.NoArabicNumberTool({})
    item = {"texts": {"text_0": "no digit", "text_1": "4"}}
    for name, says in (("text_0", "True"), ("text_1", "False")):
        answered, _, _ = verl_calls(tool, item, {"response": name})
        assert answered.text.startswith(f"Check result: {says}")


def test_a_schema_of_another_tool_is_refused():
    schema = ours.Schema.model_validate({"type": "function", "function": {"name": "other"}})
    with pytest.raises(ConfigError, match="ImageZoomInTool is image_zoom_in_tool, not other"):
        ours.ImageZoomInTool({}, schema)


# --- the real package, where it is installed


def test_with_the_real_package(tmp_path: Path, photo: str, monkeypatch: pytest.MonkeyPatch):
    registry = pytest.importorskip("verl.tools.tool_registry")
    import armbench.training.engines

    monkeypatch.setenv("ARMBENCH_RL_DATA", str(tmp_path))
    path = Path(armbench.training.engines.__path__[0]) / "verl_tools.yaml"
    tools = {tool.name: tool for tool in registry.load_all_tools(str(path), None)}
    # What the 7B judge was trained with; the others are taken by who wants them.
    offered = [
        name for name in tool_names() if name not in VARIANTS and family_of(name) not in NEEDS
    ]
    assert set(tools) == set(offered)
    answered, _, _ = verl_calls(
        tools["image_zoom_in_tool"], {"images": {"original_image": photo}}, BOX
    )
    schemas = pytest.importorskip("verl.tools.schemas")
    response = schemas.ToolResponse(text=answered.text, image=answered.image)
    assert not response.is_empty()
    schemas.OpenAIFunctionToolSchema.model_validate(
        tools["image_zoom_in_tool"].tool_schema.model_dump()
    )
