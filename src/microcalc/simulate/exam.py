"""Simulate mammograms from end to end: breast, tissue, lesions, acquisition, processing, annotations.

An exam is four views of one woman. Her breasts are similar, and the two views of a breast show the same lesions.
Each part draws from a random generator of its own, spawned from the seed of the exam. Omitting one side therefore
does not change the other, omitting the processed image does not change the raw one, and the lesions do not change
the tissue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage, Intent, Laterality, Window
from microcalc.simulate import artefacts
from microcalc.simulate.acquisition import Exposure, digitise, expose, noise_variance, read_out
from microcalc.simulate.anatomy import Anatomy, build
from microcalc.simulate.artefacts import Faults
from microcalc.simulate.bodies import imaged_lines
from microcalc.simulate.breast import Density, Traits, View, compress, draw_traits, other_breast
from microcalc.simulate.calcification import render_calcification
from microcalc.simulate.conspicuous import conspicuous_tissue
from microcalc.simulate.extra_tissue import ExtraTissue, add_tissue
from microcalc.simulate.lesions import LesionRates, add_lesions
from microcalc.simulate.processing import present
from microcalc.simulate.raster import add_patch, motion_blurred, overlap
from microcalc.simulate.scene import Annotation, BreastCoordinates, Scene, tissue_maps
from microcalc.simulate.systems import Beam, System

RAW_ONLY: tuple[Intent, ...] = ("raw",)
VIEWS: tuple[View, ...] = ("CC", "MLO")
LATERALITIES: tuple[Laterality, ...] = ("L", "R")

_OPAQUE = np.float32(0.98)
_CLEARANCE_MM = 2.0


@dataclass(frozen=True, slots=True)
class Technique:
    """Hold the acquisition parameters of an image, for its header."""

    anode: str
    filter_material: str
    filter_mm: float
    kvp: float
    mas: float
    thickness_mm: float
    force_n: float
    organ_dose_mgy: float
    kerma_ugy: float


@dataclass(frozen=True, eq=False, slots=True)
class SimulatedMammogram:
    """Hold one view of one breast, raw or processed or both, with its annotations.

    Attributes
    ----------
    stored
        Stored values (rows, columns) uint16 by intent. Raw values fall with density, processed values rise.
    windows, window_names
        Windows of the processed image; empty without one.
    annotations
        The reference standard: every simulated object, at its pixel position in the stored image.
    tags
        Artefacts and dose of the image; see ``artefacts.Faults``.
    """

    system: System
    view: View
    laterality: Laterality
    density: Density
    stored: dict[Intent, NDArray[np.uint16]]
    windows: tuple[Window, ...]
    window_names: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    technique: Technique
    tags: tuple[str, ...]


def simulate_mammogram(
    system: System,
    *,
    view: View = "CC",
    laterality: Laterality = "L",
    density: Density = "B",
    seed: int | np.random.SeedSequence = 0,
    intents: Collection[Intent] = RAW_ONLY,
    rates: LesionRates | None = None,
    dose: float = 1.0,
) -> SimulatedMammogram:
    """Simulate one mammogram with the matrix and pixel pitch of the system.

    Parameters
    ----------
    density
        BI-RADS category of the breast density.
    seed
        The same seed gives the same breast, noise and annotations; a right breast is the
        mirror image of a left one.
    intents
        Images to return. The raw and the processed image are of the same exposure.
    rates
        Mean numbers of lesions, confusers and artefacts; None takes ``LesionRates()``.
    dose
        Factor on the usual exposure.
    """
    woman, breast = _sequence(seed).spawn(2)
    traits = draw_traits(np.random.default_rng(woman), density)
    settings = _ExamSettings(system, tuple(intents), rates or LesionRates(), (view,), dose)
    return next(_mammograms(settings, traits, laterality, breast))


def simulate_exam(
    system: System,
    *,
    density: Density = "B",
    seed: int | np.random.SeedSequence = 0,
    intents: Collection[Intent] = RAW_ONLY,
    rates: LesionRates | None = None,
    views: Sequence[View] = VIEWS,
    lateralities: Sequence[Laterality] = LATERALITIES,
    dose: float = 1.0,
) -> Iterator[SimulatedMammogram]:
    """Yield the mammograms of one woman, breast by breast; other parameters as in ``simulate_mammogram``.

    Parameters
    ----------
    views, lateralities
        Views and sides to simulate, in this order. Lesions lie where all views of a breast show
        them, and so depend on the views; a breast does not depend on the other one.
    """
    woman, *sides = _sequence(seed).spawn(1 + len(LATERALITIES))
    traits = draw_traits(np.random.default_rng(woman), density)
    settings = _ExamSettings(system, tuple(intents), rates or LesionRates(), tuple(views), dose)
    for laterality in lateralities:
        own, breast = sides[LATERALITIES.index(laterality)].spawn(2)
        yield from _mammograms(settings, other_breast(np.random.default_rng(own), traits), laterality, breast)


@dataclass(frozen=True, slots=True)
class _ExamSettings:
    """Hold the parameters that all breasts of an exam share."""

    system: System
    intents: tuple[Intent, ...]
    rates: LesionRates
    views: tuple[View, ...]
    dose: float


@dataclass(frozen=True, eq=False, slots=True)
class _ExposedView:
    """Hold one view, exposed and not yet read out, and its conspicuous tissue: name, row and column in pixels."""

    scene: Scene
    faults: Faults
    found: tuple[tuple[str, float, float], ...]
    technique: Technique


def _sequence(seed: int | np.random.SeedSequence) -> np.random.SeedSequence:
    """Return a sequence from which nothing has been spawned, so that a second call gives the same images."""
    if isinstance(seed, int):
        return np.random.SeedSequence(seed)
    return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)


def _mammograms(
    settings: _ExamSettings, traits: Traits, laterality: Laterality, sequence: np.random.SeedSequence
) -> Iterator[SimulatedMammogram]:
    """Yield the views of one breast: expose them all, add the same lesions to all, and read them out one by one."""
    shared, *each = sequence.spawn(1 + len(VIEWS))
    rng = np.random.default_rng(shared)
    extra = ExtraTissue.draw(rng, settings.rates)
    generators = [[np.random.default_rng(s) for s in each[VIEWS.index(view)].spawn(4)] for view in settings.views]
    shots = [
        _expose(tissue, technique, settings, traits, view, extra)
        for view, (tissue, technique, _, _) in zip(settings.views, generators, strict=True)
    ]
    add_lesions(rng, [shot.scene for shot in shots], settings.rates)
    shots.reverse()
    for view, (_, _, noise, look) in zip(settings.views, generators, strict=True):
        shot = shots.pop()
        raw, found = _read_out(noise, shot)
        scene = shot.scene
        annotations = [
            *scene.annotations,
            *_no_calcium(found, scene.annotations, _CLEARANCE_MM / settings.system.pitch_mm),
        ]
        stored: dict[Intent, NDArray[np.uint16]] = {"raw": raw} if "raw" in settings.intents else {}
        shown = present(settings.system, raw, look) if "processed" in settings.intents else None
        if shown is not None:
            stored["processed"] = shown.stored
        yield SimulatedMammogram(
            system=settings.system,
            view=view,
            laterality=laterality,
            density=traits.density,
            stored={intent: _as_seen(pixels, laterality) for intent, pixels in stored.items()},
            windows=shown.windows if shown else (),
            window_names=shown.window_names if shown else (),
            annotations=tuple(a if laterality == "L" else a.mirrored(raw.shape[1]) for a in annotations),
            technique=shot.technique,
            tags=shot.faults.tags,
        )


def _expose(
    rng: np.random.Generator,
    technique: np.random.Generator,
    settings: _ExamSettings,
    traits: Traits,
    view: View,
    extra: ExtraTissue,
) -> _ExposedView:
    """Compress a breast, fill it with tissue, and expose it; what ``rng`` draws does not depend on the rates."""
    s = settings.system
    shape = _field(s, traits)
    height, width = shape[0] * s.pitch_mm, shape[1] * s.pitch_mm
    breast = compress(rng, traits, view=view, height_mm=height, width_mm=width, size=min(1.0, height / 210.0))
    anatomy = build(rng, breast, shape, s.pitch_mm, n_crossings=int(technique.poisson(settings.rates.crossings)))
    space = BreastCoordinates(breast, height)
    folds = int(technique.poisson(settings.rates.folds))
    add_tissue(technique, anatomy, breast, space, extra, s.pitch_mm, folds=folds)
    faults = artefacts.draw_faults(technique, artefacts=settings.rates.artefacts, low_dose=settings.rates.low_dose)
    faults = replace(faults, dose=faults.dose * settings.dose)
    beam = s.beam(breast.thickness_mm)
    # automatic exposure control varies by 12 per cent (ours)
    kerma = faults.dose * s.kerma_ugy(breast.thickness_mm) * float(np.exp(technique.normal(0.0, 0.12)))
    exposure = _exposure(s, beam, anatomy, kerma)
    scene = Scene(
        system=s,
        beam=beam,
        breast=breast,
        space=space,
        ground=tissue_maps(s, anatomy, exposure),
        exposure=exposure,
        contrast=np.zeros(shape, dtype=np.float32),
        motion_mm=faults.motion_mm,
    )
    found = _conspicuous(anatomy, exposure, s.pitch_mm)
    return _ExposedView(scene, faults, found, _technique(technique, beam, breast.thickness_mm, kerma))


def _exposure(system: System, beam: Beam, anatomy: Anatomy, kerma_ugy: float) -> Exposure:
    """Expose an anatomy so that the kerma behind its middle, which automatic exposure control meters, is given."""
    deep = min(20.0, 0.5 * float(anatomy.depth.max()))
    return expose(
        system,
        beam,
        fat_mm=anatomy.fat_mm,
        gland_mm=anatomy.gland_mm,
        thickness_mm=anatomy.thickness,
        kerma_ugy=kerma_ugy,
        metered=(anatomy.depth > deep) & ~anatomy.muscle,
    )


def _conspicuous(anatomy: Anatomy, exposure: Exposure, pitch_mm: float) -> tuple[tuple[str, float, float], ...]:
    """Return the crossings of ligaments and the bright spots of tissue: name, row and column in pixels."""
    made = anatomy.crossings / pitch_mm
    natural = conspicuous_tissue(exposure.primary, (anatomy.depth > 3.0) & ~anatomy.muscle, pitch_mm) / pitch_mm
    return tuple((name, float(r), float(c)) for name, at in (("crossing", made), ("tissue", natural)) for r, c in at)


def _field(system: System, traits: Traits) -> tuple[int, int]:
    """Return (rows, columns) of the smallest field of the system that the breast fits on, or else of the largest."""
    for shape in system.fields:
        if shape[0] * system.pitch_mm > 2.1 * traits.half_width_mm and shape[1] * system.pitch_mm > (
            traits.depth_mm + 15.0
        ):
            return shape
    return system.fields[-1]


def _read_out(
    rng: np.random.Generator, shot: _ExposedView
) -> tuple[NDArray[np.uint16], list[tuple[str, float, float]]]:
    """Apply the shadows of calcium, the artefacts, noise and digitisation to an exposed view.

    Returns
    -------
    The stored values, and the conspicuous objects without calcium: name, row and column in pixels.
    """
    scene, names = shot.scene, shot.faults.names
    s, shape = scene.system, (scene.contrast.shape[0], scene.contrast.shape[1])
    found = list(shot.found)
    if "hair" in names:
        found += _add_hairs(rng, scene)
    exposure = Exposure(motion_blurred(scene.exposure.primary, scene.motion_mm, s.pitch_mm), scene.exposure.scatter)
    for name, gain in artefacts.GAINS.items():
        if name in names:
            factor = gain(rng, shape, s.pitch_mm)
            exposure = Exposure(exposure.primary * factor, exposure.scatter * factor)
    if "dust" in names:
        found += _add_dust(rng, s, exposure)
    values = read_out(rng, s, exposure, np.minimum(scene.contrast, _OPAQUE))
    noise_sd: FloatImage = np.sqrt(noise_variance(s, np.maximum(values, 0.0)))
    artefacts.repair_pixels(rng, values)
    if "bad-pixels" in names:
        bad = artefacts.bad_pixels(rng, values, noise_sd, int(rng.integers(1, 41)))
        found += [("bad-pixel", float(r), float(c)) for r, c in bad]
    if "lines" in names:
        artefacts.bad_lines(rng, values, noise_sd)
    return digitise(s, values), found


def _add_hairs(rng: np.random.Generator, scene: Scene) -> list[tuple[str, float, float]]:
    """Add the contrast of hairs, in place, and return places along them: name, row and column in pixels."""
    s, shape = scene.system, (scene.contrast.shape[0], scene.contrast.shape[1])
    found: list[tuple[str, float, float]] = []
    for tubes in artefacts.hairs(rng, scene.breast):
        corner, patch = imaged_lines(tubes, shape, s.pitch_mm, contrast=artefacts.hair_contrast, mtf=s.mtf)
        add_patch(scene.contrast, corner, motion_blurred(patch, scene.motion_mm, s.pitch_mm))
        every = int(3.0 / tubes.step_mm)
        along = np.column_stack([tubes.rows[0, ::every], tubes.columns[0, ::every]]).astype(np.float64)
        found += [("hair", float(r), float(c)) for r, c in along[scene.holds(along, depth_mm=0.0)] / s.pitch_mm]
    return found


def _add_dust(rng: np.random.Generator, system: System, exposure: Exposure) -> list[tuple[str, float, float]]:
    """Cast the shadows of grains of dust, in place, and return them: name, row and column in pixels."""
    shape, spacing_mm = (exposure.primary.shape[0], exposure.primary.shape[1]), (system.pitch_mm, system.pitch_mm)
    found: list[tuple[str, float, float]] = []
    for pixel, contrast in artefacts.dust(rng, shape, int(rng.integers(1, 16))):
        corner, patch = render_calcification(contrast, pixel, spacing_mm=spacing_mm, mtf=system.mtf)
        here, part = overlap(shape, corner, patch.shape)
        for layer in (exposure.primary, exposure.scatter):
            layer[here] *= 1.0 - patch[part]
        found.append(("dust", float(pixel[0]), float(pixel[1])))
    return found


def _no_calcium(
    found: Sequence[tuple[str, float, float]], others: Sequence[Annotation], clearance_px: float
) -> list[Annotation]:
    """Return annotations of the objects without calcium, except near other annotations."""
    taken = np.array([(p.row, p.column) for p in others]).reshape(-1, 2)
    return [
        Annotation(row=row, column=column, diameter_mm=0.0, kind="no_calcium", morphology=name)
        for name, row, column in found
        if not len(taken) or np.hypot(*(taken - (row, column)).T).min() > clearance_px
    ]


def _as_seen(pixels: NDArray[np.uint16], laterality: Laterality) -> NDArray[np.uint16]:
    return pixels if laterality == "L" else np.ascontiguousarray(pixels[:, ::-1])


def _technique(rng: np.random.Generator, beam: Beam, thickness_mm: float, kerma: float) -> Technique:
    """Return header values of a typical size; the dose follows from thickness and exposure."""
    relative = float(np.exp(0.035 * (thickness_mm - 55.0))) * kerma / 90.0
    return Technique(
        anode=beam.anode,
        filter_material=beam.filter_material,
        filter_mm=beam.filter_mm,
        kvp=beam.kvp,
        mas=round(90.0 * relative, 1),
        thickness_mm=round(thickness_mm),
        force_n=round(float(rng.uniform(50.0, 140.0)), 1),
        organ_dose_mgy=round(1.3 * relative**0.6, 3),
        kerma_ugy=kerma,
    )
