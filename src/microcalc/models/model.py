"""A model: a folder with two networks or a cascade, and the numbers that turn their ratings into findings.

The folder holds ``model.json`` (``ModelDescription`` or ``CascadeDescription``), the files that it names,
and their ``recipe.toml`` and ``MODEL_CARD.md``. Cascades are opened by the caller's means: this
folder imports nothing that runs them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from microcalc.cnn.limit import SurvivorLimit
from microcalc.domain import Intent, OperatingPoint, PixelScorer, Stage
from microcalc.errors import InputError, RecipeError

if TYPE_CHECKING:
    from microcalc.cnn.scorer import CnnPair

DESCRIPTION = "model.json"
CASCADE_SCHEMA: Final = "microcalc/cascade-model/1"
SHIPPED: Final = ("raw", "processed", "cascade")
OpenCascade = Callable[[Path, int], PixelScorer]
"""Opens a cascade's file to run on so many threads."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Kind = TypeVar("_Kind", bound="_Description")
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class _Entries(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Entries):
    """A file in the folder."""

    file: FileName
    sha256: Sha256


class NetworkEntry(FileEntry):
    """One of the two networks: its file in the folder, and the surroundings it needs on each side."""

    file: FileName
    margin_px: Annotated[int, Field(ge=0, le=256)]
    sha256: Sha256


class CandidateRules(_Entries):
    """Which local maxima are candidates; see ``candidates.find_candidates``."""

    min_distance_mm: Positive
    min_likelihood: Fraction
    max_count: Annotated[int, Field(gt=0)]


class ClusterRules(_Entries):
    """Which candidates are a cluster; see ``clusters.group``."""

    max_gap_mm: Positive
    min_members: Annotated[int, Field(gt=0)]
    max_area_cm2: Positive
    min_likelihood: Annotated[float, Field(gt=0, lt=1)]


class OperatingPointEntry(_Entries):
    """A threshold on a cluster's likelihood, and what it gave on the data named in the card."""

    threshold: Fraction
    llf: Fraction
    nlf: Annotated[float, Field(ge=0)]


class _Description(_Entries):
    """What is said of every model."""

    format: str = Field(alias="schema", serialization_alias="schema")
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    intent: Intent
    spacing_mm: Annotated[float, Field(ge=0.02, le=0.5)]
    candidates: CandidateRules
    clusters: ClusterRules
    operating_points: Annotated[tuple[OperatingPointEntry, ...], Field(min_length=1)]
    default_operating_point: Annotated[int, Field(ge=0)]
    recipe: str
    trained_on: str

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default_operating_point >= len(self.operating_points):
            raise ValueError(
                f"default_operating_point {self.default_operating_point}, "
                f"expected an index into {len(self.operating_points)} operating_points"
            )
        return self

    def to_json(self) -> str:
        """The text of ``model.json``."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


class ModelDescription(_Description):
    """What ``model.json`` says of two networks."""

    format: Literal["microcalc/model/1"] = Field(alias="schema", serialization_alias="schema")
    cnn1: NetworkEntry
    cnn2: NetworkEntry
    rejection_logit: float
    most_survivors: SurvivorLimit


class CascadeDescription(_Description):
    """What ``model.json`` says of a cascade."""

    format: Literal["microcalc/cascade-model/1"] = Field(alias="schema", serialization_alias="schema")
    cascade: FileEntry


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A scorer, and the numbers that turn its ratings into findings.

    Attributes
    ----------
    sha256
        Of ``model.json``, which holds those of the networks: it changes with any of them.
    intent
        Of the images that it is for; None for both.
    """

    name: str
    version: str
    sha256: str
    intent: Intent | None
    scorer: PixelScorer
    candidates: CandidateRules
    clusters: ClusterRules
    operating_point: OperatingPoint


def choose_model(
    choice: str | None, *, threads: int = 2, stage: Stage = "pair", open_cascade: OpenCascade | None = None
) -> Callable[[Intent], Model]:
    """What gives an image of an intent its model: one that is named for all, else the shipped one of the intent.

    A model that is named is loaded now, so that a wrong name is said before the first image; each is loaded once.

    Parameters
    ----------
    choice
        Name of a shipped model, "log", or a model's folder; None: by the intent.
    open_cascade
        See ``load_model``.

    Returns
    -------
    Callable
        Raises InputError for an image of the other intent than the named model's.

    Raises
    ------
    InputError
        The folder holds no model, or the model has no such stage.
    RecipeError
        The model's description is broken.
    """
    if choice is None:
        return functools.cache(lambda intent: load_model(shipped_model(intent), threads=threads, stage=stage))
    if choice == "log" and stage != "pair":
        raise InputError(f"log: a filter without networks, expected no --stage {stage}")
    if choice == "log":
        model = laplacian_model()
    else:
        model = load_model(model_folder(choice), threads=threads, stage=stage, open_cascade=open_cascade)

    def named(intent: Intent) -> Model:
        if model.intent not in (None, intent):
            raise InputError(f"{model.name}: a model for {model.intent} images, expected one for {intent} images")
        return model

    return named


def shipped_model(name: str) -> Path:
    """The folder of a model in the package: for raw or for processed images, or the cascade."""
    return Path(str(resources.files("microcalc") / "models" / name))


def model_folder(choice: str) -> Path:
    """The folder of a model that is named: a shipped one by its name, any other by its path."""
    for shipped in SHIPPED:
        if choice == shipped:
            return shipped_model(shipped)
    return Path(choice)


def load_model(
    folder: Path, *, threads: int = 2, stage: Stage = "pair", open_cascade: OpenCascade | None = None
) -> Model:
    """A model from its folder, its files checked against their SHA-256.

    Parameters
    ----------
    open_cascade
        What opens the file of a cascade; None: only a pair of networks will do.

    Raises
    ------
    InputError
        No such folder, a file missing or not the one described, or a cascade where a pair is expected.
    RecipeError
        ``model.json`` has an unknown, missing or impossible entry.
    """
    described = _bytes_of(folder, DESCRIPTION)
    description = parse_description(described, where=f"{folder.name}/{DESCRIPTION}")
    if isinstance(description, ModelDescription):
        scorer: PixelScorer = _pair(folder, description, threads=threads, stage=stage)
    elif open_cascade is None or stage != "pair":
        expected = "a pair of networks" if open_cascade is None else f"no --stage {stage}"
        raise InputError(f"{folder.name}: a cascade, expected {expected}")
    else:
        _check_hash(folder, description.cascade)
        scorer = open_cascade(folder / description.cascade.file, threads)
    point = description.operating_points[description.default_operating_point]
    return Model(
        name=description.name,
        version=description.version,
        sha256=hashlib.sha256(described).hexdigest(),
        intent=description.intent,
        scorer=scorer,
        candidates=description.candidates,
        clusters=description.clusters,
        operating_point=OperatingPoint(point.threshold, point.llf, point.nlf),
    )


def open_pair(folder: Path, *, threads: int = 2, stage: Stage = "pair") -> CnnPair:
    """The two networks of a model's folder, checked as ``load_model`` does."""
    text = _bytes_of(folder, DESCRIPTION)
    return _pair(
        folder, parse_pair_description(text, where=f"{folder.name}/{DESCRIPTION}"), threads=threads, stage=stage
    )


def _pair(folder: Path, description: ModelDescription, *, threads: int, stage: Stage) -> CnnPair:
    from microcalc.cnn.scorer import CnnPair, NetworkFile  # brings the run-time engine

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
    )


def parse_description(text: str | bytes, *, where: str) -> ModelDescription | CascadeDescription:
    """``model.json``'s text as a description.

    Raises
    ------
    RecipeError
        An unknown, missing or impossible entry; the message names one, an unknown one first.
    """
    if _is_cascade(text):
        return _parsed(CascadeDescription, text, where)
    return _parsed(ModelDescription, text, where)


def parse_pair_description(text: str | bytes, *, where: str) -> ModelDescription:
    """The same of a model that has to be a pair of networks."""
    return _parsed(ModelDescription, text, where)


def _is_cascade(text: str | bytes) -> bool:
    try:
        entries = json.loads(text)
    except ValueError:
        return False
    return isinstance(entries, dict) and entries.get("schema") == CASCADE_SCHEMA


def _parsed(kind: type[_Kind], text: str | bytes, where: str) -> _Kind:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        fault = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        entry = ".".join(str(part) for part in fault["loc"]) or "the text"
        unknown = fault["type"] == "extra_forbidden"
        raise RecipeError(f"{where}: {entry}: {'unknown entry' if unknown else fault['msg']}") from None


def laplacian_model() -> Model:
    """The Laplacian of Gaussian as a model, for comparison; its operating point was not measured."""
    from microcalc.models.laplacian import DIAMETERS_MM, LaplacianFilter

    return Model(
        name="log",
        version="1",
        sha256=hashlib.sha256(repr(("log", "1", DIAMETERS_MM)).encode()).hexdigest(),
        intent=None,
        scorer=LaplacianFilter(),
        candidates=CandidateRules(min_distance_mm=0.5, min_likelihood=0.2, max_count=1000),
        clusters=ClusterRules(max_gap_mm=5.0, min_members=3, max_area_cm2=1.0, min_likelihood=0.3),
        operating_point=OperatingPoint(threshold=0.8, llf=None, nlf=None),
    )


def _bytes_of(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        expected = f"{', '.join(SHIPPED)}, log, or a model's folder"
        raise InputError(f"{folder.name}/{name}: {error.strerror}, expected {expected}") from None


def _check_hash(folder: Path, entry: FileEntry) -> None:
    found = hashlib.sha256(_bytes_of(folder, entry.file)).hexdigest()
    if found != entry.sha256:
        raise InputError(f"{folder.name}/{entry.file}: SHA-256 {found}, expected {entry.sha256} of {DESCRIPTION}")
