"""Detecting in one mammogram: the steps in order, and the two files that they end in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from microcalc.detect.candidates import find_candidates
from microcalc.detect.clusters import group
from microcalc.detect.findings import findings
from microcalc.detect.model import Model
from microcalc.detect.report import Detections, ModelEntry, Seconds, detections, write_detections
from microcalc.domain import Candidates, Cluster, Finding, Mammogram, NormalisedMammogram
from microcalc.errors import InputError


@dataclass(frozen=True, eq=False, slots=True)
class Detected:
    """What the stages found in one mammogram, and how long they took."""

    candidates: Candidates
    clusters: list[Cluster]
    findings: list[Finding]
    score_seconds: float
    group_seconds: float


def detect_normalised(
    mammogram: NormalisedMammogram,
    model: Model,
    *,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> Detected:
    """Rate every breast pixel, pick candidates, group them, and choose the findings.

    Parameters
    ----------
    mammogram
        At the spacing of the model's scorer.
    model
        The scorer and its numbers.
    min_likelihood, max_candidates
        In place of the model's. Clusters are made of the candidates that remain.
    """
    rules = model.candidates
    start = perf_counter()
    likelihood = model.scorer.score(mammogram)
    scored = perf_counter()
    candidates = find_candidates(
        mammogram,
        likelihood,
        min_likelihood=rules.min_likelihood if min_likelihood is None else min_likelihood,
        min_distance_mm=rules.min_distance_mm,
        max_count=rules.max_count if max_candidates is None else max_candidates,
    )
    clusters = group(
        candidates,
        max_gap_mm=model.clusters.max_gap_mm,
        min_members=model.clusters.min_members,
        max_area_cm2=model.clusters.max_area_cm2,
        min_likelihood=model.clusters.min_likelihood,
    )
    found = findings(clusters, model.operating_point, uid=mammogram.uid)
    return Detected(candidates, clusters, found, scored - start, perf_counter() - scored)


def detect_one(
    mammogram: Mammogram,
    *,
    file: str,
    stem: str,
    out: Path,
    model: Model,
    normalise: Callable[[Mammogram], NormalisedMammogram],
    read_seconds: float,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
    overlay: bool = True,
) -> Detections:
    """Detect in one mammogram and write ``STEM.json`` and ``STEM.png`` into a folder.

    Parameters
    ----------
    mammogram
        As read.
    file, stem
        The image's file name, and the name of what is written.
    out
        Made if need be, once there is something to write.
    model
        For images of the mammogram's intent.
    normalise
        The normalisation at the spacing of the model's scorer.
    read_seconds
        What reading took.
    min_likelihood, max_candidates
        See ``detect_normalised``.
    overlay
        Whether to draw the picture.

    Returns
    -------
    Detections
        The document written. Its total time leaves out writing and drawing.

    Raises
    ------
    NoBreastError
        From normalising.
    """
    start = perf_counter()
    normalised = normalise(mammogram)
    normalise_seconds = perf_counter() - start
    detected = detect_normalised(normalised, model, min_likelihood=min_likelihood, max_candidates=max_candidates)
    document = detections(
        mammogram,
        detected.candidates,
        detected.clusters,
        detected.findings,
        file=file,
        model=ModelEntry(name=model.name, version=model.version, sha256=model.sha256),
        operating_point=model.operating_point,
        breast_area_cm2=normalised.breast_area_cm2,
        seconds=Seconds(
            read=round(read_seconds, 3),
            normalise=round(normalise_seconds, 3),
            score=round(detected.score_seconds, 3),
            group=round(detected.group_seconds, 3),
            total=round(read_seconds + perf_counter() - start, 3),
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    if overlay:
        from microcalc.detect.overlay import draw_overlay, write_overlay

        write_overlay(draw_overlay(mammogram, normalised, document), out / f"{stem}.png")
    write_detections(document, out / f"{stem}.json")  # last: where it stands, both stand
    return document


def output_stems(files: Sequence[Path]) -> list[str]:
    """A different name for what is written about each file, in their order.

    A file's stem where no other file has it; else its name with the suffix, else with the names of
    as many folders above it as it takes: ``a/1.dcm`` and ``b/1.dcm`` become ``a-1.dcm`` and
    ``b-1.dcm``. Upper and lower case count as the same, as they do on some file systems.

    Raises
    ------
    InputError
        A file was given twice, or names differ in case alone.
    """
    paths = [file.absolute() for file in files]
    for path, count in Counter(paths).items():
        if count > 1:
            raise InputError(f"{path.name}: given {count} times, expected once")
    names = [path.stem for path in paths]
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        count_of = Counter(name.casefold() for name in names)
        if all(count == 1 for count in count_of.values()):
            break
        names = [
            "-".join(path.parts[1:][-depth:]) if count_of[name.casefold()] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    else:
        for path in paths:
            raise InputError(f"{path.name}: another file's name cannot be told from it, expected different names")
    return names
