"""The command ``microcalc``.

Exit codes: 0 done; 1 done in part (some of several files); 2 what was given
cannot be used; 130 interrupted. Errors are one line on standard error. Everything
that weighs something is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import cyclopts
from cyclopts import Parameter, Token

from microcalc import __version__
from microcalc.errors import InputError, MicrocalcError, MissingExtraError

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.domain import Intent

app = cyclopts.App(
    name="microcalc",
    help="Finds microcalcifications in digital mammograms of any vendor. For research use only.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
table_app = cyclopts.App(name="table", help="Make the table of a public data set.")
app.command(table_app)

_INTENTS: Final[dict[str, Intent]] = {
    "raw": "raw",
    "processing": "raw",
    "for-processing": "raw",
    "processed": "processed",
    "presentation": "processed",
    "for-presentation": "processed",
}
_EXTRA_OF: Final = {
    "torch": "train",
    "onnx": "train",
    "matplotlib": "evaluate",
}
_NOT_IMAGES: Final = {".csv", ".json", ".md", ".toml", ".txt"}


def _intent(_type: type, tokens: Sequence[Token]) -> Intent:
    word = tokens[0].value.lower().replace("_", "-").replace(" ", "-")
    if word not in _INTENTS:
        raise ValueError(f"{tokens[0].value!r}, expected raw (for processing) or processed (for presentation)")
    return _INTENTS[word]


# Several words mean an intent; the functions see only "raw" and "processed".
IntentOption = Annotated[Literal["raw", "processed"] | None, Parameter(converter=_intent, show_choices=False)]
Laterality = Literal["L", "R"]
SplitOption = Literal["train", "tune", "test", "all"]


def main() -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command; its exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except cyclopts.CycloptsError as error:
        return _say_error(f"{error} (see microcalc --help)")
    except MicrocalcError as error:
        return _say_error(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        return _say_error(str(MissingExtraError(f"{error.name} is not installed, expected microcalc[{extra}]")))
    except BrokenPipeError:
        # Nobody reads on; the flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _say_error(f"{Path(str(error.filename or '')).name}: {error.strerror or error}".removeprefix(": "))
    except KeyboardInterrupt:
        return _say_error("interrupted", code=130)


@app.command
def detect(
    files: list[Path],
    /,
    *,
    out: Path,
    model: str | None = None,
    pixel_spacing: float | None = None,
    intent: IntentOption = None,
    system: str | None = None,
    view: str | None = None,
    laterality: Laterality | None = None,
    any_view: bool = False,
    whole_image: bool = False,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
    stage: Literal["pair", "cnn1"] = "pair",
    no_overlay: bool = False,
    threads: int = 0,
) -> int:
    """Find microcalcifications; write STEM.json and STEM.png per image.

    Parameters
    ----------
    files
        DICOM mammograms, or PNG, TIFF or JPEG pictures of them; or folders of such files.
    out
        Folder for the results.
    model
        Name of a shipped model or folder of one. By default the shipped one for the image's intent.
    pixel_spacing
        Of pictures, in mm: required, since a picture does not say it.
    intent
        Of pictures: raw (for processing) or processed (for presentation).
    system
        Of pictures: manufacturer and model.
    view
        Of pictures: CC, MLO, ...
    laterality
        Of pictures: L or R.
    any_view
        Accept magnified, stereo and specimen views as well.
    whole_image
        Treat every pixel as breast (crops, specimens).
    min_likelihood
        List candidates down to this likelihood.
    max_candidates
        List so many candidates at most.
    stage
        cnn1 rates by the first network alone, for comparison.
    no_overlay
        Write no picture.
    threads
        Threads for scoring; 0: all cores.
    """
    from microcalc import pipeline
    from microcalc.detect.mammogram import output_stems

    images = _image_files(files)
    stems = output_stems(images)
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for file, stem in zip(images, stems, strict=True):
        try:
            document = pipeline.detect_file(
                file,
                stem=stem,
                out=out,
                model=model,
                pixel_spacing_mm=pixel_spacing,
                intent=intent,
                system=system,
                view=view,
                laterality=laterality,
                any_view=any_view,
                whole_image=whole_image,
                min_likelihood=min_likelihood,
                max_candidates=max_candidates,
                stage=stage,
                overlay=not no_overlay,
                threads=threads,
            )
        except MicrocalcError as error:
            if len(images) == 1:
                raise
            failed += 1
            _say_error(str(error))
        else:
            findings, seconds = sum(c.finding for c in document.clusters), document.seconds.total
            _say(f"{file.name}: {findings} findings, {len(document.candidates)} candidates, {seconds:.1f} s")
    if failed:
        return _say_error(f"{failed} of {len(images)} files could not be used", code=1)
    return 0


@app.command(name="train")
def train_command(
    *, recipe: str, data: list[Path], out: Path, device: Literal["cpu", "cuda"] = "cpu", workers: int = 1
) -> None:
    """Train the two networks and export them. Goes on where an earlier run with the same settings stopped.

    Parameters
    ----------
    recipe
        Name of a shipped recipe (raw, processed) or path of a TOML file.
    data
        Folder with images.csv and annotations.csv, split by patient; may be given several times.
    out
        Run folder: checkpoints, metrics, and the finished model.
    device
        What to train on.
    workers
        Processes that prepare images.
    """
    from microcalc.datasets.table import join_tables, read_table
    from microcalc.runs.recipe import load_recipe
    from microcalc.runs.training import train

    model = train(
        load_recipe(recipe), join_tables([read_table(d) for d in data]), out, device=device, workers=workers, say=_say
    )
    _say(f"{model}: the trained model")


@app.command
def simulate(
    *,
    out: Path,
    system: list[str] | None = None,
    intent: IntentOption = None,
    view: list[Literal["CC", "MLO"]] | None = None,
    exams: int = 1,
    seed: int = 1,
    workers: int = 1,
) -> None:
    """Simulate mammograms with exact truth, as DICOM files and a table.

    Parameters
    ----------
    out
        Folder for the data set.
    system
        Short name of a system, such as hologic; may be given several times. By default all.
    intent
        raw or processed; by default both.
    view
        CC or MLO; may be given several times. By default CC.
    exams
        Patients per system.
    seed
        The same seed gives the same files.
    workers
        Processes.
    """
    from microcalc.runs.simulated import simulate_data_set

    table = simulate_data_set(
        out,
        systems=system or ["all"],
        exams=exams,
        seed=seed,
        intents=[intent] if intent else ["raw", "processed"],
        views=view or ["CC"],
        workers=workers,
    )
    _say(f"{out}: {len(table.images)} images, {len(table.annotations)} annotated places")


@app.command
def insert(
    table: Path,
    /,
    *,
    out: Path,
    clusters: int = 2,
    singles: int = 0,
    variants: int = 1,
    split: SplitOption = "all",
    tag: str | None = None,
    seed: int = 1,
    workers: int = 1,
) -> None:
    """Insert simulated microcalcifications into the images of a table.

    Parameters
    ----------
    table
        Folder with images.csv.
    out
        Folder for the new images and their table.
    clusters
        Clusters per image.
    singles
        Single microcalcifications per image, beside the clusters.
    variants
        Copies of each image, each with microcalcifications of its own.
    split
        Take the images of this split only.
    tag
        Take the images with this word among their tags only.
    seed
        The same seed gives the same images.
    workers
        Processes.
    """
    from microcalc.runs.inserted import Insertion, insert_data_set

    made = insert_data_set(
        _table(table, split, tag),
        out,
        insertion=Insertion(clusters=clusters, singles=singles),
        variants=variants,
        seed=seed,
        workers=workers,
    )
    _say(f"{out}: {len(made.images)} images, {len(made.annotations)} annotated places")


@app.command
def demo(*, out: Path = Path("demo"), seed: int = 1) -> None:
    """Simulate one mammogram per vendor, detect, and say what was found, missed and wrongly marked.

    Parameters
    ----------
    out
        Folder for images, detections and overlays.
    seed
        The same seed gives the same mammograms.
    """
    from microcalc import pipeline

    pipeline.demo(out, seed=seed, say=_say)


@app.command
def review(
    source: Path,
    /,
    *,
    out: Path,
    take: list[Path] | None = None,
    places: int = 60,
    judge: str = "",
    model: str | None = None,
    pixel_spacing: float | None = None,
    intent: IntentOption = None,
) -> int:
    """Annotate with a model's help: contact sheets of the places rated highest, and a table to fill in.

    Parameters
    ----------
    source
        Folder with images.csv, or with images.
    out
        The review's folder; each call makes the next round, of new places only.
    take
        Take the verdicts of these filled-in tables back instead of making a round.
    places
        Places per image.
    judge
        Who judges.
    model
        Name of a shipped model or folder of one.
    pixel_spacing
        Of pictures in a folder without a table, in mm.
    intent
        Of pictures in a folder without a table: raw or processed.
    """
    if take:
        return _take_verdicts(take, out, judge)
    from microcalc import pipeline
    from microcalc.datasets.table import read_table
    from microcalc.review.folder import table_of_folder
    from microcalc.review.rounds import make_round
    from microcalc.runs.images import open_mammogram

    unread: tuple[tuple[str, str], ...] = ()
    if source.name == "images.csv" or (source / "images.csv").is_file():
        table = read_table(source)
    else:
        table, unread = table_of_folder(
            source, lambda file: open_mammogram(file, pixel_spacing_mm=pixel_spacing, intent=intent), leave_out=out
        )
    for _, why in unread:
        _say_error(why)
    rate = pipeline.rater(model)
    made = make_round(table, out, rate, places=places, judge=judge, rated_by=model or "shipped", progress=_say)
    _say(f"{made.table}: {len(made.places)} places to judge")
    failed = len(unread) + len(made.failed)
    return _say_error(f"{failed} images could not be used", code=1) if failed else 0


def _take_verdicts(files: Sequence[Path], out: Path, judge: str) -> int:
    from microcalc.review.rounds import take

    taken = take(files, out, judge=judge)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in taken.verdicts.items())
    _say(f"{taken.reviewed}: {counts or 'no verdict'}; {taken.changed} changed, {taken.unjudged} places not judged")
    for image, n in taken.new_calcium.items():
        _say(f"{image}: {n} places of new calcium")
    return 0


@app.command
def evaluate(
    detections: list[Path],
    /,
    *,
    truth: Path,
    out: Path,
    split: SplitOption = "all",
    hit_mm: float = 0.5,
    count_ignored: bool = False,
    false_marks: Literal["all", "reviewed"] = "all",
    false_on: Literal["all", "lesion_free"] = "all",
    lesions_by: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> None:
    """Judge detections against a table: FROC with intervals by patient. Several folders are compared in pairs.

    Parameters
    ----------
    detections
        Folders with the STEM.json files of microcalc detect, one per detector, or CSV files of marks.
    truth
        Folder with images.csv and annotations.csv.
    out
        Folder for the figures and curves.
    split
        Judge the images of this split only.
    hit_mm
        A mark this near to a microcalcification's centre hits it.
    count_ignored
        Count marks on calcium of other kinds and on unsure places as false.
    false_marks
        reviewed: count only marks on places reviewed as no calcium.
    false_on
        lesion_free: count false marks only on images without microcalcifications.
    lesions_by
        Only microcalcifications that this judge annotated (such as inserted) are lesions; others are ignored.
    resamples
        Of the bootstrap.
    seed
        Of the bootstrap.
    """
    from microcalc.evaluate.report import compare_detections, evaluate_detections

    table = _table(truth, split)
    if len(detections) == 1:
        evaluate_detections(
            detections, table, out=out, name=detections[0].stem, hit_mm=hit_mm, count_ignored=count_ignored,
            false_marks=false_marks, false_on=false_on, lesions_by=lesions_by, resamples=resamples, seed=seed,
        )  # fmt: skip
        _say((out / "summary.md").read_text(encoding="utf-8").rstrip())
        return
    named = {path.stem: [path] for path in detections}
    if len(named) < len(detections):
        raise InputError("two of the folders have the same name, expected a name of its own for each detector")
    compare_detections(
        named, table, out=out, hit_mm=hit_mm, count_ignored=count_ignored,
        false_marks=false_marks, false_on=false_on, lesions_by=lesions_by, resamples=resamples, seed=seed,
    )  # fmt: skip
    _say((out / "compare.md").read_text(encoding="utf-8").rstrip())


@app.command
def roc(
    *, model: Path, truth: Path, out: Path, split: SplitOption = "all", resamples: int = 2000, seed: int = 0
) -> None:
    """Sample-level ROC of a model's CNN1 and pair, and of the LoG filter, per system.

    Parameters
    ----------
    model
        Folder of a model, or name of a shipped one.
    truth
        Folder with images.csv and annotations.csv.
    out
        Folder for roc.json and roc.md.
    split
        Judge the images of this split only.
    resamples
        Of the bootstrap.
    seed
        Of the bootstrap.
    """
    from microcalc.detect.model import SHIPPED, shipped_model
    from microcalc.runs.sample_roc import sample_roc

    folder = next((shipped_model(s) for s in SHIPPED if model.name == s and not model.exists()), model)
    _say(sample_roc(folder, _table(truth, split), out, resamples=resamples, seed=seed, say=_say).rstrip())


@table_app.command(name="cdd-cesm")
def table_cdd_cesm(folder: Path, /, *, out: Path) -> None:
    """Make the table of the CDD-CESM images, with the project's splits and reviewed places.

    Parameters
    ----------
    folder
        Folder with the published images.csv and JPEG files.
    out
        Folder for images.csv and annotations.csv.
    """
    from microcalc.datasets.cdd_cesm import read_cdd_cesm
    from microcalc.datasets.table import write_table

    table = read_cdd_cesm(folder)
    write_table(table, out)
    _say(f"{out}: {len(table.images)} images, {len(table.annotations)} annotated places")


def _table(path: Path, split: SplitOption, tag: str | None = None) -> Table:
    from microcalc.datasets.table import read_table

    table = read_table(path)
    if split != "all":
        table = table.of_split(split)
    if tag is not None:
        table = table.of_images(i for i in table.images if tag in i.tags.split())
    if not table.images:
        tagged = "" if tag is None else f" with tag {tag!r}"
        raise InputError(f"{path.name}: no image in split {split}{tagged}, expected some")
    return table


def _image_files(paths: Sequence[Path]) -> list[Path]:
    """The files, with folders replaced by the images in them."""
    return [file for path in paths for file in (_files_of(path) if path.is_dir() else [path])]


def _files_of(folder: Path) -> list[Path]:
    files = sorted(
        f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".") and f.suffix not in _NOT_IMAGES
    )
    if not files:
        raise InputError(f"{folder.name}: no images in this folder, expected DICOM, PNG, TIFF or JPEG files")
    return files


def _say(line: str) -> None:
    print(line, flush=True)


def _say_error(line: str, *, code: int = 2) -> int:
    print("microcalc:", " ".join(line.split()), file=sys.stderr, flush=True)
    return code
