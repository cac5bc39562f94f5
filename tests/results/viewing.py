"""Run directories for the tests of the viewer: real zooms, documents, and hostile text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from armbench.images import ImageStore
from armbench.results.runs import anchor
from armbench.results.viewer.make import view
from armbench.runlog import RunDir
from armbench.tools.image import ZOOM
from armbench.trajectory import (
    Failure,
    Judgement,
    ModelEvent,
    NoteEvent,
    StopEvent,
    Timing,
    ToolEvent,
    Trajectory,
)
from armbench.types import (
    ImagePart,
    Message,
    Reply,
    Sample,
    TextPart,
    ToolCall,
    ToolFailure,
    ToolResult,
    ToolSpec,
    Usage,
)
from tests.helpers import answer, call, make_plan, make_sample, make_trajectory, run_episode

REGION = [500, 500, 700, 750]
OUTER = [400, 400, 800, 900]
INNER = [250, 200, 750, 700]


def write_run(
    parent: Path,
    episodes: Iterable[tuple[Sample, Trajectory]],
    judge: str = "toy-judge",
    store: ImageStore | None = None,
    **config: Any,
) -> Path:
    """A run directory; pictures are taken over from `store`, if there is one."""
    found = list(episodes)
    tasks = {sample.task: {"spec": {"unscored": "wrong"}} for sample, _ in found}
    settings = {"judge": {"backend": judge}, "tasks": tasks} | config
    run = RunDir.create(parent, f"toy--{judge}", settings)
    for sample, trajectory in found:
        run.add_sample(sample)
        if store is not None:
            for ref in sample.images:
                run.images.adopt(ref, store)
            for event in trajectory.events:
                for part in event.result.parts if isinstance(event, ToolEvent) else ():
                    if isinstance(part, ImagePart):
                        run.images.adopt(part.image, store)
        run.append(trajectory.model_copy(update={"model": judge}))
    run.close()
    return run.path


def judged(sample: Sample, verdict: Any, **fields: Any) -> tuple[Sample, Trajectory]:
    """An item with an episode whose last turn gives the verdict (shown order; None for none)."""
    said = "I cannot say." if verdict is None else answer(verdict)
    turn = ModelEvent(reply=Reply(text=said), kept=len(said))
    return sample, make_trajectory(sample, verdict, events=(turn,), **fields)


def zoom_episode(
    store: ImageStore, verdict: int = 1, boxes: Sequence[list[int]] = ()
) -> tuple[Sample, Trajectory]:
    """A crop, a crop of that crop, words after a call, a call that fails, a verdict.

    With `boxes`, these are cut from the picture instead.
    """
    photo = Image.radial_gradient("L").resize((400, 300)).convert("RGB")
    ref = store.add_image(photo)
    sample = make_sample(
        [ref, "What is in the corner?"], id="zoomed", meta={"evidence": {"region": REGION}}
    )
    replies = [
        "<think>I look closer.</think>"
        + call("image_zoom_in_tool", image="original_image", bbox_2d=OUTER)
        + " said too early",
        call("image_zoom_in_tool", image="observation_1", bbox_2d=INNER),
        call("image_zoom_in_tool", image="observation_7", bbox_2d=INNER),
        answer(verdict, "the corner shows it"),
    ]
    if boxes:
        crops = (call("image_zoom_in_tool", image="original_image", bbox_2d=b) for b in boxes)
        replies = [*crops, answer(verdict)]
    plan = make_plan(ZOOM, sample=sample, store=store, order=(0, 1))
    return sample, run_episode(plan, replies)


def document_episode(
    store: ImageStore, shown: Sequence[Sequence[int]] = ((4, 9), (2,))
) -> tuple[Sample, Trajectory]:
    """Page retrievals on an item whose evidence is on pages 4 and 7."""
    sample = make_sample(
        "Which year?",
        id="paged",
        category="table",
        documents=("report.pdf",),
        meta={"evidence": {"pages": [4, 7]}},
    )
    events: list[Any] = []
    for n, pages in enumerate(shown, 1):
        row = store.add_image(Image.new("RGB", (200 * len(pages), 280), (250, 250, 240)))
        result = ToolResult(
            parts=(ImagePart(image=row, name=f"observation_{n}"), TextPart(text="## Page text")),
            meta={"filename": "report.pdf", "pages": list(pages)},
        )
        arguments: dict[str, Any] = {"filename": "report.pdf", "query": f"year {n}"}
        made = ToolCall(id=f"call_{n}", name="doc_page_retrieval_by_query", arguments=arguments)
        written = call("doc_page_retrieval_by_query", **arguments)
        turn = ModelEvent(reply=Reply(text=written), kept=len(written), calls=1)
        events += [turn, ToolEvent(call=made, result=result)]
    said = answer(1)
    events.append(ModelEvent(reply=Reply(text=said), kept=len(said)))
    return sample, make_trajectory(sample, 1, events=tuple(events))


TOWER = "Z" + "\u0335\u0311\u0358" * 300
PAYLOADS = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "</script><script>window.ran = 3</script>",
    "</style><svg onload='window.ran = 4'>",
    "<a href='javascript:window.ran = 5'>a link</a> javascript:window.ran=6",
    "<iframe src='https://example.org/'></iframe><base href='https://example.org/'>",
    "<meta http-equiv=refresh content='0;url=https://example.org/'><link rel=prefetch href=//x.y>",
    "</textarea></details></template><!-- <form action='https://example.org/'><button>",
    "`${window.ran = 7}` {{constructor.constructor('window.ran = 8')()}}",
    "\u202egnp.exe\u2066\u2067\u2068 \u200b\ufeff \U000e0041\U000e0042",
    "\x00\x1b[31m\x9b2J\r\x07 \u2028 \u2029",
    TOWER,
    "W" * 1_000_000,
)
HOSTILE = "\n".join(PAYLOADS[:-1])


def hostile_episode(n: int = 0, verdict: int | None = 1) -> tuple[Sample, Trajectory]:
    """Every field that a data set, a judge or a tool can fill holds an attack."""
    payload = PAYLOADS[n % len(PAYLOADS)]
    sample = Sample(
        id=f"{payload[:2000]} {n}",
        task=HOSTILE,
        mode="pair",
        format=HOSTILE,
        question=(TextPart(text=HOSTILE), TextPart(text=payload)),
        candidates=(payload, HOSTILE),
        gold=1,
        texts=(HOSTILE,),
        documents=(HOSTILE,),
        constraints=(HOSTILE,),
        category=HOSTILE,
        cluster=HOSTILE,
        meta={"__proto__": HOSTILE, HOSTILE: [HOSTILE], "evidence": {"pages": [1]}},
    )
    missing = {"sha256": "../../../etc/passwd", "mime": HOSTILE, "width": 0, "height": 10**9}
    said = f"{HOSTILE}</tool_call>" if verdict is None else answer(verdict, HOSTILE)
    events = (
        ModelEvent(
            reply=Reply(text=f"{payload} dropped {HOSTILE}", reasoning=HOSTILE, refusal="",
                        finish_reason=HOSTILE),
            kept=len(payload),
            calls=1,
        ),
        ToolEvent(
            call=ToolCall(id=HOSTILE, name=HOSTILE, arguments={"__proto__": payload, HOSTILE: 1}),
            result=ToolResult(
                parts=(ImagePart(image=missing, name=HOSTILE), TextPart(text=payload)),  # type: ignore[arg-type]
                error=ToolFailure(kind=HOSTILE, message=HOSTILE),
                meta={"pages": [1, 2], HOSTILE: 1e300},
            ),
        ),
        ToolEvent(
            call=ToolCall(id="2", raw=payload, parse_error=HOSTILE),
            result=ToolResult(
                parts=(TextPart(text=HOSTILE),), error=ToolFailure(kind="x", message="")
            ),
        ),
        NoteEvent(reason=HOSTILE, text=HOSTILE),
        ModelEvent(reply=Reply(text=said), kept=len(said)),
        StopEvent(reason="answered", detail=HOSTILE),
    )  # fmt: skip
    trajectory = Trajectory(
        sample_id=sample.id,
        sample_hash=sample.hash,
        task=sample.task,
        order=(1, 0),
        model=HOSTILE,
        dialect=HOSTILE,
        messages=(
            Message(role="system", parts=(TextPart(text=HOSTILE),)),
            Message(role="user", parts=(TextPart(text=payload),)),
        ),
        tools=(ToolSpec(name=HOSTILE, description=HOSTILE, parameters={HOSTILE: HOSTILE}),),
        events=events,
        judgement=Judgement(parse="missing"),
        failures=(Failure(boundary="tool", type=HOSTILE, message=HOSTILE),),
        usage=Usage(input_tokens=10**12),
        timing=Timing(seconds=1e300),
    )
    return sample, trajectory


def hostile_run(parent: Path) -> Path:
    """A run of nothing but hostile episodes, one for each payload."""
    episodes = [hostile_episode(n, 1 if n % 2 else None) for n in range(len(PAYLOADS))]
    run = RunDir.create(parent, "hostile", {"judge": {"backend": HOSTILE, HOSTILE: HOSTILE}})
    for sample, trajectory in episodes:
        run.add_sample(sample)
        run.append(trajectory)
    run.close()
    return run.path


def name(trajectory: Trajectory) -> str:
    t = trajectory
    return anchor(t.task, t.sample_id, t.repeat, t.order)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Pages by what they show; each is made once."""
    folder = tmp_path_factory.mktemp("pages")
    made: dict[str, Path] = {}

    def page(what: str, make: Callable[[Path], list[Path]]) -> Path:
        if what not in made:
            runs = make(folder)
            made[what] = view(runs, folder / f"{what}.html").path
        return made[what]

    return page


def mixed_runs(parent: Path) -> list[Path]:
    """Two judges on forty pairs in both orders; A knows, B always says the first."""
    items = [
        make_sample(
            f"Question number {n}?",
            id=f"item-{n:02}",
            category="even" if n % 2 == 0 else "odd",
            candidates=(f"good {n}", f"bad {n}"),
        )
        for n in range(40)
    ]
    orders = [(0, 1), (1, 0)]
    store = ImageStore()
    pictured = zoom_episode(store)
    a = [judged(s, order.index(0) + 1, order=order) for s in items for order in orders]
    a[4] = judged(items[2], None, order=(0, 1))
    b = [judged(s, 1, order=order) for s in items[:30] for order in orders]
    return [
        write_run(parent, [pictured, *a], "judge-a", store),
        write_run(parent, [zoom_episode(store, verdict=2), *b], "judge-b", store),
    ]


@pytest.fixture(scope="session")
def mixed(pages: Callable[..., Path]) -> Path:
    return pages("mixed", mixed_runs)
