"""Draw the sheets of simulated mammograms in docs/explanation/simulator.md.

``python docs/gallery.py --out docs/images/simulator [--seed 1] [--workers N]``

Everything that is committed is simulated. With ``--real FOLDER --local FOLDER`` a sheet of crops of CDD-CESM
beside simulated ones is drawn as well, for one's own eyes: into a folder outside the repository only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from microcalc.datasets.cdd_cesm import read_cdd_cesm
from microcalc.display.grey import LOCAL_PERCENTILES, GreyImage, apply_window, stretch
from microcalc.domain import FloatImage, Intent
from microcalc.execution.executor import Executor, executor_of, run_in_order
from microcalc.simulate.artefacts import ARTEFACTS, GAINS
from microcalc.simulate.breast import Density
from microcalc.simulate.calcification import LAYOUTS, MORPHOLOGIES
from microcalc.simulate.confusers import CONFUSERS
from microcalc.simulate.exam import VIEWS, SimulatedMammogram, simulate_exam, simulate_mammogram
from microcalc.simulate.lesions import NO_LESIONS, LesionRates
from microcalc.simulate.scene import Annotation
from microcalc.simulate.systems import VENDORS, System, system

BOTH: tuple[Intent, ...] = ("raw", "processed")
DENSITIES: tuple[Density, ...] = ("A", "B", "C", "D")
OTHER_SYSTEMS: Mapping[str, Density] = {"ge-pristina": "B", "ge-ds": "C"}
_OBLIQUE: Density = "C"  # whose MLO view is shown as well
_REAL_DENSITIES: tuple[Density, ...] = ("B", "C", "B", "C", "A", "D")

_GAP, _LABEL_PX, _GROUND, _INK = 4, 13, 24, 228
_ENLARGED, _LEVELS = 3, 4  # steps of four grey levels: half the bytes, and no eye sees it
_ATTEMPTS = 60
_WELL_VISIBLE = 8.0  # d'
_REDUCED_MM = 0.65
_RAW_PERCENTILES = (15.0, 99.8)  # the thin periphery is left dark, so that the inside has contrast
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False, slots=True)
class Panel:
    """Hold one picture of a sheet: grey levels (rows, columns), its label, and (row, column) of rings on it."""

    grey: GreyImage
    label: str
    rings: tuple[tuple[float, float], ...] = ()
    radius: float = 8.0


Row = Sequence[Panel | None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all sheets."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.real is None) != (options.local is None):
        parser.error("--real and --local belong together")
    if options.local is not None and options.local.resolve().is_relative_to(Path(__file__).resolve().parents[1]):
        parser.error(f"--local {options.local.name}: inside the repository, which holds no crops of real images")
    options.out.mkdir(parents=True, exist_ok=True)
    executor = executor_of(options.workers)
    for name, rows in _vendor_sheets(executor, options.seed).items():
        _write(rows, options.out / f"{name}.png")
    _write(_views(options.seed), options.out / "views.png")
    systems = [system(name) for name in VENDORS]
    shown = run_in_order(executor, partial(_calcium, seed=options.seed), systems, work="drawing microcalcifications")
    for name, words in (("morphologies", tuple(MORPHOLOGIES)), ("layouts", (*LAYOUTS, "single"))):
        _write([[p for found in shown for p in found.get(word, ())] for word in words], options.out / f"{name}.png")
    _write(_confusers(options.seed), options.out / "confusers.png")
    _write(_artefacts(options.seed), options.out / "artefacts.png")
    if options.local is not None:
        options.local.mkdir(parents=True, exist_ok=True)
        _write(_beside_real(executor, options.real, options.seed), options.local / "beside-real.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Draw the sheets of simulated mammograms in docs/explanation/simulator.md."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the sheets")
    parser.add_argument("--real", type=Path, help="folder of CDD-CESM, for a sheet of real crops beside simulated ones")
    parser.add_argument("--local", type=Path, help="folder for that sheet, outside the repository")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same sheets")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    return parser


# Images as grey levels


def _seed(*numbers: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(numbers)


def _log_exposure(m: SimulatedMammogram) -> FloatImage:
    """Return a raw image as readers expect it: minus the logarithm of the exposure."""
    return np.asarray(-np.log(np.maximum(m.stored["raw"].astype(np.float32) - m.system.offset, 1.0)), dtype=np.float32)


def _whole(m: SimulatedMammogram, intent: Intent) -> GreyImage:
    """Return the whole image: processed through its first window, raw as log exposure stretched over the breast."""
    processed = m.stored["processed"]
    if intent == "processed":
        return apply_window(processed.astype(np.float32), m.windows[0])
    values = _log_exposure(m)
    low, high = np.percentile(values[processed > 0], _RAW_PERCENTILES)
    return stretch(values, float(low), float(high))


def _breast_alone(m: SimulatedMammogram) -> tuple[int, int, int]:
    """Return the first and last row and the last column of the breast, with a margin of air."""
    inside, air = m.stored["processed"] > 0, round(5.0 / m.system.pitch_mm)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return max(int(rows[0]) - air, 0), int(rows[-1]) + air, int(columns[-1]) + air


def _reduced(grey: GreyImage, factor: float) -> GreyImage:
    rows, columns = (max(round(n / factor), 1) for n in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((columns, rows), Image.Resampling.BOX))


def _corner(shape: Sequence[int], centre: tuple[float, float], side: int) -> tuple[int, int]:
    """Return the first pixel of a square around a position, shifted to lie in the image."""
    row, column = (int(np.clip(round(p) - side // 2, 0, n - side)) for p, n in zip(centre, shape, strict=True))
    return row, column


def _crop(m: SimulatedMammogram, intent: Intent, centre: tuple[float, float], side: int) -> GreyImage:
    """Return a crop in native pixels, raw as log exposure, stretched over the crop."""
    r, c = _corner(m.stored[intent].shape, centre, side)
    values = m.stored["processed"].astype(np.float32) if intent == "processed" else _log_exposure(m)
    return _stretched(values[r : r + side, c : c + side])


def _stretched(values: FloatImage) -> GreyImage:
    low, high = np.percentile(values, LOCAL_PERCENTILES)
    return stretch(values, float(low), float(high))


def _middle(inside: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(inside[::8, ::8])
    return 8.0 * float(rows.mean()), 8.0 * float(columns.mean())


def _enlarged(grey: GreyImage) -> GreyImage:
    return np.kron(grey, np.ones((_ENLARGED, _ENLARGED), dtype=np.uint8))


def _rings(places: Iterable[Annotation], corner: tuple[int, int], zoom: float) -> tuple[tuple[float, float], ...]:
    """Return the positions of annotations on an enlarged crop that starts at a corner."""
    return tuple(((p.row - corner[0] + 0.5) * zoom, (p.column - corner[1] + 0.5) * zoom) for p in places)


# Systems and densities


def _vendor_sheets(executor: Executor, seed: int) -> dict[str, list[list[Panel | None]]]:
    """Return whole images and crops of both intents: a row per vendor, a column per density, then MLO."""
    jobs = [(name, d) for name in VENDORS for d in DENSITIES] + list(OTHER_SYSTEMS.items())
    panels = run_in_order(executor, partial(_shown, seed=seed), jobs, work="drawing systems")
    made = dict(zip(jobs, panels, strict=True))
    sheets: dict[str, list[list[Panel | None]]] = {}
    for what in ("whole-processed", "whole-raw", "crops-processed", "crops-raw"):
        rows: list[list[Panel | None]] = [
            [*(made[name, d][0][what] for d in DENSITIES), *(view[what] for view in made[name, _OBLIQUE][1:])]
            for name in VENDORS
        ]
        others = {density: made[name, density][0][what] for name, density in OTHER_SYSTEMS.items()}
        sheets[what] = [*rows, [others.get(d) for d in DENSITIES]]
    return sheets


def _shown(job: tuple[str, Density], *, seed: int) -> list[dict[str, Panel]]:
    """Return the panels of each view of one breast, by the name of their sheet."""
    s, density = system(job[0]), job[1]
    views = VIEWS if density == _OBLIQUE and s.name in VENDORS else VIEWS[:1]
    sequence = _seed(seed, DENSITIES.index(density))
    exam = simulate_exam(s, density=density, seed=sequence, intents=BOTH, views=views, lateralities=("L",))
    panels = []
    for m in exam:
        middle, label = _middle(m.stored["processed"] > 0), f"{s.name} {density}, {m.view}"
        first, last, right = _breast_alone(m)
        factor = _REDUCED_MM / s.pitch_mm
        whole = {f"whole-{i}": Panel(_reduced(_whole(m, i)[first:last, :right], factor), label) for i in BOTH}
        panels.append(whole | {f"crops-{i}": Panel(_crop(m, i, middle, 184), label) for i in BOTH})
    return panels


# Microcalcifications


def _views(seed: int) -> list[Row]:
    """Return panels of both views of one breast, and of one cluster in both."""
    rates = replace(LesionRates(), clusters=4.0, low_dose=0.0, artefacts=0.0)
    sequence = _seed(seed, 100)
    exam = list(simulate_exam(system("siemens"), seed=sequence, intents=BOTH, rates=rates, lateralities=("L",)))
    clusters = _clusters(exam[0])
    name = max(clusters, key=lambda c: _visible(clusters[c]))
    whole, close = [], []
    for m in exam:
        members, side = _clusters(m)[name], 128
        centre = _densest(members, side)
        first, last, right = _breast_alone(m)
        factor = 0.8 * _REDUCED_MM / m.system.pitch_mm
        ring = (((centre[0] - first) / factor, centre[1] / factor),)
        grey = _reduced(_whole(m, "processed")[first:last, :right], factor)
        whole.append(Panel(grey, f"{m.view}: ring around {name}", ring, 14.0))
        grey = _enlarged(_crop(m, "processed", centre, side))
        corner = _corner(m.stored["raw"].shape, centre, side)
        close += [
            Panel(grey, f"{m.view}: {members[0].morphology.replace('_', ' ')}"),
            Panel(grey, f"{m.view}: {len(members)} microcalcifications", _rings(members, corner, _ENLARGED)),
        ]
    return [whole, close[:2], close[2:]]


def _clusters(m: SimulatedMammogram) -> dict[str, list[Annotation]]:
    """Return the microcalcifications by cluster; each single one is a group of its own."""
    found: dict[str, list[Annotation]] = {}
    for number, p in enumerate(m.annotations):
        if p.kind == "microcalcification":
            found.setdefault(p.cluster or f"single-{number}", []).append(p)
    return found


def _visible(members: Sequence[Annotation]) -> tuple[int, float]:
    """Return the number of well visible members, at most twelve, and their median d'."""
    d_prime = np.array([p.d_prime or 0.0 for p in members])
    return min(int((d_prime >= _WELL_VISIBLE).sum()), 12), float(np.median(d_prime))


def _densest(members: Sequence[Annotation], side: int) -> tuple[float, float]:
    """Return the centre of the members around the one with the most neighbours in a crop."""
    at = np.array([(p.row, p.column) for p in members])
    near = (np.abs(at[:, None] - at[None]) < 0.45 * side).all(axis=2)
    row, column = at[near[int(near.sum(axis=1).argmax())]].mean(axis=0)
    return float(row), float(column)


def _calcium(s: System, seed: int) -> dict[str, list[Panel]]:
    """Return, by morphology and layout, panels of the cluster with the most visible members, without and with rings."""
    rates = replace(NO_LESIONS, clusters=14.0, singles=8.0)

    def make(number: int) -> SimulatedMammogram:
        return simulate_mammogram(s, density="B", seed=_seed(seed, 200 + number), intents=BOTH, rates=rates)

    def found(m: SimulatedMammogram) -> dict[str, list[Panel]]:
        best: dict[str, list[Annotation]] = {}
        for members in _clusters(m).values():
            morphology, layout = members[0].morphology.split()
            for word in (layout, *((morphology,) if layout == "grouped" else ())):
                if word not in best or _visible(members) > _visible(best[word]):
                    best[word] = members
        return {word: _pair(m, word, members) for word, members in best.items()}

    return _gathered((*MORPHOLOGIES, *LAYOUTS, "single"), make, found)


def _pair(m: SimulatedMammogram, word: str, members: Sequence[Annotation]) -> list[Panel]:
    side = 96
    centre = _densest(members, side)
    grey = _enlarged(_crop(m, "processed", centre, side))
    rings = _rings(members, _corner(m.stored["raw"].shape, centre, side), _ENLARGED)
    return [
        Panel(grey, f"{m.system.name}: {(members[0].morphology if word in LAYOUTS else word).replace('_', ' ')}"),
        Panel(grey, f"n {len(members)}, median d' {_visible(members)[1]:.0f}", rings),
    ]


def _gathered(
    names: Sequence[str],
    make: Callable[[int], SimulatedMammogram],
    found: Callable[[SimulatedMammogram], Mapping[str, _T]],
) -> dict[str, _T]:
    """Simulate images one by one and return the first panel of each name, until all names have one."""
    shown: dict[str, _T] = {}
    for number in range(_ATTEMPTS):
        for name, panel in found(make(number)).items():
            shown.setdefault(name, panel)
        if shown.keys() >= set(names):
            break
    return shown


# Confusers


def _confusers(seed: int) -> list[Row]:
    """Return one panel of each kind of confuser, in native pixels of a processed image."""
    s, side = system("ge"), 192
    names = (*CONFUSERS, "crossing")
    rates = replace(NO_LESIONS, confusers=dict.fromkeys(CONFUSERS, 1.2), crossings=8.0)

    def make(number: int) -> SimulatedMammogram:
        return simulate_mammogram(s, density="B", seed=_seed(seed, 300 + number), intents=BOTH, rates=rates)

    def found(m: SimulatedMammogram) -> dict[str, Panel]:
        groups: dict[str, list[Annotation]] = {}
        for number, p in enumerate(m.annotations):
            groups.setdefault(p.cluster or f"{p.morphology}-{number}", []).append(p)
        shown: dict[str, Panel] = {}
        for members in sorted(groups.values(), key=lambda members: _others(m, members, side)):
            name, kind = members[0].morphology, members[0].kind
            label = f"{name} ({kind.replace('_', ' ')})" if name.replace("-", "_") != kind else name
            shown.setdefault(name, Panel(_crop(m, "processed", _densest(members, side), side), label))
        return shown

    shown = _gathered(names, make, found)
    return _in_rows([shown[name] for name in names if name in shown], 5)


def _others(m: SimulatedMammogram, members: Sequence[Annotation], side: int) -> int:
    """Return the number of annotations of other objects in a crop around some."""
    row, column = _densest(members, side)
    near = [p for p in m.annotations if max(abs(p.row - row), abs(p.column - column)) < 0.5 * side]
    return len(set(near) - set(members))


def _artefacts(seed: int) -> list[Row]:
    """Return panels of each artefact on a small raw field, beside the same field without it or the difference."""
    s = replace(system("ge"), fields=((900, 720),))

    def make(number: int, share: float) -> SimulatedMammogram:
        rates = replace(NO_LESIONS, clusters=3.0, artefacts=share)
        return simulate_mammogram(s, density="B", seed=_seed(seed, 400 + number), intents=BOTH, rates=rates)

    shown: dict[str, list[Panel]] = {}
    for number in range(_ATTEMPTS):
        m = make(number, 1.0)
        if len(m.tags) == 1 and m.tags[0] not in shown and (name := m.tags[0]):
            shown[name] = _fault(name, m, make(number, 0.0))
        if shown.keys() == ARTEFACTS.keys():
            break
    return _in_rows([panel for name in ARTEFACTS for panel in shown.get(name, ())], 4)


def _fault(name: str, faulty: SimulatedMammogram, clean: SimulatedMammogram) -> list[Panel]:
    """Return two panels, with and without an artefact: enlarged pixels if it is small, else the whole field."""
    side = 60
    with_it, without = _log_exposure(faulty), _log_exposure(clean)
    if name in GAINS or name == "lines":
        k = 5
        blocks = (with_it - without).reshape(with_it.shape[0] // k, k, with_it.shape[1] // k, k)
        return [
            Panel(_reduced(_whole(faulty, "raw"), k), name),
            Panel(_stretched(blocks.mean(axis=(1, 3))), "less the same without"),
        ]
    word = {"bad-pixels": "bad-pixel", "motion": "microcalcification"}.get(name, name)
    row, column = _middle(faulty.stored["processed"] > 0)
    places = [(p.row, p.column) for p in faulty.annotations if word in (p.morphology, p.kind)] or [(row, column)]
    centre = min(places, key=lambda p: float(np.hypot(p[0] - row, p[1] - column)))
    pair = ((faulty, name), (clean, "the same without"))
    return [Panel(_enlarged(_crop(m, "raw", centre, side)), label) for m, label in pair]


# Beside real ones


def _beside_real(executor: Executor, folder: Path, seed: int) -> list[Row]:
    """Return crops of normal GE images of CDD-CESM above simulated ones of the same size and stretch."""
    side = 256
    table = read_cdd_cesm(folder)
    real = [image for image in table.images if "GE" in image.system and "normal" in image.tags.split()]
    chosen = real[:: max(len(real) // len(_REAL_DENSITIES), 1)][: len(_REAL_DENSITIES)]
    draw = partial(_alone, seed=seed, side=side)
    made = run_in_order(executor, draw, list(enumerate(_REAL_DENSITIES)), work="drawing simulated crops")
    rows: list[Row] = []
    for k in range(0, len(_REAL_DENSITIES), 3):
        rows += [[_real(image.file, side) for image in chosen[k : k + 3]], made[k : k + 3]]
    return rows


def _real(file: Path, side: int) -> Panel:
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("L"), dtype=np.float32)
    r, c = _corner(pixels.shape, _middle(pixels > 20), side)
    return Panel(_stretched(pixels[r : r + side, c : c + side]), f"real {file.stem}")


def _alone(numbered: tuple[int, Density], *, seed: int, side: int) -> Panel:
    number, density = numbered
    rates, sequence = replace(LesionRates(), artefacts=0.0, low_dose=0.0), _seed(seed, 500 + number)
    m = simulate_mammogram(system("ge"), density=density, seed=sequence, intents=BOTH, rates=rates)
    pixels = _whole(m, "processed").astype(np.float32)
    r, c = _corner(pixels.shape, _middle(m.stored["processed"] > 0), side)
    return Panel(_stretched(pixels[r : r + side, c : c + side]), f"simulated {density}")


# Sheets


def _in_rows(panels: Sequence[Panel], columns: int) -> list[Row]:
    return [panels[k : k + columns] for k in range(0, len(panels), columns)]


def _write(rows: Sequence[Row], file: Path) -> None:
    """Write panels as a picture, in rows and in columns as wide as their widest panel."""
    heights = [_LABEL_PX + max((p.grey.shape[0] for p in row if p), default=0) + _GAP for row in rows]
    columns = [[p for p in column if p] for column in zip_longest(*rows)]
    widths = [max((p.grey.shape[1] for p in column), default=0) + _GAP for column in columns]
    image = Image.new("L", (sum(widths) + _GAP, sum(heights) + _GAP), _GROUND)
    pen = ImageDraw.Draw(image)
    for row, top in zip(rows, accumulate(heights[:-1], initial=_GAP), strict=True):
        for panel, left in zip(row, accumulate(widths, initial=_GAP), strict=False):
            if panel:
                pen.text((left, top), panel.label, fill=_INK)
                image.paste(_ringed(panel), (left, top + _LABEL_PX))
    image.save(file, optimize=True)


def _ringed(panel: Panel) -> Image.Image:
    picture = Image.fromarray(panel.grey // _LEVELS * _LEVELS)
    pen = ImageDraw.Draw(picture)
    for r, c in panel.rings:
        pen.ellipse((c - panel.radius, r - panel.radius, c + panel.radius, r + panel.radius), outline=255)
    return picture


if __name__ == "__main__":
    main()
