"""Makes a data set of simulated mammograms: DICOM files, and the table with their truth."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table, write_table
from microcalc.dicom.header import PROCESSED, RAW, AcquisitionHeader, ExposureHeader, ReceptorHeader
from microcalc.dicom.write import write_dicom
from microcalc.domain import Intent, Laterality
from microcalc.errors import InputError
from microcalc.simulate.breast import Density, View
from microcalc.simulate.contents import Amounts
from microcalc.simulate.exam import RAW_ONLY, SimulatedMammogram, simulate_mammogram
from microcalc.simulate.systems import SYSTEMS, System, system

_DENSITIES: tuple[Density, ...] = ("A", "B", "C", "D")
_DENSITY_SHARES = (0.10, 0.40, 0.40, 0.10)
_SPLIT_SHARES: tuple[tuple[Split, float], ...] = (("train", 0.60), ("tune", 0.75), ("test", 1.0))


def simulate_data_set(
    out: Path,
    *,
    systems: Sequence[str],
    exams: int,
    seed: int = 0,
    intents: Collection[Intent] = RAW_ONLY,
    views: Sequence[View] = ("CC",),
    amounts: Amounts | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Table:
    """Simulate exams of each system and write them as a data set of the project.

    Parameters
    ----------
    out
        Folder, made if need be: one DICOM file per image, ``images.csv`` and
        ``annotations.csv``.
    systems
        Short names of ``simulate.systems``, or ``("all",)``.
    exams
        Number of exams per system; each is a patient of its own, one breast.
    workers
        Processes; the files do not depend on their number.

    Raises
    ------
    InputError
        There is no such system, or nothing to make.
    """
    names = tuple(SYSTEMS) if tuple(systems) == ("all",) else tuple(systems)
    rows = [system(name) for name in names]
    if exams < 1 or not rows or not views or not intents:
        raise InputError(
            f"{exams} exams of {len(rows)} systems, expected at least one of each, of a view and an intent"
        )
    from joblib import Parallel, delayed

    out.mkdir(parents=True, exist_ok=True)
    jobs = [(s, number) for number in range(exams) for s in rows]
    results = Parallel(n_jobs=workers, return_as="generator")(
        delayed(simulate_exam)(out, s, number, seed=seed, intents=intents, views=views, amounts=amounts)
        for s, number in jobs
    )
    if progress:
        from rich.progress import track

        results = track(results, description="simulating", total=len(jobs))
    tables = list(results)
    table = Table(
        tuple(i for t in tables for i in t.images),
        tuple(a for t in tables for a in t.annotations),
    )
    write_table(table, out)
    return table


def simulate_exam(
    out: Path,
    s: System,
    number: int,
    *,
    seed: int,
    intents: Collection[Intent],
    views: Sequence[View],
    amounts: Amounts | None = None,
) -> Table:
    """Simulate one exam, write its files, and return its part of the table."""
    patient = f"{s.name}-{seed}-{number:05d}"
    sequence = np.random.SeedSequence([seed, number, *s.name.encode()])
    rng = np.random.default_rng(sequence)
    laterality: Laterality = "L" if rng.random() < 0.5 else "R"
    density = _DENSITIES[int(rng.choice(4, p=_DENSITY_SHARES))]
    images: list[ImageRow] = []
    annotations: list[AnnotationRow] = []
    for view, child in zip(views, sequence.spawn(len(views)), strict=True):
        mammogram = simulate_mammogram(
            s, view=view, laterality=laterality, density=density, seed=child, intents=intents, amounts=amounts
        )
        for row in _written(out, mammogram, patient):
            images.append(row)
            annotations += _truth(mammogram, row.image)
    return Table(tuple(images), tuple(annotations))


def split_of(patient: str) -> Split:
    """60 % train, 15 % tune, 25 % test, by a hash of the patient: it never changes."""
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64
    return next(split for split, up_to in _SPLIT_SHARES if place < up_to)


def _written(out: Path, mammogram: SimulatedMammogram, patient: str) -> list[ImageRow]:
    """Write the raw image before the processed one, which refers to it."""
    s = mammogram.system
    rows: list[ImageRow] = []
    raw_uid: str | None = None
    for intent in sorted(mammogram.stored, key=("raw", "processed").index):
        name = f"{patient}-{mammogram.laterality}{mammogram.view}-{intent}"
        file = out / f"{name}.dcm"
        uid = write_dicom(file, mammogram.stored[intent], header=_header(mammogram, intent, patient, raw_uid))
        raw_uid = uid if intent == "raw" else raw_uid
        row = ImageRow(
            image=name,
            file=file,
            intent=intent,
            spacing_mm=(s.pitch_mm, s.pitch_mm),
            patient=patient,
            system=f"{s.manufacturer} {s.model}",
            view=mammogram.view,
            laterality=mammogram.laterality,
            split=split_of(patient),
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            tags=f"simulated density-{mammogram.density}",
        )
        rows.append(row)
    return rows


def _truth(mammogram: SimulatedMammogram, image: str) -> list[AnnotationRow]:
    return [
        AnnotationRow(
            image=image,
            row=p.row,
            column=p.column,
            diameter_mm=p.diameter_mm,
            kind=p.kind,
            cluster=p.cluster,
            outline=p.outline,
            d_prime=p.d_prime,
            judge="simulation",
        )
        for p in mammogram.places
    ]


def _header(mammogram: SimulatedMammogram, intent: Intent, patient: str, raw_uid: str | None) -> AcquisitionHeader:
    s, t = mammogram.system, mammogram.technique
    processed = intent == "processed"
    shape = mammogram.stored[intent].shape
    size_mm = (shape[0] * s.pitch_mm, shape[1] * s.pitch_mm)
    return AcquisitionHeader(
        manufacturer=s.manufacturer,
        model=s.model,
        software=s.software,
        intent=intent,
        laterality=mammogram.laterality,
        view=mammogram.view,
        spacing_mm=(s.pitch_mm, s.pitch_mm),
        stored=PROCESSED if processed else RAW,
        receptor=ReceptorHeader(
            detector_type=s.detector_type,
            element_spacing_mm=(s.pitch_mm, s.pitch_mm),
            field_of_view_mm=(round(size_mm[0]), round(size_mm[1])),
            source_to_detector_mm=s.source_to_detector_mm,
            source_to_patient_mm=s.source_to_detector_mm - 17.0,
            grid=tuple(s.grid.split("\\")),
        ),
        exposure=ExposureHeader(
            kvp=t.kvp,
            mas=t.mas,
            anode=t.anode,
            filter_material=t.filter_material,
            filter_thickness_mm=None,
            thickness_mm=t.thickness_mm,
            force_n=t.force_n,
            organ_dose_dgy=round(t.organ_dose_mgy / 100.0, 6),
        ),
        patient_id=patient,
        exam_id=patient,
        windows=mammogram.windows if processed else (),
        window_names=("NORMAL", "HARDER", "SOFTER") if processed else (),
        patient_name=f"SIMULATED^{patient}",
        source_uid=raw_uid if processed else None,
    )
