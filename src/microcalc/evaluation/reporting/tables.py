"""Tables of text as Markdown and HTML, and the one way in which an estimate is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from microcalc.evaluation.bootstrap import Difference, Estimate

NOT_DEFINED = "–"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of texts; the first column names the row."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]


def markdown_table(table: TextTable) -> list[str]:
    """Return the lines of a table in Markdown."""
    rows = [table.header, ("---",) * len(table.header), *table.rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def html_table(table: TextTable) -> str:
    """Return a table as HTML."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows]
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"


def estimate_text(e: Estimate | Difference, *, digits: int = 3, sign: bool = False) -> str:
    """Return a value with its interval, such as ``0.912 (0.880 to 0.941)``.

    Parameters
    ----------
    digits
        Digits after the decimal point.
    sign
        Whether positive numbers have a sign, as differences do.
    """
    form = f"{'+' if sign else ''}.{digits}f"
    value, low, high = (format(v, form) if math.isfinite(v) else NOT_DEFINED for v in (e.value, e.low, e.high))
    return f"{value} ({low} to {high})"


def difference_text(d: Estimate | Difference, *, digits: int = 4) -> str:
    """Return a difference with its interval and p, such as ``+0.0312 (+0.0101 to +0.0524), p 0.0040``."""
    p = f", p {p_text(d.p)}" if isinstance(d, Difference) else ""
    return estimate_text(d, digits=digits, sign=True) + p


def p_text(p: float) -> str:
    """Return a p-value with four digits after the decimal point, or ``below 0.0001``."""
    if not math.isfinite(p):
        return NOT_DEFINED
    return f"{p:.4f}" if p >= 0.0001 else "below 0.0001"
