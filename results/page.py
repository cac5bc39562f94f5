"""One self-contained HTML page that can reach nothing and run nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any


def page(
    title: str,
    body: str,
    style: str,
    script: str = "",
    data: Any = None,
    attachments: Mapping[str, bytes] | None = None,
) -> str:
    """A whole HTML document with a strict Content-Security-Policy.

    No network, no frames, no forms, pictures from data URIs only; style and script are
    allowed by their hash, so that nothing else on the page can act as either. Where the
    browser knows Trusted Types, the script cannot turn text into markup or code.

    Args:
        title: Plain text.
        body: HTML, made by us; foreign text in it has to be escaped already.
        style: CSS; must not hold ``</style``.
        script: JavaScript; must not hold ``</script``. Reads its data with
            ``JSON.parse(document.getElementById("data").textContent)``.
        data: JSON-able value for the script; may hold any foreign text.
        attachments: Bytes by the id of the element that holds them in base64; the browser
            does not look at them until the script does.

    Raises:
        ValueError: If style or script would end its own element.
    """
    for text, tag in ((style, "</style"), (script, "</script"), (script, "<!--")):
        if tag in text.lower():
            raise ValueError(f"the page's own code holds {tag}")
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}" if script else "script-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style></head>",
        f"<body>{body}",
    ]
    if data is not None:
        parts.append(f'<script type="application/json" id="data">{inert_json(data)}</script>')
    for name, held in (attachments or {}).items():
        text = base64.b64encode(held).decode()
        parts.append(f'<script type="text/plain" id="{escape(name)}">{text}</script>')
    if script:
        parts.append(f"<script>{script}</script>")
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def inert_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # U+2028 and U+2029 are harmless in JSON but end lines in some tools that read the page.
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
