"""A model: what rates the pixels of a mammogram, and the numbers that turn its ratings into findings."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from microcalc.domain import Device, Intent, OperatingPoint, PixelScorer, Stage
from microcalc.errors import InputError
from microcalc.extras import require_modules
from microcalc.models.description import (
    DESCRIPTION,
    CandidateRules,
    CascadeDescription,
    ClusterRules,
    FileEntry,
    ModelDescription,
    ShapeRules,
    parse_description,
    parse_pair_description,
)

if TYPE_CHECKING:
    from microcalc.cnn.scorer import CnnPair

SHIPPED: Final = ("raw", "processed", "cascade")
LAPLACIAN: Final = "log"
"""The name of the filter without training, which trained models are compared with."""


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A pixel scorer, and the numbers that turn its ratings into findings.

    Attributes
    ----------
    name, version
        As ``model.json`` states them.
    sha256
        The SHA-256 of ``model.json``, which holds those of the networks: it changes with any of them.
    intent
        ``"raw"`` or ``"processed"``: the images that the model is made for; None for both.
    scorer
        Rates every pixel of the breast.
    candidates, shapes, clusters
        Which pixels are candidates, which of these are outlined, and which form a cluster.
    mark_operating_points
        Thresholds on the likelihood of a single mark with the fraction of microcalcifications hit and the false marks
        per image measured at them, the fewest false marks first; empty where they were not measured.
    operating_points
        Thresholds on a cluster's likelihood with the sensitivity and false clusters per image measured at them.
    default
        Index of the operating point at which clusters are findings.
    """

    name: str
    version: str
    sha256: str
    intent: Intent | None
    scorer: PixelScorer
    candidates: CandidateRules
    shapes: ShapeRules
    clusters: ClusterRules
    operating_points: tuple[OperatingPoint, ...]
    mark_operating_points: tuple[OperatingPoint, ...] = ()
    default: int = 0

    @property
    def operating_point(self) -> OperatingPoint:
        """Return the default operating point."""
        return self.operating_points[self.default]

    @property
    def spacing_mm(self) -> float:
        """Return the pixel spacing that the scorer needs, in mm."""
        return self.scorer.spacing_mm

    @property
    def more_sensitive_points(self) -> tuple[OperatingPoint, ...]:
        """Return the operating points with a lower threshold than the default one, the highest threshold first."""
        below = [point for point in self.operating_points if point.threshold < self.operating_point.threshold]
        return tuple(sorted(below, key=_threshold, reverse=True))

    def check_intent(self, intent: Intent) -> None:
        """Refuse an image of the other intent than the model's.

        Raises
        ------
        InputError
            The model is for images of the other intent.
        """
        if self.intent not in (None, intent):
            raise InputError(f"{self.name}: a model for {self.intent} images, expected one for {intent} images")


class Models:
    """The model for the images of each intent: one that the user chose, or the shipped ones.

    A model is loaded once: a chosen one at once, so that a wrong name is refused before the first image; a
    shipped one for the first image of its intent.

    Parameters
    ----------
    choice
        The name of a shipped model, ``"log"``, or the folder of a model; None: the shipped one for each intent.
    threads, stage, device
        See ``load_model``; a chosen model raises its errors.
    """

    def __init__(
        self, choice: str | Path | None = None, *, threads: int = 0, stage: Stage = "pair", device: Device = "cpu"
    ) -> None:
        self._load = partial(load_model, threads=threads, stage=stage, device=device)
        self._chosen = None if choice is None else self._load(choice)
        self._shipped: dict[Intent, Model] = {}

    def of(self, intent: Intent) -> Model:
        """Return the model for images of an intent.

        Raises
        ------
        InputError
            The chosen model is for images of the other intent.
        """
        if self._chosen is not None:
            self._chosen.check_intent(intent)
            return self._chosen
        if intent not in self._shipped:
            self._shipped[intent] = self._load(intent)
        return self._shipped[intent]


@cache
def models_of(choice: str | Path | None, stage: Stage, threads: int, device: Device = "cpu") -> Models:
    """Return the models of this process, as of ``Models``; each is loaded once."""
    return Models(choice, threads=threads, stage=stage, device=device)


def load_model(choice: str | Path, *, threads: int = 0, stage: Stage = "pair", device: Device = "cpu") -> Model:
    """Load a model; its files are checked against their SHA-256.

    Parameters
    ----------
    choice
        ``"raw"`` or ``"processed"`` (shipped, for images FOR PROCESSING or FOR PRESENTATION), ``"cascade"``
        (shipped, for raw images, for comparison; needs ``microcalc[cascade]``), ``"log"`` (a Laplacian of
        Gaussian without any training, for comparison), or the folder of a model.
    threads
        Number of threads that rate pixels; 0: one for each core.
    stage
        ``"cnn1"``: rate by the first network alone, for comparison.
    device
        ``"cuda"``: the networks run on a GPU, by torch (``microcalc[train]``). The ratings are the same to rounding.

    Raises
    ------
    InputError
        No such folder, a file is missing or is not the one described, the model has no such stage, or there is no
        such device.
    MissingExtraError
        torch is needed for the device, and not installed.
    RecipeError
        ``model.json`` has an unknown, missing or impossible entry.

    Examples
    --------
    >>> model = microcalc.load_model("raw")
    >>> model.intent, model.spacing_mm
    ('raw', 0.1)
    >>> [round(point.nlf, 1) for point in model.operating_points]  # false clusters per image
    [0.0, 0.1, 0.2, 0.5]
    """
    if choice == LAPLACIAN:
        if stage != "pair":
            raise InputError(f"log: a filter without networks, expected no --stage {stage}")
        if device != "cpu":
            raise InputError(f"log: a filter without networks, expected no --device {device}")
        return laplacian_model()
    folder, threads = model_folder(choice), threads or os.cpu_count() or 1
    described = _bytes_of(folder, DESCRIPTION)
    description = parse_description(described, where=f"{folder.name}/{DESCRIPTION}")
    if isinstance(description, ModelDescription):
        scorer: PixelScorer = _open_pair(folder, description, threads=threads, stage=stage, device=device)
    elif device != "cpu":
        raise InputError(f"{folder.name}: a cascade, expected no --device {device}")
    else:
        scorer = _open_cascade(folder, description, threads=threads, stage=stage)
    return Model(
        name=description.name,
        version=description.version,
        sha256=hashlib.sha256(described).hexdigest(),
        intent=description.intent,
        scorer=scorer,
        candidates=description.candidates,
        shapes=description.shapes,
        clusters=description.clusters,
        mark_operating_points=tuple(entry.as_point() for entry in description.mark_operating_points),
        operating_points=tuple(entry.as_point() for entry in description.operating_points),
        default=description.default_operating_point,
    )


def model_sha256(choice: str | Path) -> str:
    """Return a model's ``sha256`` without loading the model.

    Raises
    ------
    InputError
        The folder holds no model.
    """
    if choice == LAPLACIAN:
        return laplacian_model().sha256
    return hashlib.sha256(_bytes_of(model_folder(choice), DESCRIPTION)).hexdigest()


def shipped_model(name: str) -> Path:
    """Return the folder of a model in the package: one of ``SHIPPED``."""
    return Path(str(resources.files("microcalc") / "models" / name))


def model_folder(choice: str | Path) -> Path:
    """Return the folder of a model: of a shipped one by its name, of any other by its path."""
    return shipped_model(choice) if isinstance(choice, str) and choice in SHIPPED else Path(choice)


def wherever(choice: str | Path | None) -> str | Path | None:
    """Return a choice of a model that means the same in a process with another current folder."""
    if choice is None or choice == LAPLACIAN or (isinstance(choice, str) and choice in SHIPPED):
        return choice
    return str(Path(choice).absolute())


def open_pair(folder: Path, *, threads: int = 2, stage: Stage = "pair") -> CnnPair:
    """Open the two networks in a model's folder, checked as ``load_model`` does; see ``describe_pair``."""
    return _open_pair(folder, describe_pair(folder), threads=threads, stage=stage)


def describe_pair(folder: Path) -> ModelDescription:
    """Return the description of the two networks in a model's folder; their files are those described.

    Raises
    ------
    InputError
        A file is missing or is not the one described, or the model is a cascade.
    RecipeError
        ``model.json`` has an unknown, missing or impossible entry.
    """
    text, where = _bytes_of(folder, DESCRIPTION), f"{folder.name}/{DESCRIPTION}"
    if isinstance(parse_description(text, where=where), CascadeDescription):
        raise InputError(f"{folder.name}: a cascade, expected a pair of networks")
    description = parse_pair_description(text, where=where)
    for entry in (description.cnn1, description.cnn2):
        _check_hash(folder, entry)
    return description


def open_cascade(file: Path, *, threads: int) -> PixelScorer:
    """Open the file of a cascade as a pixel scorer.

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    from microcalc.cascade.cascade import load_cascade
    from microcalc.cascade.rate import CascadeScorer  # brings the compiler

    return CascadeScorer(load_cascade(file), threads=threads)


def laplacian_model() -> Model:
    """Return the Laplacian of Gaussian as a model, for comparison; its operating point was not measured."""
    from microcalc.models.laplacian import DIAMETERS_MM, LaplacianFilter

    return Model(
        name=LAPLACIAN,
        version="1",
        sha256=hashlib.sha256(repr(("log", "1", DIAMETERS_MM)).encode()).hexdigest(),
        intent=None,
        scorer=LaplacianFilter(),
        candidates=CandidateRules(min_distance_mm=0.5, min_likelihood=0.2, max_count=1000),
        shapes=ShapeRules(min_likelihood=0.5, min_contrast_to_noise=2.0, min_dip=0.3),
        clusters=ClusterRules(
            max_gap_mm=5.0,
            min_members=3,
            max_area_cm2=1.0,
            min_likelihood=0.3,
            member_likelihood=0.5,
            member_gap_mm=6.0,
        ),
        operating_points=(OperatingPoint(threshold=0.8, llf=None, nlf=None),),
    )


def check_device(device: Device) -> None:
    """Refuse a device that this machine does not have.

    Raises
    ------
    InputError
        There is no such device.
    MissingExtraError
        torch is needed for it, and not installed.
    """
    if device != "cpu":
        require_modules("torch", "onnx")
        from microcalc.cnn.device import check_device as check

        check(device)


def _open_pair(
    folder: Path, description: ModelDescription, *, threads: int, stage: Stage, device: Device = "cpu"
) -> CnnPair:
    from microcalc.cnn.scorer import CnnPair, NetworkFile  # brings the run-time engine

    check_device(device)
    for entry in (description.cnn1, description.cnn2):
        _check_hash(folder, entry)
    return CnnPair(
        NetworkFile(folder / description.cnn1.file, description.cnn1.margin_px),
        NetworkFile(folder / description.cnn2.file, description.cnn2.margin_px),
        rejection_logit=description.rejection_logit,
        most_survivors=description.most_survivors,
        spacing_mm=description.spacing_mm,
        threads=threads,
        stage=stage,
        device=device,
    )


def _open_cascade(folder: Path, description: CascadeDescription, *, threads: int, stage: Stage) -> PixelScorer:
    if stage != "pair":
        raise InputError(f"{folder.name}: a cascade, expected no --stage {stage}")
    _check_hash(folder, description.cascade)
    return open_cascade(folder / description.cascade.file, threads=threads)


def _threshold(point: OperatingPoint) -> float:
    return point.threshold


def _bytes_of(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        found = f"{name}: {error.strerror}" if folder.is_dir() else "no such model"
        separator = "/" if folder.is_dir() else ": "
        expected = f"{', '.join(SHIPPED)}, log, or a model's folder"
        raise InputError(f"{folder.name}{separator}{found}, expected {expected}") from None


def _check_hash(folder: Path, entry: FileEntry) -> None:
    found = hashlib.sha256(_bytes_of(folder, entry.file)).hexdigest()
    if found != entry.sha256:
        raise InputError(f"{folder.name}/{entry.file}: SHA-256 {found}, expected {entry.sha256} of {DESCRIPTION}")
