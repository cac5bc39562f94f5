"""The viewer in a real browser: what a reader can do."""

from __future__ import annotations

from typing import Any

import pytest

from armbench.images import ImageStore
from tests.helpers import make_sample
from tests.results.browsing import visit
from tests.results.viewing import (
    INNER,
    OUTER,
    REGION,
    document_episode,
    judged,
    name,
    write_run,
    zoom_episode,
)


def test_opens_with_figures_and_a_list_of_which_only_the_rows_in_view_exist(mixed, chromium):
    with visit(chromium, mixed) as seen:
        assert seen.text(".status") == "81 episodes"
        assert "judge-a" in seen.text(".run-card >> nth=0")
        assert "0.988" in seen.text(".run-card .accuracy >> nth=0")  # 80 of 81
        assert 0 < seen.count(".row") < 40
        seen.page.evaluate("document.querySelector('.list').scrollTop = 1e6")
        seen.page.wait_for_selector("text=zoomed")


def test_filters_combine_and_say_how_many_are_left(mixed, chromium):
    with visit(chromium, mixed) as seen:
        seen.page.click(".chip.unscored")
        seen.page.wait_for_selector("text=1 of 81 episodes")
        assert "item-02" in seen.text(".row")
        seen.page.click("text=Clear filters")
        seen.page.select_option("select[aria-label=Category]", "odd")
        seen.page.wait_for_selector("text=40 of 81 episodes")
        seen.page.click("button.run-tab >> nth=1")
        seen.page.wait_for_selector("text=30 of 61 episodes")
        seen.page.click(".chip.flipped >> nth=0")
        assert seen.page.evaluate("location.hash") == "#run=1&flipped=1&category=odd"
        seen.page.click(".chip >> nth=1")
        seen.page.wait_for_selector("text=15 of 61 episodes")
        assert set(seen.page.locator(".row .outcome:first-child").all_text_contents()) == {"✗wrong"}


def test_free_text_finds_what_the_judge_wrote_and_a_used_tool(mixed, chromium):
    with visit(chromium, mixed) as seen:
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("CORNER SHOWS")
        seen.page.wait_for_selector("text=1 of 81 episodes")
        assert "zoomed" in seen.text(".row")
    with visit(chromium, mixed, "tool=image_zoom_in_tool&q=nothing+like+it") as seen:
        seen.page.wait_for_selector("text=0 of 81 episodes")


def test_keys_walk_the_filtered_list_and_the_way_back_works(mixed, chromium):
    with visit(chromium, mixed, "category=even") as seen:
        title = "main h2"
        seen.page.click(".row >> nth=0")
        seen.page.wait_for_selector("main h2 >> text=item-00")
        seen.page.keyboard.press("j")
        seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_selector("main h2 >> text=item-02")  # both orders of item-00 first
        seen.page.keyboard.press("o")
        seen.page.wait_for_selector(".sibling[aria-current=true] >> text=order 2,1")
        seen.page.keyboard.press("k")
        seen.page.keyboard.press("k")
        seen.page.wait_for_selector("main h2 >> text=item-00")
        assert seen.count(".row[aria-current=true]") == 1
        seen.page.keyboard.press("?")
        assert "other order" in seen.text("dialog")
        seen.page.keyboard.press("Escape")
        assert seen.text(title).startswith("item-00")
        seen.page.go_back()
        seen.page.wait_for_selector(".run-card")
        assert seen.page.evaluate("location.hash") == "#category=even"
        assert "40 of 81" in seen.text(".status")


@pytest.mark.parametrize("limit", ["() => {}", "() => { throw new Error('too often'); }"])
def test_walking_goes_on_when_the_browser_will_not_change_the_address(mixed, chromium, limit):
    """Browsers allow some hundred changes in ten seconds; a key held down makes more."""
    with visit(chromium, mixed, "category=even") as seen:
        seen.page.click(".row >> nth=0")
        seen.page.wait_for_selector("main h2 >> text=item-00")
        seen.page.evaluate(f"() => {{ history.replaceState = {limit}; }}")
        for _ in range(4):
            seen.page.keyboard.press("j")
        seen.page.wait_for_selector("main h2 >> text=item-04")


def test_a_link_opens_its_episode_in_the_right_run(mixed, chromium):
    _, trajectory = judged(make_sample("", id="item-07"), 1, order=(1, 0))
    with visit(chromium, mixed, f"e={name(trajectory)}&run=1") as seen:
        assert seen.text("main h2") == "item-07"
        assert "judge-b" in seen.text(".facts")
        assert "wrong" in seen.text(".title-line")
        assert "Answer 2" in seen.text(".candidate.is-gold")
        assert "Answer 1" in seen.text(".candidate.is-chosen")
        assert "no. 2 in the data set" in seen.text(".candidate.is-chosen")
    with visit(chromium, mixed, "e=0123456789ab") as seen:
        assert "does not hold that episode" in seen.text("main")


def test_two_runs_stand_side_by_side_on_one_item(mixed, chromium):
    _, trajectory = judged(make_sample("", id="item-07"), 1, order=(1, 0))
    with visit(chromium, mixed, f"e={name(trajectory)}&compare=1") as seen:
        left, right = (seen.box(f".column >> nth={n}") for n in (0, 1))
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] < right["x"]
        assert "verdict of A" in seen.text(".candidate.is-gold")
        assert "verdict of B" in seen.text(".candidate:not(.is-gold)")
        seen.page.keyboard.press("Escape")
        seen.page.wait_for_selector(".episode:not(.two)")
    missing = name(judged(make_sample("", id="item-39"), 1, order=(0, 1))[1])
    with visit(chromium, mixed, f"e={missing}&compare=1") as seen:
        assert "B has no episode of this item" in seen.text(".columns")


def test_two_runs_are_stacked_on_a_phone(mixed, chromium):
    _, trajectory = judged(make_sample("", id="item-07"), 1, order=(1, 0))
    with visit(chromium, mixed, f"e={name(trajectory)}&compare=1", width=360) as seen:
        left, right = (seen.box(f".column >> nth={n}") for n in (0, 1))
        assert left["x"] == right["x"]
        assert left["y"] + left["height"] <= right["y"]
        assert seen.overflow() <= 0


def test_a_zoom_box_lies_where_the_log_says_and_leads_to_its_crop_and_back(mixed, chromium):
    _, trajectory = zoom_episode(ImageStore())
    with visit(chromium, mixed, f"e={name(trajectory)}") as seen:
        picture = seen.box(".pictures img")
        width, height = OUTER[2] - OUTER[0], OUTER[3] - OUTER[1]
        inner = [
            OUTER[0] + INNER[0] * width / 1000, OUTER[1] + INNER[1] * height / 1000,
            OUTER[0] + INNER[2] * width / 1000, OUTER[1] + INNER[3] * height / 1000,
        ]  # fmt: skip
        drawn = ".pictures rect.box"
        boxes = [f"{drawn}.cut >> nth=0", f"{drawn}.cut >> nth=1", f"{drawn}.evidence"]
        for selector, box in zip(boxes, [OUTER, inner, REGION], strict=True):
            assert edges(seen.page, selector) == pytest.approx(on(picture, box), abs=1)
        crop = seen.box(".result .picture img")
        cut_again = ".result .picture rect.cut.box"
        assert edges(seen.page, cut_again) == pytest.approx(on(crop, INNER), abs=1)
        seen.page.hover(".pictures .box-tag.cut >> nth=1")
        assert seen.count(".step.tool.lit") == 1
        seen.page.click(".pictures .box-tag.cut >> nth=1")
        assert seen.page.evaluate("document.activeElement.querySelector('h4').textContent") == (
            "Call 2"
        )
        seen.page.click(".step.tool >> nth=0 >> .locator")
        assert seen.page.evaluate("document.activeElement.textContent") == "1"
        assert seen.count("rect.cut.box.lit") == 1


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("corner", [[0, 0], [600, 500]])
def test_numbers_of_boxes_at_one_place_stand_side_by_side(pages, chromium, width, corner):
    store = ImageStore()
    x, y = corner
    boxes = [[x, y, 950, 950], [x, y, 950, 950], [x + 10, y + 10, 950, 900]]
    episode = zoom_episode(store, boxes=boxes)
    file = pages(f"corner-{x}", lambda parent: [write_run(parent, [episode], f"at-{x}", store)])
    with visit(chromium, file, f"e={name(episode[1])}", width=width) as seen:
        numbers = seen.page.locator(".pictures .box-tag.cut")
        assert numbers.all_inner_texts() == ["1", "2", "3"]
        spots = [numbers.nth(n).bounding_box() for n in range(3)]
        for n, one in enumerate(spots):
            for other in spots[:n]:
                beside = abs(one["x"] - other["x"]) >= min(one["width"], other["width"])
                assert beside or abs(one["y"] - other["y"]) >= one["height"]


def edges(page: Any, selector: str) -> list[float]:
    """Left, top, right, bottom of a rectangle without its stroke, in pixels of the window."""
    found: list[float] = page.locator(selector).first.evaluate(
        """rect => {
          const { x, y, width, height } = rect.getBBox();
          const at = (x, y) => new DOMPoint(x, y).matrixTransform(rect.getScreenCTM());
          const [a, b] = [at(x, y), at(x + width, y + height)];
          return [a.x, a.y, b.x, b.y];
        }"""
    )
    return found


def on(picture: dict[str, float], box: list[float] | list[int]) -> list[float]:
    x1, y1, x2, y2 = (value / 1000 for value in box)
    return [
        picture["x"] + x1 * picture["width"], picture["y"] + y1 * picture["height"],
        picture["x"] + x2 * picture["width"], picture["y"] + y2 * picture["height"],
    ]  # fmt: skip


def test_a_turn_shows_reasoning_call_result_and_what_was_dropped(mixed, chromium):
    _, trajectory = zoom_episode(ImageStore())
    with visit(chromium, mixed, f"e={name(trajectory)}") as seen:
        assert "I look closer." in seen.text(".piece.reasoning >> nth=0")
        assert seen.text("del") == "said too early"
        assert '"bbox_2d": [400, 400, 800, 900]' in seen.text(".step.tool >> nth=0")
        assert "hit: holds 100% of the evidence" in seen.text(".step.tool >> nth=0")
        assert "unknown_image" in seen.text(".step.failed")
        assert seen.text("mark") == "Answer 1"
        assert "answered" in seen.text(".step.stop")
        assert "tokens" in seen.text(".bar-row >> nth=0")
        seen.page.click("text=Prompt as sent")
        seen.page.wait_for_selector("text=You are a judge of answers")


def test_pages_of_a_document_are_marked_as_evidence_or_not(pages, chromium):
    store = ImageStore()
    episode = document_episode(store)
    file = pages("document", lambda parent: [write_run(parent, [episode], "reader", store)])
    with visit(chromium, file, f"e={name(episode[1])}") as seen:
        assert seen.text(".evidence-line").replace("\n", " ").split() == (
            "Evidence p. 4 ✓ evidence shown by call 1 p. 7 ✗ evidence never shown".split()
        )
        first, second = (f".step.tool >> nth={n} >> .pages-row" for n in (0, 1))
        assert seen.text(first).split("\n")[:2] == ["left to right", "p. 4 ✓ evidence"]
        assert "hit: 1 of 2 evidence pages" in seen.text(first)
        assert "miss: no evidence page" in seen.text(second)
        assert seen.count(".result img") == 2


CONTRAST = """() => {
  const luminance = (rgb) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (let up = node; up; up = up.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(up).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility()) continue;
    if (["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) continue;
    const [r, g, b, a = 1] = parse(getComputedStyle(node).color);
    const under = ground(node);
    const over = [r, g, b].map((v, n) => v * a + under[n] * (1 - a));
    const [x, y] = [luminance(over), luminance(under)].sort((p, q) => q - p);
    const ratio = (x + 0.05) / (y + 0.05);
    const words = `${node.className} ${node.textContent.slice(0, 30)}`;
    if (ratio < 4.5) worst.push(`${words}: ${ratio.toFixed(2)}`);
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(mixed, chromium, scheme):
    _, trajectory = zoom_episode(ImageStore())
    with visit(chromium, mixed, scheme=scheme) as seen:
        assert seen.page.evaluate(CONTRAST) == []
        seen.page.evaluate(f"location.hash = 'e={name(trajectory)}&compare=1'")
        seen.page.wait_for_selector(".episode")
        assert seen.page.evaluate(CONTRAST) == []
        before = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        seen.page.click("text=Theme")
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert seen.page.evaluate(CONTRAST) == []


def test_phone_width_shows_the_list_then_the_episode(mixed, chromium):
    _, trajectory = zoom_episode(ImageStore())
    with visit(chromium, mixed, "q=zoomed", width=360) as seen:
        seen.page.wait_for_selector("text=1 of 81 episodes")
        assert seen.overflow() <= 0
        assert not seen.page.is_visible("main")
        seen.page.click(".row")
        seen.page.wait_for_selector("main h2 >> text=zoomed")
        assert not seen.page.is_visible(".side")
        assert seen.overflow() <= 0
        assert name(trajectory) in seen.page.evaluate("location.hash")
        seen.page.click("text=← Back")
        seen.page.wait_for_selector(".side", state="visible")


def test_a_missing_picture_is_a_placeholder_and_counted(pages, chromium):
    store = ImageStore()
    episode = zoom_episode(store)
    file = pages("missing", lambda parent: [write_run(parent, [episode], "blind")])
    with visit(chromium, file) as seen:
        assert "3 picture files are missing" in seen.text(".notice")
        seen.page.evaluate(f"location.hash = 'e={name(episode[1])}'")
        seen.page.wait_for_selector(".pictures .frame.absent")
        assert "picture file is missing" in seen.text(".pictures .frame.absent")
        assert seen.count(".pictures rect.cut.box") == 2
