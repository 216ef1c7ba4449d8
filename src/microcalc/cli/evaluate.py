"""``microcalc evaluate``, ``roc`` and ``realism``: the commands that measure."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microcalc.cli.options import (
    EVERYTHING_HERE,
    IN_PROCESSES,
    Count,
    CountOrNone,
    DPrime,
    Flag,
    JpegQuality,
    Json,
    Length,
    PatchSpacing,
    Pixels,
    Resamples,
    Share,
    SplitOption,
    Where,
    WhereItRuns,
    refuse_beside,
    table_of,
)
from microcalc.cli.output import PRINTING, print_error, print_json, print_line, print_text
from microcalc.errors import InputError
from microcalc.evaluation.protocols import ProtocolName
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.wording import quantity

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.evaluation.matched_images import Rules
    from microcalc.evaluation.reporting.report import Summary


def evaluate(
    detections: list[Path],
    /,
    *,
    truth: Path,
    out: Path,
    split: SplitOption = "all",
    folds: Path | None = None,
    protocol: ProtocolName | None = None,
    hit_mm: Length | None = None,
    hit_px: Pixels | None = None,
    hit_iou: Share | None = None,
    max_diameter_mm: Length | None = None,
    count_ignored: Flag = False,
    false_marks: Literal["all", "reviewed"] = "all",
    false_on: Literal["all", "lesion_free"] | None = None,
    lesions_by: str | None = None,
    min_d_prime: DPrime = 0.0,
    ignore_regions: Flag = False,
    resamples: Resamples = 2000,
    seed: CountOrNone = 0,
    json: Json = False,
) -> int:
    """Evaluate detections against a table: FROC with confidence intervals by patient. Needs microcalc[evaluate].

    Several detectors are compared in pairs.

    Parameters
    ----------
    detections
        Results of one detector each: a folder written by microcalc detect, a CSV file of marks, a Mammography CAD SR
        of any maker, or a folder of such reports.
    truth
        Folder with images.csv and annotations.csv.
    out
        Folder for figures and curves.
    split
        Evaluate the images of this split only.
    folds
        CSV file (image, fold): state the figures of each fold as well, and how many patients are in several folds.
    protocol
        Count as a publication counts, to compare with its figures: radius of a hit, and where false marks are counted.
    hit_mm
        Largest distance in mm from a mark to the centre of the microcalcification that it hits. By default 0.5.
    hit_px
        The same in pixels of the original image.
    hit_iou
        A mark hits also where its outline and the annotated one have at least this intersection over union.
    max_diameter_mm
        Ignore microcalcifications of a larger diameter in the table.
    count_ignored
        Count marks on other kinds of calcification and on uncertain places as false.
    false_marks
        Which marks count as false: all that hit nothing, or only those on places reviewed as no calcification.
    false_on
        Images on which false marks count: all (the default), or only those without microcalcifications.
    lesions_by
        Take only microcalcifications annotated by this judge (such as inserted) as lesions; ignore the others.
    min_d_prime
        Ignore microcalcifications with a lower d' in the table.
    ignore_regions
        Ignore regions whose calcifications are not annotated one by one, instead of counting each as a cluster to be
        found.
    resamples
        Number of bootstrap samples.
    seed
        Seed of the random numbers of the bootstrap.
    json
        Print the content of summary.json (or compare.json, of several detectors) as one JSON object.
    """
    from microcalc.datasets.open import identified_table
    from microcalc.evaluation.folds import with_folds
    from microcalc.evaluation.matched_images import Rules
    from microcalc.evaluation.names import detector_names
    from microcalc.evaluation.protocols import PROTOCOLS
    from microcalc.evaluation.reporting.report import COMMAND
    from microcalc.reports.to_results import are_reports, write_results_of_reports

    PRINTING.json = json
    if false_marks == "reviewed":  # then a mark on calcium of other kinds is false in no case
        refuse_beside("--false-marks reviewed", count_ignored=count_ignored or None)
    if hit_px is not None:
        refuse_beside("--hit-px", hit_mm=hit_mm)
    of_protocol = {} if protocol is None else dict(PROTOCOLS[protocol].rules)
    asked: dict[str, Any] = {
        "hit_mm": hit_mm, "hit_px": hit_px, "hit_iou": hit_iou, "max_diameter_mm": max_diameter_mm,
        "false_on": false_on,
    }  # fmt: skip
    given = {name: value for name, value in asked.items() if value is not None}
    radius = {"hit_mm", "hit_px"} if of_protocol.keys() & {"hit_mm", "hit_px"} else set()
    refuse_beside(f"--protocol {protocol}", **{n: v for n, v in given.items() if n in of_protocol.keys() | radius})
    rules = Rules(
        **given, **of_protocol, count_ignored=count_ignored, false_marks=false_marks,
        lesions_by=lesions_by, min_d_prime=min_d_prime, ignore_regions=ignore_regions,
    )  # fmt: skip
    check_output_folder(out, COMMAND, inputs=[*detections, truth])
    names = detector_names(detections)
    table = identified_table(table_of(truth, split))
    if folds is not None:
        table = with_folds(table, folds)
    _check_judge(table, lesions_by)
    reports = [are_reports(path) for path in detections]
    with output_folder(out, COMMAND, inputs=[*detections, truth]):  # empty when a report is refused, and so removed
        results = {
            name: write_results_of_reports(path, table, out / "from-reports" / name) if is_report else path
            for path, name, is_report in zip(detections, names, reports, strict=True)
        }
        summaries = _evaluated(results, table, out, rules=rules, resamples=resamples, seed=seed)
    if protocol is not None:
        print_error(f"counted as {PROTOCOLS[protocol].source}, which states: {PROTOCOLS[protocol].figures}")
    _print_summary(out / ("summary.md" if len(results) == 1 else "compare.md"))
    for summary in summaries:
        for remark in (*summary.frame_warnings, *summary.remarks):
            print_error(f"{summary.name}: {remark}")
    return 1 if any(summary.frame_warnings or summary.counts.images_without_detections for summary in summaries) else 0


def _evaluated(
    results: Mapping[str, Path], table: Table, out: Path, *, rules: Rules, resamples: int, seed: int
) -> Sequence[Summary]:
    """Evaluate one detector, or compare several, by name; write figures and curves into ``out``."""
    from microcalc.evaluation.reporting.report import compare_detections, evaluate_detections

    if len(results) > 1:
        named = {name: [path] for name, path in results.items()}
        return compare_detections(named, table, out=out, rules=rules, resamples=resamples, seed=seed).summaries
    ((name, path),) = results.items()
    return [evaluate_detections([path], table, out=out, name=name, rules=rules, resamples=resamples, seed=seed)]


def _check_judge(table: Table, judge: str | None) -> None:
    """Refuse a judge that annotated nothing, such as a mistyped one: every annotation would be ignored."""
    if judge is None:
        return
    judges = sorted({annotation.judge for annotation in table.annotations})
    if judge not in judges:
        known = ", ".join(name for name in judges if name) or "a table that names its judges"
        raise InputError(f"--lesions-by {judge}: no annotation by this judge in the table, expected {known}")


def _print_summary(page: Path) -> None:
    """Print the page, or with ``--json`` the document beside it in one line."""
    if PRINTING.json:
        print_json(json_text.loads(page.with_suffix(".json").read_bytes()))
    else:
        print_text(page.read_text(encoding="utf-8"))


def roc(
    *,
    model: str,
    truth: Path,
    out: Path,
    split: SplitOption = "all",
    resamples: Resamples = 2000,
    seed: CountOrNone = 0,
    where: Where = EVERYTHING_HERE,
) -> int:
    """Compute the ROC over samples of a model's first network, of both networks, and of the LoG filter, per system.

    Parameters
    ----------
    model
        raw or processed (shipped), or a folder with a model.
    truth
        Folder with images.csv and annotations.csv.
    out
        Folder for roc.json and roc.md.
    split
        Use the images of this split only.
    resamples
        Number of bootstrap samples.
    seed
        Seed of the random numbers of the bootstrap.
    """
    from microcalc.models.model import model_folder
    from microcalc.training.sample_roc import rate_shard, sample_roc

    folder, shard = model_folder(model), where.part()
    check_output_folder(out, "roc", inputs=[truth, folder])
    table = table_of(truth, split)
    with (
        where.executor(items=len(table.images)) as executor,
        output_folder(out, "roc", inputs=[truth, folder], is_shared=shard is not None),
    ):
        if shard is not None:
            rated, unusable = rate_shard(folder, table, out, executor=executor, shard=shard)
            print_line(
                f"shard {shard}: {quantity(rated, 'image')} rated; the same command without --shard completes {out}"
            )
            return 1 if unusable else 0
        made = sample_roc(folder, table, out, resamples=resamples, seed=seed, executor=executor)
    print_text(made.text)
    failed, total = len(made.refused), len(table.images)
    return print_error(f"{failed} of {quantity(total, 'image')} could not be used", code=1) if failed else 0


def realism(
    simulated: Path,
    /,
    *,
    real: Path,
    scale: list[PatchSpacing] | None = None,
    jpeg_quality: JpegQuality = 90,
    steps: Count = 2000,
    seed: CountOrNone = 1,
    where: WhereItRuns = IN_PROCESSES,
) -> None:
    """Measure how well a small network tells simulated from real processed mammograms. Needs microcalc[train].

    Parameters
    ----------
    simulated
        Folder with the table of simulated images.
    real
        Folder with the table of real images, preferably of the same system and view.
    scale
        Pixel spacing of the patches in mm. Repeat for several. By default 0.1, 0.2, 0.4 and 0.8.
    jpeg_quality
        JPEG quality with which all images are compressed: that of the real images, if these are JPEG files.
    steps
        Number of training steps of the network.
    seed
        Seed of the random numbers of patches and training.
    """
    from microcalc.extras import require_modules

    require_modules("torch")
    from microcalc.validation.realism import SCALES_MM, Comparison, measure_realism

    settings = Comparison(seed, scale or SCALES_MM, jpeg_quality, steps=steps)
    tables = table_of(simulated, "all"), table_of(real, "all")
    with where.executor() as executor:
        distance = measure_realism(*tables, settings, executor=executor)
    for line in distance.lines():
        print_line(line)
