"""An analysis on disk: one PNG a chart and one self-contained page."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from armbench.errors import ConfigError
from armbench.results.analysis import Analysis
from armbench.results.formats import html_table, plain
from armbench.results.page import page
from armbench.results.plots import draw

_STYLE = """\
:root { color-scheme: light dark; --line: #d8dde3; --soft: #59636e; }
@media (prefers-color-scheme: dark) { :root { --line: #3a424b; --soft: #9aa5b1; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 62rem; }
h1 { font-size: 1.4rem; margin: 0.5rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 0.6rem; }
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.8rem 0; font-size: 0.9rem; }
p { color: var(--soft); margin: 0.4rem 0; max-width: 50rem; overflow-wrap: anywhere; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.9rem 0.3rem 0; }
tbody th { font-weight: normal; }
tr { border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; min-width: 3.5rem; max-width: 26rem; }
img { display: block; width: 100%; max-width: 50rem; height: auto; background: white;
  border-radius: 6px; margin: 0.8rem 0; }
"""


def write(analysis: Analysis, out: Path) -> list[Path]:
    """Write ``analysis.html`` and a PNG for each chart into a folder.

    Returns:
        The files.

    Raises:
        ConfigError: If the folder cannot be written, or matplotlib is not installed.
    """
    title = f"{analysis.judge}: {analysis.path.name}"
    body = [f"<h1>{escape(plain(title))}</h1>", "<nav>"]
    for section in analysis.sections:
        body.append(f'<a href="#{section.key}">{escape(section.block.title)}</a>')
    body.append("</nav>")
    pictures = {}
    for section in analysis.sections:
        block = section.block
        body.append(f'<h2 id="{section.key}">{escape(block.title)}</h2>')
        if section.chart is not None:
            pictures[f"{section.key}.png"] = png = draw(section.chart, block.title)
            data = base64.b64encode(png).decode()
            body.append(f'<img alt="{escape(block.title)}" src="data:image/png;base64,{data}">')
        if block.rows:
            body.append(html_table(block))
        body += [f"<p>{escape(plain(note))}</p>" for note in block.notes]
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "analysis.html").write_text(page(plain(title), "\n".join(body), _STYLE), "utf-8")
        for name, png in pictures.items():
            (out / name).write_bytes(png)
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from error
    return [out / "analysis.html", *(out / name for name in pictures)]
