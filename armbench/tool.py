"""Tools: a typed function with a docstring becomes schema and validator.

A tool is written as a plain function whose first parameter is a `ToolContext`::

    @tool
    def count_words(ctx: ToolContext, response: str) -> str:
        \"\"\"Count the words of a text.\"\"\"
        return str(len(ctx.text(response).split()))

Its JSON schema and its argument validation both come from the signature (by
pydantic), so they cannot disagree. A `ToolError` is shown to the judge; any
other exception is a bug in the tool and becomes a `Failure`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, create_model

from armbench.errors import ToolError, problems
from armbench.types import (
    VIEW_PIXELS,
    ImagePart,
    ImageRef,
    Part,
    TextPart,
    ToolCall,
    ToolFailure,
    ToolResult,
    ToolSpec,
)

if TYPE_CHECKING:
    from PIL import Image

    from armbench.documents import DocumentCollection
    from armbench.images import ImageStore


T = TypeVar("T")


@dataclass
class ToolContext:
    """What a tool may look at during one episode.

    Attributes:
        store: Where pictures are read from and written to.
        images: Pictures by the name the judge uses, in the order they appeared.
        texts: Texts by name (``text_0``, …).
        documents: The indexed collection, if the task has one.
        max_pixels: Largest picture a tool returns, in pixels.
    """

    store: ImageStore
    images: dict[str, ImageRef] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    documents: DocumentCollection | None = None
    max_pixels: int = VIEW_PIXELS

    def image(self, name: str) -> ImageRef:
        """The picture of that name.

        Raises:
            ToolError: If there is none; the message lists the names.
        """
        return _lookup(self.images, name, "image")

    def text(self, name: str) -> str:
        """The text of that name.

        Raises:
            ToolError: If there is none; the message lists the names.
        """
        return _lookup(self.texts, name, "text")


def _lookup(table: Mapping[str, T], name: str, what: str) -> T:
    if name in table:
        return table[name]
    known = ", ".join(table) or "none"
    raise ToolError(f"There is no {what} named {name!r}. Names: {known}.", f"unknown_{what}")


@dataclass
class ToolOutput:
    """What a tool function returns when plain text is not enough.

    Attributes:
        text: Text for the judge.
        images: Pictures for the judge: decoded, or already in the store.
        meta: Facts for analysis, not shown to the judge.
    """

    text: str = ""
    images: list[Image.Image | ImageRef] = field(default_factory=list)
    meta: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """A tool ready to be offered and run."""

    spec: ToolSpec
    arguments: type[BaseModel]
    function: Callable[..., str | ToolOutput]

    def run(self, call: ToolCall, ctx: ToolContext) -> ToolResult:
        """Validate the arguments and run the tool.

        Returns:
            The result; with ``error`` set if the judge can mend the call.
        """
        try:
            output = self.function(ctx, **self._validated(call))
        except ToolError as error:
            return error_result(error.kind, str(error))
        if isinstance(output, str):
            output = ToolOutput(text=output)
        parts: list[Part] = [
            ImagePart(image=image if isinstance(image, ImageRef) else ctx.store.add_image(image))
            for image in output.images
        ]
        if output.text:
            parts.append(TextPart(text=output.text))
        return ToolResult(parts=tuple(parts), meta=output.meta)

    def _validated(self, call: ToolCall) -> dict[str, Any]:
        try:
            model = self.arguments.model_validate(call.arguments or {})
        except ValidationError as error:
            wrong = problems(error, most=None, root="arguments")
            names = ", ".join(self.arguments.model_fields) or "none"
            raise ToolError(
                f"Bad arguments for {self.spec.name}: {wrong}. Parameters: {names}.",
                "bad_arguments",
            ) from None
        return {name: getattr(model, name) for name in self.arguments.model_fields}


def error_result(kind: str, message: str) -> ToolResult:
    """A result that tells the judge what went wrong."""
    text = f"Error: {message}"
    return ToolResult(parts=(TextPart(text=text),), error=ToolFailure(kind=kind, message=message))


def tool(function: Callable[..., str | ToolOutput], *, name: str = "") -> Tool:
    """Make a `Tool` from a function.

    Args:
        function: First parameter a `ToolContext`, the others typed; parameter
            descriptions and JSON-schema extras by ``Annotated[…, Field(…)]``;
            the docstring up to the first blank line is what the judge reads.
        name: Name to offer it under; the function's own name by default.
    """
    name = name or function.__name__
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    config = ConfigDict(extra="forbid")
    model = cast("type[BaseModel]", create_model(name, __config__=config, **fields))
    doc = inspect.getdoc(function) or ""
    description = " ".join(doc.split("\n\n")[0].split())
    schema = _without_titles(model.model_json_schema())
    schema.pop("additionalProperties", None)
    schema.pop("description", None)
    return Tool(ToolSpec(name=name, description=description, parameters=schema), model, function)


def _without_titles(schema: Any) -> Any:
    """Drop pydantic's ``title`` keys: they are noise in a judge's prompt."""
    if isinstance(schema, dict):
        return {
            key: {k: _without_titles(v) for k, v in value.items()}
            if key == "properties"
            else value
            if key in ("default", "enum", "const", "examples")
            else _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_titles(value) for value in schema]
    return schema


# No line break at its end: it would make a line start of what stood within a line.
_MARK = "\n[… {n} characters cut …] "


def cut_text(text: str, limit: int, cut: Literal["head", "tail", "middle"]) -> str:
    """Cut a text to at most `limit` characters, the mark of the cut included."""
    if len(text) <= limit:
        return text
    mark = ""
    for _ in range(3):  # the number's own digits take room too
        room = max(0, limit - len(mark))
        mark = _MARK.format(n=len(text) - room)
    room = max(0, limit - len(mark))
    if cut == "tail":
        return text[:room] + mark
    if cut == "head":
        return mark + text[len(text) - room :]
    front = room // 2
    return text[:front] + mark + text[len(text) - (room - front) :]
