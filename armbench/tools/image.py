"""Zooming into pictures.

Two tools share one implementation and one name, ``image_zoom_in_tool``, because
the published checkpoints emit it with either of two sets of parameters: `ZOOM`
(picture by name) and `ZOOM_QWEN3VL` (picture by number). A task offers one.

Crops are taken from the original at full resolution; only what is returned is
shrunk to the pixel budget. The rules (smallest side, enlarging, largest aspect
ratio) are those of the ARM-Thinker tools (arXiv 2512.05111).
"""

from __future__ import annotations

import math
from typing import Annotated

from PIL import Image
from pydantic import Field

from armbench.errors import ToolError
from armbench.images import fit_pixels
from armbench.tool import ToolContext, ToolOutput, tool

__all__ = [
    "MAX_ASPECT",
    "MIN_SIDE",
    "MIN_SIDE_QWEN3VL",
    "ZOOM",
    "ZOOM_QWEN3VL",
    "pixel_box",
    "zoomed",
]

MIN_SIDE = 28
"""Shorter sides of a crop grow to this many pixels (one patch of Qwen2.5-VL)."""
MIN_SIDE_QWEN3VL = 32
"""The same for Qwen3-VL."""
MAX_ASPECT = 100
"""Longest side over shortest side of a box that is still cropped."""
_ENLARGE_BELOW = 224
_SCALE = 1000

_NAME = "image_zoom_in_tool"
_BOX = (
    "Box to zoom into, [x1, y1, x2, y2]: top left and bottom right corner, relative to the "
    "picture's width and height, from 0 to 1000."
)
# Given to the model, not to the validator: what lies outside is clamped.
_Coordinate = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": _SCALE})]


def pixel_box(
    bbox_2d: list[float], size: tuple[int, int], min_side: int = MIN_SIDE
) -> tuple[tuple[int, int, int, int], list[float]]:
    """Turn a judge's box into whole pixels inside a picture.

    Args:
        bbox_2d: x1, y1, x2, y2 from 0 to 1000; what lies outside is clamped.
        size: Width and height of the picture in pixels.
        min_side: A shorter side grows to this many pixels about its centre, moved
            where that would leave the picture (which may itself be smaller).

    Returns:
        The box in pixels (right and bottom exclusive), and the clamped `bbox_2d`.

    Raises:
        ToolError: If a number is not finite, or the box is empty or too thin.
    """
    if not all(math.isfinite(value) for value in bbox_2d):
        raise ToolError(
            "bbox_2d must hold four finite numbers from 0 to 1000: [x1, y1, x2, y2].", "bad_box"
        )
    x1, y1, x2, y2 = clamped = [min(max(float(value), 0.0), float(_SCALE)) for value in bbox_2d]
    if x2 <= x1 or y2 <= y1:
        raise ToolError(
            f"The box {_show(bbox_2d)} is empty. bbox_2d is [x1, y1, x2, y2] with x1 < x2 and "
            "y1 < y2, each from 0 to 1000.",
            "empty_box",
        )
    width, height = (x2 - x1) * size[0] / _SCALE, (y2 - y1) * size[1] / _SCALE
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ToolError(
            f"The box {_show(bbox_2d)} is {width:.1f} x {height:.1f} pixels, which is too thin: "
            f"the longer side may be at most {MAX_ASPECT} times the shorter one.",
            "thin_box",
        )
    left, right = _span(x1, x2, size[0], min_side)
    top, bottom = _span(y1, y2, size[1], min_side)
    return (left, top, right, bottom), clamped


def _span(start: float, end: float, length: int, min_side: int) -> tuple[int, int]:
    """One axis of the box in pixels; fractions of pixels are taken in."""
    # Rounded first: 700 / 1000 * 10 is a hair over 7 and must not take in an eighth pixel.
    low = math.floor(round(start * length / _SCALE, 6))
    high = min(length, math.ceil(round(end * length / _SCALE, 6)))
    # A box thinner than the rounding at the far edge still means its last pixel.
    low = min(low, high - 1) if high > 0 else 0
    want = min(max(high - low, min_side), length)
    if want > high - low:
        centre = (start + end) / 2 * length / _SCALE
        low = min(max(0, math.floor(centre - want / 2 + 0.5)), length - want)
        high = low + want
    return low, max(high, low + 1)


def _show(box: list[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


def zoomed(picture: Image.Image, box: tuple[int, int, int, int], max_pixels: int) -> Image.Image:
    """A part of a picture as it is shown: enlarged where it is small, within the budget.

    Args:
        picture: The original.
        box: Whole pixels, as `pixel_box` gives them.
        max_pixels: Pixels that the model sees at most.
    """
    crop = picture.crop(box)
    width, height = crop.size
    if min(width, height) < _ENLARGE_BELOW:
        width, height = 2 * width, 2 * height
    size = fit_pixels(width, height, max_pixels)
    return crop if size == crop.size else crop.resize(size, Image.Resampling.BICUBIC)


def _zoom(ctx: ToolContext, name: str, bbox_2d: list[float], min_side: int) -> ToolOutput:
    ref = ctx.image(name)
    box, clamped = pixel_box(bbox_2d, (ref.width, ref.height), min_side)
    crop = zoomed(ctx.store.open(ref), box, ctx.max_pixels)
    text = (
        f"Zoomed in on {name}, bbox_2d {_show(clamped)}: pixels ({box[0]}, {box[1]}) to "
        f"({box[2]}, {box[3]}) of {ref.width}x{ref.height}."
    )
    return ToolOutput(
        text=text,
        images=[crop],
        meta={
            "tool": _NAME,
            "image": name,
            "sha256": ref.sha256,
            "box": list(box),
            "bbox_2d": list(clamped),
        },
    )


def image_zoom_in_tool(
    ctx: ToolContext,
    image: Annotated[
        str, Field(description="Name of the picture, such as original_image or observation_1.")
    ],
    bbox_2d: Annotated[list[_Coordinate], Field(description=_BOX, min_length=4, max_length=4)],
) -> ToolOutput:
    """Zoom in on a part of a picture: cut out a box and show it enlarged, in full detail.

    The text of the result names the source and the box. Numbers outside 0 to
    1000 are clamped; a side under `MIN_SIDE` pixels grows about its centre; a
    crop with a side under 224 pixels is enlarged twofold.

    Raises:
        ToolError: If there is no such picture, or the box is empty, too thin, or not finite.
    """
    return _zoom(ctx, image, bbox_2d, MIN_SIDE)


def _zoom_by_number(
    ctx: ToolContext,
    bbox_2d: Annotated[list[float], Field(description=_BOX, min_length=4, max_length=4)],
    label: Annotated[str, Field(description="Name of the object in the box.")],
    img_idx: Annotated[
        float, Field(description="Number of the picture, from 0, in the order they were shown.")
    ],
) -> ToolOutput:
    """Zoom in on a part of a picture: cut out a box and show it enlarged, in full detail.

    As `image_zoom_in_tool`, but the picture is named by its number and no side
    is under `MIN_SIDE_QWEN3VL` pixels.

    Raises:
        ToolError: If there is no such picture, or the box is empty, too thin, or not finite.
    """
    names = list(ctx.images)
    if not (math.isfinite(img_idx) and img_idx == int(img_idx) and 0 <= img_idx < len(names)):
        allowed = (
            f"Allowed: whole numbers from 0 to {len(names) - 1}." if names else "There are none."
        )
        raise ToolError(f"There is no picture with img_idx {img_idx:g}. {allowed}", "unknown_image")
    output = _zoom(ctx, names[int(img_idx)], bbox_2d, MIN_SIDE_QWEN3VL)
    output.meta |= {"img_idx": int(img_idx), "label": label}
    return output


ZOOM = tool(image_zoom_in_tool, name=_NAME)
"""``image_zoom_in_tool(image, bbox_2d)``."""
ZOOM_QWEN3VL = tool(_zoom_by_number, name=_NAME)
"""``image_zoom_in_tool(bbox_2d, label, img_idx)``, as Qwen3-VL was trained."""
