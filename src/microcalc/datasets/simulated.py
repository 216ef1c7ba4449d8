"""Make a data set of simulated mammograms: DICOM files, and the table with their annotations.

Every exam has a folder with its files, its part of the table and, written last, its settings in
``settings.json``. An interrupted run continues where it stopped; an exam made with other settings is
made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from microcalc import __version__
from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.datasets.table_files import ANNOTATIONS, IMAGES, is_table, read_table, write_table
from microcalc.dicom.header import PROCESSED, RAW, AcquisitionHeader, ExposureHeader, ReceptorHeader, StoredValues
from microcalc.dicom.write import write_dicom
from microcalc.domain import Intent, Laterality
from microcalc.errors import InputError
from microcalc.execution.executor import SERIAL, Executor, run_in_order
from microcalc.execution.shard import Shard
from microcalc.simulate.breast import Density, View
from microcalc.simulate.exam import LATERALITIES, VIEWS, SimulatedMammogram, Technique, simulate_exam
from microcalc.simulate.lesions import LesionRates
from microcalc.simulate.systems import SYSTEMS, System, system
from microcalc.storage.key import code_version
from microcalc.storage.lock import locked
from microcalc.storage.ownership import check_editable, open_output_folder
from microcalc.storage.write import saying_where, write_text

BOTH: tuple[Intent, ...] = ("raw", "processed")
SETTINGS, _LOCK = "settings.json", ".lock"
COMMAND: Final = "simulate"
_DENSITIES: tuple[Density, ...] = ("A", "B", "C", "D")
_DENSITY_SHARES = (0.10, 0.40, 0.40, 0.10)  # of the BI-RADS categories in US screening
_SPLIT_SHARES: tuple[tuple[Split, float], ...] = (("train", 0.60), ("validation", 0.75), ("test", 1.0))


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the settings of an exam, besides its system and number.

    Intents, views and sides are kept in the order of an exam: that in which they are named has no effect.

    Attributes
    ----------
    dose
        Factor on the usual exposure.
    """

    seed: int = 0
    intents: Sequence[Intent] = BOTH
    views: Sequence[View] = VIEWS
    lateralities: Sequence[Laterality] = LATERALITIES
    dose: float = 1.0
    rates: LesionRates = field(default_factory=LesionRates)

    def __post_init__(self) -> None:
        """Put intents, views and sides in the order of an exam."""
        for name, order in (("intents", BOTH), ("views", VIEWS), ("lateralities", LATERALITIES)):
            object.__setattr__(self, name, tuple(one for one in order if one in getattr(self, name)))


_USUAL = Settings()


def simulate_data_set(
    out: Path,
    settings: Settings = _USUAL,
    *,
    systems: Sequence[str] = ("all",),
    exams: int,
    executor: Executor = SERIAL,
    shard: Shard | None = None,
) -> Table:
    """Simulate exams of each system and write them as a data set of the project.

    Parameters
    ----------
    out
        Folder, made if need be: a folder per exam with its DICOM files and its part of the table, and the
        whole table. Exams that are there, made with the same settings, are not made again.
    systems
        Short names of ``simulate.systems``, or ``("all",)``.
    exams
        Number of exams per system; each is a patient of its own.
    executor
        Where the exams are simulated; the files do not depend on it.
    shard
        The part of the exams, by patient, that is simulated, while other calls may simulate the others. The whole
        table is left to the call without a shard.

    Returns
    -------
    Table
        The exams of this call.

    Raises
    ------
    InputError
        There is no such system, nothing to simulate, or the folder was not made by ``microcalc simulate``.
    OutputError
        The system refused to write, or a table in the folder has been edited since it was made.
    WorkerDiedError
        The worker that simulated an exam died; the others are done.
    """
    names = tuple(SYSTEMS) if tuple(systems) == ("all",) else tuple(dict.fromkeys(systems))
    rows = [system(name) for name in names]
    if exams < 1 or not (rows and settings.views and settings.lateralities and settings.intents):
        raise InputError(
            f"{exams} exams of {len(rows)} systems, expected at least one exam, system, view, laterality and intent"
        )
    open_output_folder(out, COMMAND)
    for name in (IMAGES, ANNOTATIONS):
        check_editable(out / name)
    jobs = [(out, s, number, settings) for number in range(exams) for s in rows]
    jobs = [job for job in jobs if shard is None or shard.has(_patient(*job[1:]))]
    tables = run_in_order(executor, _make, jobs, work="simulating exams", name=_patient_of)
    table = Table(
        tuple(i for t in tables for i in t.images),
        tuple(a for t in tables for a in t.annotations),
    )
    if shard is None:
        write_table(table, out)
    return table


def _patient(s: System, number: int, settings: Settings) -> str:
    return f"{s.name}-{settings.seed}-{number:05d}"


def _patient_of(job: tuple[Path, System, int, Settings]) -> str:
    return _patient(*job[1:])


def _make(job: tuple[Path, System, int, Settings]) -> Table:
    return make_exam(*job)


def make_exam(out: Path, s: System, number: int, settings: Settings) -> Table:
    """Simulate one exam into its folder, and return its part of the table; if it is there, read that.

    Raises
    ------
    InputError
        A folder of the exam's name was not made by ``microcalc simulate``.
    OutputError
        The system refused to write.
    """
    patient = _patient(s, number, settings)
    folder = out / patient
    document = {"version": __version__, "code": code_version(__name__), **asdict(settings)}
    text = json.dumps(document, indent=2) + "\n"
    open_output_folder(folder, COMMAND)
    with locked(folder / _LOCK), saying_where(folder / SETTINGS):
        there = _made(folder, text)
        return there if there is not None else _simulated(folder, s, number, settings, patient, text)


def _simulated(folder: Path, s: System, number: int, settings: Settings, patient: str, text: str) -> Table:
    (folder / SETTINGS).unlink(missing_ok=True)
    sequence = np.random.SeedSequence([settings.seed, number, *s.name.encode()])
    density = _DENSITIES[int(np.random.default_rng(sequence).choice(4, p=_DENSITY_SHARES))]
    images: list[ImageRow] = []
    annotations: list[AnnotationRow] = []
    mammograms = simulate_exam(
        s,
        density=density,
        seed=sequence,
        intents=settings.intents,
        rates=settings.rates,
        views=settings.views,
        lateralities=settings.lateralities,
        dose=settings.dose,
    )
    for mammogram in mammograms:
        for row in _written(folder, mammogram, patient):
            images.append(row)
            annotations += _truth(mammogram, row.image)
    table = Table(tuple(images), tuple(annotations))
    write_table(table, folder)
    write_text(folder / SETTINGS, text)
    return table


def split_of(patient: str) -> Split:
    """Return the split of a patient, by a hash that never changes: 60 % train, 15 % validation, 25 % test."""
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64
    return next(split for split, up_to in _SPLIT_SHARES if place < up_to)


def _made(folder: Path, settings: str) -> Table | None:
    """Return the part of the table of an exam if it is complete and was made with these settings, else None."""
    file = folder / SETTINGS
    if not file.is_file() or file.read_bytes() != settings.encode() or not is_table(folder):
        return None
    table = read_table(folder)
    return table if all(image.file.is_file() for image in table.images) else None


def _written(folder: Path, mammogram: SimulatedMammogram, patient: str) -> list[ImageRow]:
    """Write the raw image before the processed one, which refers to it."""
    s = mammogram.system
    rows: list[ImageRow] = []
    raw_uid: str | None = None
    for intent in sorted(mammogram.stored, key=BOTH.index):
        name = f"{patient}-{mammogram.laterality}{mammogram.view}-{intent}"
        file = folder / f"{name}.dcm"
        uid = write_dicom(file, mammogram.stored[intent], header=_header(mammogram, intent, patient, raw_uid))
        raw_uid = uid if intent == "raw" else raw_uid
        rows_px, columns_px = mammogram.stored[intent].shape
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
            tags=" ".join(("simulated", f"density-{mammogram.density}", *mammogram.tags)),
            sop_instance_uid=uid,
            rows=rows_px,
            columns=columns_px,
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
            morphology=p.morphology,
        )
        for p in mammogram.annotations
    ]


def _header(mammogram: SimulatedMammogram, intent: Intent, patient: str, raw_uid: str | None) -> AcquisitionHeader:
    s, h = mammogram.system, mammogram.system.header
    processed = intent == "processed"
    return AcquisitionHeader(
        manufacturer=s.manufacturer,
        model=s.model,
        software=s.software,
        intent=intent,
        laterality=mammogram.laterality,
        view=mammogram.view,
        spacing_mm=(s.pitch_mm, s.pitch_mm),
        stored=_stored_values(s, processed=processed),
        receptor=_receptor(s, mammogram.stored[intent].shape),
        exposure=_exposure(mammogram.technique),
        patient_id=patient,
        exam_id=patient,
        windows=mammogram.windows if processed else (),
        window_names=mammogram.window_names if processed else (),
        patient_name=f"SIMULATED^{patient}",
        instance_number=1 + VIEWS.index(mammogram.view) + 2 * LATERALITIES.index(mammogram.laterality),
        processing_description=h.processing_description if processed else None,
        processing_code=h.processing_code if processed else None,
        source_uid=raw_uid if processed else None,
    )


def _receptor(s: System, shape: tuple[int, ...]) -> ReceptorHeader:
    h = s.header
    return ReceptorHeader(
        detector_type=s.detector_type,
        element_spacing_mm=(h.element_spacing_mm, h.element_spacing_mm),
        active_mm=h.active_mm,
        field_of_view_mm=h.field_of_view_mm(shape),
        source_to_detector_mm=h.source_to_detector_mm,
        source_to_patient_mm=h.source_to_patient_mm,
        magnification=h.magnification,
        grid=h.grid,
        sensitivity=h.sensitivity,
        field_of_view_origin=h.field_of_view_origin,
        field_of_view_rotation=h.field_of_view_rotation,
    )


def _exposure(t: Technique) -> ExposureHeader:
    return ExposureHeader(
        kvp=t.kvp,
        mas=t.mas,
        anode=t.anode,
        filter_material=t.filter_material,
        filter_thickness_mm=t.filter_mm,
        thickness_mm=t.thickness_mm,
        force_n=t.force_n,
        organ_dose_dgy=round(t.organ_dose_mgy / 100.0, 6),
    )


def _stored_values(s: System, *, processed: bool) -> StoredValues:
    """Return the meaning of the stored values; processed images have the padding that the system declares."""
    if not processed:
        return replace(RAW, bits_stored=s.bits_stored)
    if s.header.padding is None:
        return PROCESSED
    value, limit = s.header.padding
    return replace(PROCESSED, padding_value=value, padding_limit=limit)
