"""Write a model's card: what the model is, what it was trained on, how, and what was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from microcalc.datasets.sources import sources_of
from microcalc.datasets.table import ImageRow, Table
from microcalc.evaluation.reporting.tables import TextTable, markdown_table
from microcalc.models.description import (
    DESCRIPTION,
    CascadeDescription,
    MeasuredOn,
    ModelDescription,
    parse_pair_description,
)
from microcalc.storage.write import write_text
from microcalc.training.recipe import NetworkRecipe, Recipe, load_recipe
from microcalc.wording import quantity

CARD: Final = "MODEL_CARD.md"
RECIPE: Final = "recipe.toml"
_POINTS, _MEASURED, _NOTHING = "## Operating points", "## Measured on test", "Nothing yet."
_FORMER: Final = (
    "*Measured before the operating points were measured again: what is said of the default operating point or of a "
    "threshold holds for the former ones.*"
)
_Description = ModelDescription | CascadeDescription
_INTENTS = {"raw": "raw (FOR PROCESSING)", "processed": "processed (FOR PRESENTATION)"}


def write_card(folder: Path, table: Table, *, figures: Sequence[str] = ()) -> None:
    """Write ``MODEL_CARD.md`` into a model's folder.

    Parameters
    ----------
    folder
        Folder of the model, with ``model.json``, ``recipe.toml`` and the networks.
    table
        Table of the run, with its splits (``RUN/table``).
    figures
        Lines of Markdown for the section "Measured on test".

    Raises
    ------
    RecipeError
        ``model.json`` or ``recipe.toml`` is not valid.
    """
    described = parse_pair_description((folder / DESCRIPTION).read_bytes(), where=f"{folder.name}/{DESCRIPTION}")
    recipe = load_recipe(folder / RECIPE)
    used = [i for i in table.images if i.split in ("train", "validation")]
    parts = [
        _intent(described),
        _architecture(recipe),
        _data(described, table),
        _training(described, recipe, (folder / RECIPE).read_text()),
        [_POINTS, "", *_operating_points(described)],
        [_MEASURED, "", *(figures or [_NOTHING])],
        _sources(used),
    ]
    write_text(folder / CARD, "\n".join(line for part in parts if part for line in [*part, ""]))


def _intent(described: ModelDescription) -> list[str]:
    return [
        f"# {described.name}, version {described.version}",
        "",
        f"Two networks that find microcalcifications in {_INTENTS[described.intent]} digital mammograms, brought to "
        f"{described.spacing_mm:g} mm pixels.",
        "",
        "**For research use only.** Not a medical device; not for diagnosis, and not for deciding about anyone's care. "
        "A likelihood orders places; it is not a calibrated probability.",
    ]


def _architecture(recipe: Recipe) -> list[str]:
    networks = (("CNN1", recipe.cnn1), ("CNN2", recipe.cnn2))
    return [
        "## Networks",
        "",
        "Stacks of 3 x 3 convolutions without normalisation layers. CNN1 rates every breast pixel; CNN2 rates those "
        "that CNN1 passes on, as patches.",
        "",
        *markdown_table(
            TextTable(
                ("network", "channels", "dilations", "receptive field", "multiply-adds per pixel, dense", "per patch"),
                [_network(name, part, recipe.data.spacing_mm) for name, part in networks],
            )
        ),
    ]


def _network(name: str, settings: NetworkRecipe, spacing_mm: float) -> tuple[str, ...]:
    from microcalc.cnn.network import Network

    network = Network(settings.channels, settings.dilations)
    dense, patch = network.multiply_adds()
    side = network.patch_px
    channels, dilations = (" ".join(str(v) for v in values) for values in (settings.channels, settings.dilations))
    return name, channels, dilations, f"{side} px, {side * spacing_mm:.1f} mm", f"{dense:,}", f"{patch:,}"


def _data(described: ModelDescription, table: Table) -> list[str]:
    rows = []
    for split in ("train", "validation", "test"):
        part = table.of_split(split)
        real = [a for a in part.annotations if a.kind == "microcalcification"]
        patients = len({i.patient_or_image for i in part.images})
        clusters = len({(a.image, a.cluster) for a in real if a.cluster})
        rows.append((split, *map(str, (len(part.images), patients, len(real), clusters))))
    used = [i.system or "unknown" for i in table.images if i.split in ("train", "validation")]
    systems = ", ".join(f"{name} ({used.count(name)})" for name in sorted(set(used)))
    return [
        "## Data",
        "",
        *markdown_table(TextTable(("split", "images", "patients", "microcalcifications", "clusters"), rows)),
        "",
        "Microcalcifications less visible than the recipe's `min_d_prime` are not counted: they were neither positive "
        "nor negative.",
        "",
        f"Systems of train and validation (images): {systems}.",
        "",
        f"Trained on {described.trained_on}.",
    ]


def _training(described: ModelDescription, recipe: Recipe, text: str) -> list[str]:
    seed = recipe.seed
    return [
        "## Training",
        "",
        f"Seeds: {seed} for splits, samples and batches, {seed + 1} and {seed + 2} for the networks' first weights.",
        "",
        f"Convolutions trained in {recipe.cnn1.precision} (CNN1) and {recipe.cnn2.precision} (CNN2).",
        "",
        *markdown_table(
            TextTable(
                ("file", "SHA-256"), [(entry.file, f"`{entry.sha256}`") for entry in (described.cnn1, described.cnn2)]
            )
        ),
        "",
        "```toml",
        text.rstrip("\n"),
        "```",
    ]


def with_operating_points(card: str, described: _Description) -> str:
    """Return the text of a card with the operating points of a description in place of its own.

    What the card says under "Measured on test" was measured at the former ones, which is noted there.
    """
    sections = [part for part in re.split(r"^(?=## )", card, flags=re.MULTILINE) if not part.startswith(_POINTS)]
    measured = next((n for n, part in enumerate(sections) if part.startswith(_MEASURED)), len(sections))
    if measured < len(sections) and _NOTHING not in sections[measured] and _FORMER not in sections[measured]:
        sections[measured] = sections[measured].replace(_MEASURED, f"{_MEASURED}\n\n{_FORMER}", 1)
    sections.insert(measured, "\n".join([_POINTS, "", *_operating_points(described), "", ""]))
    return "\n".join(part.rstrip("\n") + "\n" for part in sections)


def describe_counts(measured_on: MeasuredOn) -> str:
    """Return the number of images, patients, microcalcifications and clusters in words."""
    m = measured_on
    return (
        f"{quantity(m.images, 'image')} of {quantity(m.patients, 'patient')}, with "
        f"{quantity(m.microcalcifications, 'microcalcification')} and {quantity(m.clusters, 'cluster')}"
    )


def describe_measured_on(measured_on: MeasuredOn) -> str:
    """Return on which images thresholds were measured, in words."""
    alone = measured_on.for_clusters_alone
    images = f", of which {quantity(alone, 'image')} for clusters alone" if alone else ""
    return f"{describe_counts(measured_on)}{images} (SHA-256 of their table and files {measured_on.sha256})"


def _operating_points(described: _Description) -> list[str]:
    rows = [
        (
            f"{point.threshold:.4f}",
            f"{point.llf:.1%}",
            f"{point.nlf:.3f}",
            "default" if number == described.default_operating_point else "",
        )
        for number, point in enumerate(described.operating_points)
    ]
    marks = [(f"{p.threshold:.4f}", f"{p.llf:.1%}", f"{p.nlf:.2f}") for p in described.mark_operating_points]
    images = "the validation images" if described.measured_on is None else describe_measured_on(described.measured_on)
    return [
        f"Measured on {images}, where the thresholds were chosen too.",
        "",
        *markdown_table(TextTable(("threshold", "clusters found", "false clusters per image", ""), rows)),
        "",
        "Of single marks:",
        "",
        *markdown_table(TextTable(("threshold", "microcalcifications hit", "false marks per image"), marks)),
    ]


def _sources(images: Sequence[ImageRow]) -> list[str]:
    """Return the section on the data sets that the images are from, and the terms of their use."""
    lines = [f"- {name}. {licence}" if name else f"- {licence}" for name, licence in sources_of(images)]
    return ["## Sources and licences", "", *lines] if lines else []
