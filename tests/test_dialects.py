"""How calls are written and read: every call is run or answered, none is lost in silence."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armbench.dialects import DIALECTS, Dialect, Heard, make_dialect, native_calls
from armbench.types import (
    ImagePart,
    ImageRef,
    NativeCall,
    Reply,
    TextPart,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from tests.helpers import call

HERMES = DIALECTS["hermes"]
NATIVE = DIALECTS["native"]
SPEC = ToolSpec(name="look", description="Look, über all.", parameters={"type": "object"})
REF = ImageRef(sha256="ab" * 32, mime="image/png", width=4, height=3)


def hear(text: str, *, dialect: Dialect = HERMES, first_id: int = 1, finish: str = "stop") -> Heard:
    return dialect.hear(Reply(text=text, finish_reason=finish), first_id)


def one(text: str, **options: object) -> ToolCall:
    """The only call that is to be answered."""
    heard = hear(text, **options)  # type: ignore[arg-type]
    assert len(heard.calls) == 1
    return heard.calls[0]


# --- Hermes: readable calls ---------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "look", "arguments": {"n": 1}}\n</tool_call>',
        '<tool_call>{"name":"look","arguments":{"n":1}}</tool_call>',
        '<tool_call>{"arguments": {"n": 1}, "name": "look", "id": 7}</tool_call>',
        # Arguments as JSON text, as in OpenAI's form.
        '<tool_call>{"name": "look", "arguments": "{\\"n\\": 1}"}</tool_call>',
        '<think>I look.</think>\n<tool_call>{"name": "look", "arguments": {"n": 1}}</tool_call>',
    ],
)
def test_a_call_is_read(text: str) -> None:
    made = one(text, first_id=4)
    assert (made.id, made.name, made.arguments, made.parse_error) == (
        "call_4",
        "look",
        {"n": 1},
        None,
    )
    assert made.raw in text


def test_no_arguments() -> None:
    assert one('<tool_call>{"name": "look", "arguments": {}}</tool_call>').arguments == {}
    assert one('<tool_call>{"name": "look", "arguments": ""}</tool_call>').arguments == {}


def test_text_without_call_stays_whole() -> None:
    for text in ("", "no call", "<answer>2</answer>", "a < tool_call > b"):
        assert hear(text) == Heard((), len(text), 0)


def test_text_after_the_first_call_is_cut_and_a_second_call_is_counted_only() -> None:
    first, second = call("look", n=1), call("look", n=2)
    text = f"so {first} The result is 5. {second} <answer>2</answer>"
    heard = hear(text)
    assert [c.arguments for c in heard.calls] == [{"n": 1}]
    assert text[: heard.kept] == f"so {first}"
    assert heard.written == 2
    message = HERMES.assistant(Reply(text=text), heard)
    assert (message.role, message.text, message.calls) == ("assistant", f"so {first}", ())


def test_parallel_calls_are_all_made() -> None:
    text = f"{call('look', n=1)} and {call('look', n=2)} end"
    heard = hear(text, dialect=make_dialect("hermes", parallel=True), first_id=3)
    assert [(c.id, c.arguments) for c in heard.calls] == [
        ("call_3", {"n": 1}),
        ("call_4", {"n": 2}),
    ]
    assert text[heard.kept :] == " end"
    assert heard.written == 2


def test_a_call_quoted_in_finished_reasoning_is_not_made() -> None:
    quoted = call("look", n=1)
    assert hear(f"<think>or {quoted}?</think><answer>1</answer>").calls == ()
    assert hear(f"<THINK>or {quoted}?</THINK>").written == 0
    assert one(f"<think>or {quoted}?</think>{call('look', n=2)}").arguments == {"n": 2}
    assert hear(f"<think>{quoted}</think>a<think>{quoted}</think>b").calls == ()


def test_a_call_in_reasoning_that_never_ends_is_made() -> None:
    text = f"<think>I look: {call('look', n=1)}"
    assert one(text).arguments == {"n": 1}
    assert one(f"<think>a</think><think>{call('look', n=1)}").arguments == {"n": 1}


@pytest.mark.parametrize(
    "said", ["</tool_call>", "<tool_call>", "<think>", "<think>x</think>", "</think>", "<answer>"]
)
def test_a_tag_inside_a_json_string_opens_and_closes_nothing(said: str) -> None:
    text = f"a {call('look', text=said)} b"
    heard = hear(text)
    assert [c.arguments for c in heard.calls] == [{"text": said}]
    assert text[heard.kept :] == " b"
    assert heard.written == 1


# --- Hermes: calls that cannot be read ----------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"name": "look", "arguments": {"n": }}', "Expecting value"),
        ('{"name": "look", "arguments": {"n": 1}', "Expecting ',' delimiter"),
        ("{'name': 'look'}", "Expecting property name"),
        ("", "Expecting value"),
        ("look(1)", "Expecting value"),
        ('{"arguments": {}}', '"name" is missing'),
        ('{"name": "look"}', '"arguments" is missing'),
        ('{"name": "", "arguments": {}}', '"name" has to be the name of a tool'),
        ('{"name": 3, "arguments": {}}', '"name" has to be the name of a tool'),
        ('{"name": "look", "arguments": [1]}', '"arguments" has to be an object'),
        ('{"name": "look", "arguments": null}', '"arguments" has to be an object'),
        ('{"name": "look", "arguments": "n=1"}', "Expecting value"),
        ('["look"]', "it has to be an object"),
        ('{"name": "look", "arguments": {}} {}', "Extra data"),
        ('{"name": "look", "arguments": {"n": NaN}}', "NaN is not a JSON number"),
        ('{"name": "look", "arguments": {"n": -Infinity}}', "-Infinity is not a JSON number"),
        ('{"name": "look", "arguments": {"n": 1e999}}', "1e999 is too large a number"),
        ('{"name": "look", "arguments": {"n": "\\ud800"}}', "half of a surrogate pair"),
        ('{"name": "look", "arguments": {"n": %s}}' % ("9" * 5000), "Exceeds the limit"),
        ('{"name": "look", "arguments": {"n": %s}}' % ("[" * 50 + "]" * 50), "nested more than"),
        ('{"name": "look", "arguments": %s}' % ("[" * 90_000 + "]" * 90_000), "not valid JSON"),
    ],
)  # fmt: skip
def test_an_unreadable_call_says_what_is_wrong_and_how_to_write_it(body: str, why: str) -> None:
    made = one(f"<tool_call>{body}</tool_call>")
    assert made.arguments is None
    assert made.name == ""
    assert made.raw == body
    assert made.parse_error is not None
    assert why in made.parse_error
    assert '<tool_call>\n{"name": "…", "arguments": {…}}\n</tool_call>' in made.parse_error


@pytest.mark.parametrize("body", ['{"name": "look", "arguments": {}}', '{"name": "lo', ""])
def test_an_unclosed_call_is_not_run(body: str) -> None:
    text = f"<think>a</think><tool_call>{body}"
    assert "it has no </tool_call>" in str(one(text).parse_error)
    assert "cut off" in str(one(text, finish="length").parse_error)
    assert hear(text).kept == len(text)


def test_a_call_that_never_closes_does_not_swallow_the_next_in_silence() -> None:
    first = '<tool_call>{"name": "look", "arguments": {}}\n'
    assert "Extra data" in str(one(first + call("look")).parse_error)


def test_a_lone_closing_tag_is_answered() -> None:
    text = '{"name": "look", "arguments": {}}</tool_call>'
    made = one(text)
    assert made.raw == text
    assert "found </tool_call> without <tool_call>" in str(made.parse_error)
    assert hear(text).written == 0
    assert hear(f"<think>{text}</think>").calls == ()
    assert one(f"{call('look')}</tool_call>").parse_error is None


# --- Hermes: what the judge sees ----------------------------------------------------------


def test_the_tool_section_lists_schemas_one_a_line() -> None:
    section = HERMES.tool_section([SPEC, SPEC])
    listed = section.split("<tools>\n")[1].split("\n</tools>")[0].splitlines()
    assert [json.loads(line) for line in listed] == [SPEC.function_schema()] * 2
    assert "über" in section
    assert "anything written after it is lost" in section
    assert "several calls" in make_dialect("hermes", parallel=True).tool_section([SPEC])
    assert HERMES.tool_section([]) == ""


def test_a_result_is_a_tool_message() -> None:
    parts = (ImagePart(image=REF, name="observation_1"), TextPart(text="seen"))
    message = HERMES.result(ToolCall(id="call_1"), ToolResult(parts=parts))
    assert (message.role, message.parts, message.call_id) == ("tool", parts, "")


def test_servers_without_a_tool_role_get_the_result_as_user() -> None:
    parts = (ImagePart(image=REF, name="observation_1"), TextPart(text="seen"))
    dialect = make_dialect("hermes", tool_role="user")
    message = dialect.result(ToolCall(id="call_1"), ToolResult(parts=parts))
    assert message.role == "user"
    assert message.parts[1:-1] == parts
    assert message.text == "<tool_response>\nseen\n</tool_response>"


def test_qwen3vl_offers_its_own_zoom_tool() -> None:
    dialect = make_dialect("qwen3vl", parallel=True)
    assert dialect.renames == (("image_zoom_in_tool", "image_zoom_in_tool_qwen3vl"),)
    assert dialect.name == "qwen3vl"
    assert not dialect.native
    assert len(hear(call("a") + call("b"), dialect=dialect).calls) == 2
    assert DIALECTS["hermes"].renames == ()


# --- native -------------------------------------------------------------------------------


def native_reply(*arguments: str, text: str = "I look.") -> Reply:
    calls = tuple(
        NativeCall(id=f"srv-{n}", name="look", arguments=a) for n, a in enumerate(arguments)
    )
    return Reply(text=text, calls=calls, finish_reason="tool_calls")


def test_native_calls_are_read_and_answered_under_the_server_s_id() -> None:
    reply = native_reply('{"n": 1}', '{"n": 2}')
    heard = NATIVE.hear(reply, 1)
    assert [(c.id, c.name, c.arguments) for c in heard.calls] == [("srv-0", "look", {"n": 1})]
    assert heard.written == 2
    assert heard.kept == len(reply.text)
    said = NATIVE.assistant(reply, heard)
    assert said.calls == reply.calls[:1]  # a call without an answer would be refused
    result = NATIVE.result(heard.calls[0], ToolResult(parts=(TextPart(text="seen"),)))
    assert (result.role, result.call_id, result.text) == ("tool", "srv-0", "seen")


def test_native_parallel_calls() -> None:
    dialect = make_dialect("native", parallel=True)
    reply = native_reply('{"n": 1}', "")
    heard = dialect.hear(reply, 1)
    assert [c.arguments for c in heard.calls] == [{"n": 1}, {}]
    assert dialect.assistant(reply, heard).calls == reply.calls


@pytest.mark.parametrize("arguments", ["{", "[]", "3", '{"n": NaN}', '{"n": "\\udfff"}'])
def test_broken_native_arguments_are_answered_and_not_sent_back(arguments: str) -> None:
    reply = native_reply(arguments)
    heard = NATIVE.hear(reply, 1)
    assert heard.calls[0].parse_error
    assert heard.calls[0].id == "srv-0"
    assert heard.calls[0].raw == f"look({arguments})"
    # Servers parse the arguments of earlier turns when they fill in the chat template.
    assert [c.arguments for c in NATIVE.assistant(reply, heard).calls] == ["{}"]


def test_native_ignores_calls_in_the_text_and_lists_no_tools_there() -> None:
    assert NATIVE.hear(Reply(text=call("look")), 1).calls == ()
    assert NATIVE.tool_section([SPEC]) == ""


def test_openai_objects_become_native_calls() -> None:
    function = SimpleNamespace(name="look", arguments=None)
    made = native_calls([SimpleNamespace(id="1", function=function), SimpleNamespace(id="2")])
    assert made == (NativeCall(id="1", name="look", arguments=""),)


# --- properties ---------------------------------------------------------------------------

TAGS = ["<tool_call>", "</tool_call>", "<think>", "</think>", '{"name": "look", "arguments": {}}']
WRITTEN = st.one_of(st.text(), st.lists(st.one_of(st.sampled_from(TAGS), st.text())).map("".join))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(TAGS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@settings(max_examples=300)
@given(WRITTEN, st.booleans(), st.booleans())
def test_no_text_can_raise(text: str, parallel: bool, cut: bool) -> None:
    dialect = make_dialect("hermes", parallel=parallel)
    heard = hear(text, dialect=dialect, finish="length" if cut else "stop")
    assert 0 <= heard.kept <= len(text)
    assert len(heard.calls) <= max(1, heard.written if parallel else 1)
    assert bool(heard.written) <= bool(heard.calls)
    for made in heard.calls:
        assert (made.parse_error is None) == (made.arguments is not None) == bool(made.name)
        assert ToolCall.model_validate_json(made.model_dump_json()) == made


@given(st.text())
def test_no_native_arguments_can_raise(arguments: str) -> None:
    (made,) = NATIVE.hear(native_reply(arguments), 1).calls
    assert (made.parse_error is None) == (made.arguments is not None)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.booleans())
def test_any_arguments_survive(arguments: dict[str, object], ascii_only: bool) -> None:
    body = json.dumps({"name": "look", "arguments": arguments}, ensure_ascii=ascii_only)
    made = one(f"<think>a</think><tool_call>\n{body}\n</tool_call> after")
    assert made.arguments == arguments
    assert made.raw == body
    as_text = json.dumps(arguments, ensure_ascii=ascii_only)
    assert NATIVE.hear(native_reply(as_text), 1).calls[0].arguments == arguments
    assert ToolCall.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "bomb",
    ["<tool_call>", "</tool_call>", "<think>", "</think>", "<think></think>", "<tool_call>[", "[",
     "<tool_call>{}</tool_call>", "<tool_call> ", '<tool_call>{"a":"</tool_call>',
     '"<tool_call>["</tool_call>",'],
)  # fmt: skip
@pytest.mark.parametrize("parallel", [False, True])
def test_a_long_hostile_text_is_read_in_linear_time(bomb: str, parallel: bool) -> None:
    text = "<tool_call>" + bomb * (200_000 // len(bomb))
    started = time.thread_time()
    hear(text, dialect=make_dialect("hermes", parallel=parallel))
    hear(text[11:], dialect=make_dialect("hermes", parallel=parallel))
    assert time.thread_time() - started < 1
