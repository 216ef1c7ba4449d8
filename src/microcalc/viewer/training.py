"""How far a training is, and its curves, read anew from the folder of the run whenever the page asks."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from microcalc.errors import MicrocalcError
from microcalc.models.description import DESCRIPTION, parse_description

_CARD: Final = "MODEL_CARD.md"  # written last; ``training.card`` needs torch
_MOST_POINTS: Final = 1000
_NUMBERS: Final = ("step", "loss", "validation_loss", "sensitivity")


def training_entry(run: Path) -> dict[str, Any]:
    """Return what the page shows of a run of ``microcalc train``.

    Returns
    -------
    dict
        ``name``; ``networks``, each with ``name``, ``points`` (step and loss, and the measurements on the validation
        samples where there are any), ``at`` (what the sensitivity is at) and ``progress`` (None before the first
        line); ``operating_points`` of single marks, which are measured last; and ``finished``.
    """
    networks = [_network(run / name) for name in ("cnn1", "cnn2")]
    return {
        "name": run.resolve().name,
        "networks": [network for network in networks if network["points"]],
        "operating_points": _operating_points(run / "model" / DESCRIPTION),
        "finished": (run / "model" / _CARD).is_file(),
    }


def _network(folder: Path) -> dict[str, Any]:
    points, at = [], ""
    for entry in _lines(folder / "metrics.jsonl"):
        point = {name: entry[name] for name in _NUMBERS if _is_number(entry.get(name))}
        if "step" in point and "loss" in point:
            points.append(point)
            at = str(entry.get("at", at))
    every = math.ceil(len(points) / _MOST_POINTS)
    kept = [p for n, p in enumerate(points) if (len(points) - 1 - n) % every == 0 or "validation_loss" in p]
    return {"name": folder.name, "points": kept, "at": at, "progress": _progress(folder / "progress.json")}


def _lines(file: Path) -> list[dict[str, Any]]:
    """Return the entries of a file of JSON lines; a line that is being written is not there yet."""
    entries = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _progress(file: Path) -> dict[str, Any] | None:
    """Return step, steps, seconds left, and how many seconds ago this was written."""
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        when = datetime.strptime(entry["when"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        numbers = {name: int(entry[name]) for name in ("step", "steps", "seconds_left")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return numbers | {"seconds_ago": max(0, round((datetime.now(UTC) - when).total_seconds()))}


def _operating_points(file: Path) -> list[dict[str, float]]:
    try:
        described = parse_description(file.read_bytes(), where=DESCRIPTION)
    except (OSError, MicrocalcError):
        return []
    points = described.mark_operating_points
    return [{"nlf": point.nlf, "llf": point.llf} for point in points]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
