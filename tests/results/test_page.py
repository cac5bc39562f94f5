"""Pages that can reach nothing and run nothing but their own script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armbench.results.page import inert_json, page

NASTY = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["</script", ">", "<!--", "<script", "-->", "\u2028", "\u2029", "]]>", "&lt;", "&", "'",
             '"', "\\", "\\u003c", "\x00", "</SCRIPT ", "\ud800", "a"]
        )
    ).map("".join),
)  # fmt: skip
VALUES = st.recursive(
    NASTY | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_no_value_ends_its_element_or_opens_a_comment(value: Any) -> None:
    text = inert_json(value)
    assert not re.search(r"</script|<!--|<script|[\u2028\u2029<>&]", text, re.IGNORECASE)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert json.loads(inert_json(value)) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_hold_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        inert_json([number])


class Elements(HTMLParser):
    """Elements in order, with their attributes and what script and style hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attrs, "".join(held)) for name, attrs, held in self.found if name == tag]


def policy(html: str) -> dict[str, str]:
    metas = [attrs for attrs, _ in Elements(html).all("meta")]
    [content] = [m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy"]
    assert content is not None
    return dict(part.split(" ", 1) for part in content.split("; "))


def sha(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_only_the_page_s_own_script_and_style_are_allowed() -> None:
    style, script = "p { color: red }", "document.title = 'é';"
    rules = policy(page("t", "<p>", style, script))
    assert rules["script-src"] == sha(script)
    assert rules["style-src"] == sha(style)


def test_everything_else_is_forbidden() -> None:
    rules = policy(page("t", "", "", "x"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == rules["trusted-types"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert not re.search(r"unsafe|https?:|\*|blob:|'self'", " ".join(rules.values()))


def test_a_page_without_script_allows_none() -> None:
    html = page("t", "<p>hi</p>", "p {}")
    assert policy(html)["script-src"] == "'none'"
    assert not Elements(html).all("script")


def test_the_policy_stands_before_anything_it_is_to_govern() -> None:
    html = page("<title>", "<p>", "p {}", "x", data=[1])
    first = html.index("Content-Security-Policy")
    assert all(first < html.index(mark) for mark in ("<title>", "<style>", "<script", "<body>"))


@pytest.mark.parametrize(
    ("style", "script"),
    [("</style>", ""), ("</STYLE ", ""), ("", "'</script>'"), ("", "'</Script'"), ("", "a <!-- b")],
)
def test_code_that_would_end_its_own_element_is_refused(style: str, script: str) -> None:
    with pytest.raises(ValueError, match="own code holds"):
        page("t", "", style, script)


@given(NASTY, NASTY)
def test_title_and_data_add_no_element(title: str, text: str) -> None:
    html = page(title, "<div></div>", "p {}", "go()", data={"text": text}).replace("\x00", "")
    names = [name for name, _, _ in Elements(html).found]
    assert names == [
        "html", "head", "meta", "meta", "meta", "meta", "title", "style", "body", "div",
        "script", "script",
    ]  # fmt: skip


def test_data_and_attachments_are_read_back_from_elements_that_do_not_run() -> None:
    data, held = {"text": "</script><b>é\u2028"}, bytes(range(256))
    scripts = Elements(page("t", "", "", "go()", data=data, attachments={"p-1": held})).all(
        "script"
    )
    index, attachment, own = scripts
    assert index[0] == {"type": "application/json", "id": "data"}
    assert json.loads(index[1]) == data
    assert attachment[0] == {"type": "text/plain", "id": "p-1"}
    assert base64.b64decode(attachment[1]) == held
    assert (own[0], own[1].strip()) == ({}, "go()")


def test_the_same_input_gives_the_same_page() -> None:
    pages = {page("t", "<p>", "p {}", "x", data={"b": 1, "a": 2}) for _ in range(3)}
    assert len(pages) == 1
