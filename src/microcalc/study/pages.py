"""Write sections as one HTML page that loads nothing, or as Markdown."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microcalc.evaluation.reporting.tables import html_table, markdown_table
from microcalc.study.examples import AT_FALSE_MARKS, Example
from microcalc.study.sections import Section, word

NOTICE = "Research use only. Not for diagnosis."
_ENLARGED = 3
_LOWEST, _HIGHEST = -4.0, 10.0  # noise standard deviations from black to white
_FRAME_PX = 6
_KINDS = {
    "hit": f"Hits of {{method}}, from the faintest to the clearest, at {AT_FALSE_MARKS:g} false mark per image",
    "miss": "Misses of {method} at the same threshold, the clearest first",
    "false": "False marks of {method}, the highest rated first",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1e; background: #fff; max-width: 1400px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid #d0d0d4; }
h3 { font-size: 1rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #e4e4e8; white-space: nowrap; }
td:first-child { white-space: normal; min-width: 13em; }
thead th { border-bottom: 2px solid #8a8a90; vertical-align: bottom; white-space: normal; }
img.curve { max-width: 100%; height: auto; }
pre { background: #f5f5f7; padding: .8rem; overflow-x: auto; font-size: .82rem; }
.examples { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; width: 195px; font-size: .78rem; } figure img { image-rendering: pixelated; }
.notice { color: #a00; font-weight: 600; }
""".strip()


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the sections as Markdown; pictures are files in the same folder."""
    lines = [f"# {title}", "", f"**{NOTICE}**", ""]
    for s in sections:
        lines += [f"## {s.title}", ""]
        for sentence in s.sentences:
            lines += [sentence, ""]
        for table in s.tables:
            lines += [*markdown_table(table), ""]
        for name in s.pictures:
            lines += [f"![{s.title}]({name})", ""]
        if s.verbatim:
            lines += ["```", s.verbatim.rstrip(), "```", ""]
    return "\n".join(lines)


def to_html(title: str, sections: Sequence[Section], pictures: Mapping[str, bytes], examples: Sequence[Example]) -> str:
    """Return the sections as one HTML page that loads nothing.

    Parameters
    ----------
    pictures
        Contents of the SVG files that the sections name, by file name.
    """
    body = [f"<h1>{escape(title)}</h1>", f'<p class="notice">{NOTICE}</p>']
    for s in sections:
        body.append(f"<section>\n<h2>{escape(s.title)}</h2>")
        body += [f"<p>{escape(sentence)}</p>" for sentence in s.sentences]
        body += [f'<div class="scroll">{html_table(table)}</div>' for table in s.tables]
        body += [f'<img class="curve" alt="{escape(s.title)}" src="{_svg_uri(pictures[n])}">' for n in s.pictures]
        if s.verbatim:
            body.append(f"<pre>{escape(s.verbatim.rstrip())}</pre>")
        body.append("</section>")
    body += _html_examples(examples)
    head = f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def picture(example: Example) -> NDArray[np.uint8]:
    """Return an enlarged picture (k, k) with ticks in the margins that point at the position and cover nothing."""
    scaled = (np.nan_to_num(example.pixels, nan=_LOWEST) - _LOWEST) / (_HIGHEST - _LOWEST)
    grey = (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)
    grey = np.kron(grey, np.ones((_ENLARGED, _ENLARGED), dtype=np.uint8))
    framed = np.pad(grey, _FRAME_PX, constant_values=255)
    for view in (framed, framed.T):
        middle = slice(view.shape[1] // 2 - 1, view.shape[1] // 2 + 2)
        view[:_FRAME_PX, middle] = 0
        view[-_FRAME_PX:, middle] = 0
    return framed


def _html_examples(examples: Sequence[Example]) -> list[str]:
    if not examples:
        return []
    spacing = examples[0].spacing_mm
    side_mm = examples[0].pixels.shape[0] * spacing
    parts = [
        "<section>\n<h2>Hits, misses and the worst false marks</h2>",
        f"<p>Each picture shows {side_mm:.1f} mm, normalised, {_LOWEST:g} (black) to {_HIGHEST:g} (white) standard "
        f"deviations of the noise; the ticks point at the position. Positions: examples.csv.</p>",
    ]
    for kind, heading in _KINDS.items():
        of_kind = [e for e in examples if e.what == kind]
        if of_kind:
            parts.append(f'<h3>{escape(heading.format(method=word(of_kind[0].method)))}</h3>\n<div class="examples">')
            parts += [_html_example(e) for e in of_kind]
            parts.append("</div>")
    return [*parts, "</section>"]


def _html_example(example: Example) -> str:
    png = io.BytesIO()
    Image.fromarray(picture(example)).save(png, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")
    caption = escape(caption_of(example))
    return f'<figure><img alt="{caption}" src="{uri}"><figcaption>{caption}</figcaption></figure>'


def caption_of(example: Example) -> str:
    """Return the caption of an example: vendor, d', diameter and rating, without the name of the image."""
    rating = f"rated {example.rating:.3g}" if math.isfinite(example.rating) else "no mark"
    known = [f"d' {example.d_prime:.1f}"] if math.isfinite(example.d_prime) else []
    known += [f"{example.diameter_mm:.2f} mm"] if math.isfinite(example.diameter_mm) and example.diameter_mm > 0 else []
    return ", ".join([word(example.vendor), *known, rating])


def _svg_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
