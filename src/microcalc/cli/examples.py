"""One or two calls of each command, which its help shows; a test parses every one of them."""

from __future__ import annotations

import inspect
import re
from typing import Final

_INDENT: Final = re.compile(r"^\s+")


def _examples(*calls: str) -> str:
    return "\n".join(["Examples:" if len(calls) > 1 else "Example:", *(f"  microcalc {call}" for call in calls)])


EXAMPLES: Final = {
    "microcalc": _examples("demo", "detect EXAM --out results", "detect --help"),
    "detect": _examples(
        "detect EXAM --out results",
        "detect view.dcm --report sr --report gsps --out results",
        "detect a.png --pixel-spacing 0.07 --intent processed --out results",
        "detect TABLE --split test --workers 4 --json --out results",
    ),
    "demo": _examples("demo --out demo"),
    "view": _examples(
        "view EXAM",
        "view TABLE results",
        'view IMAGES --out annotated --judge "A. Reader"',
    ),
    "info": _examples("info view.dcm", "info view.dcm --picture breast.png", "info EXAM --json"),
    "show-report": _examples("show-report results/view.sr.dcm"),
    "node": _examples("node --config node.toml"),
    "doctor": _examples("doctor", "doctor --json"),
    "evaluate": _examples(
        "evaluate results --truth TABLE --split test --out figures",
        "evaluate ours theirs --truth TABLE --out comparison",
    ),
    "roc": _examples("roc --model processed --truth TABLE --split test --out roc"),
    "review": _examples(
        'review IMAGES --out review --judge "A. Reader"',
        "review IMAGES --out review --take review/round-01/verdicts.csv",
    ),
    "realism": _examples("realism SIMULATED --real TABLE"),
    "train": _examples("train --recipe processed --data TABLE --out run"),
    "card": _examples("card --run run --figures measured.md"),
    "operating-points": _examples("operating-points processed --data TABLE --out our-model"),
    "study": _examples("study --scale smoke --out study", "study --scale paper --intent raw --out study"),
    "simulate": _examples(
        "simulate --system ge --exams 2 --intent processed --out mammograms",
        "simulate --verify --quick",
    ),
    "insert": _examples("insert TABLE --clusters 2 --out inserted"),
    "table cdd-cesm": _examples("table cdd-cesm CDD-CESM --out table"),
    "table inbreast": _examples("table inbreast INbreast --out table"),
    "table bmcd": _examples("table bmcd BMCD --pixel-spacing 0.07 --out table"),
    "table tompei-cmmd": _examples("table tompei-cmmd CMMD --annotations TOMPEI-CMMD --out table"),
    "table mini-mias": _examples("table mini-mias MIAS --out table"),
    "table ddsm": _examples("table ddsm DDSM --out table"),
    "table cbis-ddsm": _examples("table cbis-ddsm CBIS-DDSM --pixel-spacing 0.05 --out table"),
    "table bcdr": _examples("table bcdr BCDR --pixel-spacing 0.07 --out table"),
    "table vindr-mammo": _examples("table vindr-mammo VINDR-MAMMO --out table"),
    "table embed": _examples("table embed EMBED --out table"),
    "table omi-db": _examples("table omi-db OMI-DB --out table"),
    "table masks": _examples("table masks IMAGES --intent processed --out table"),
    "table points": _examples("table points points.csv --images IMAGES --out table"),
    "table coco": _examples("table coco annotations.json --images IMAGES --out table"),
    "table sr": _examples("table sr annotations-1.sr.dcm --images IMAGES --out table"),
    "table export": _examples(
        "table export TABLE --to sr --out reports",
        "table export TABLE --to coco --out coco",
        "table export TABLE --to parquet --out columns",
    ),
}


def flowing(docstring: str) -> str:
    """Return a docstring whose paragraphs are one line each: the help breaks lines by the terminal's width."""
    lines: list[str] = []
    for line in inspect.cleandoc(docstring).split("\n"):
        last = lines[-1] if lines else ""
        new_paragraph = not line.strip() or not last.strip() or set(line.strip()) == {"-"} or set(last.strip()) == {"-"}
        if new_paragraph or _depth(line) != _depth(last):
            lines.append(line)
        else:
            lines[-1] = f"{last} {line.strip()}"
    return "\n".join(lines)


def _depth(line: str) -> int:
    indent = _INDENT.match(line)
    return 0 if indent is None else len(indent[0])
