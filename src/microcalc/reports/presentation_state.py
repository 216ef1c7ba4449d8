"""Write the findings of one image as a presentation state (GSPS): outlines and certainties over the image.

The format has no operating points, so the clusters of the default one are drawn. Their calcifications, the evident
single ones, and clusters that are set apart are drawn on layers of their own, which a viewer can hide. A calcification
is an outline, or a circle where there is none. Only an image with something to draw gets a state: an empty drawing
would carry no information.

A viewer that applies a state takes the **whole** grey scale from the state and ignores the image's header,
including its Photometric Interpretation (PS3.4 N.2.1.4, note 1). So the state repeats what determines the
appearance of the image, as interpreted by the standard and by `microcalc.images.dicom.values`:

=========================  ==================================================================
polarity                   INVERSE for MONOCHROME1, IDENTITY for MONOCHROME2; the image's own
                           Presentation LUT Shape must agree, and is ignored if it does not, as in
                           reading
modality values            rescale slope and intercept; a missing one is 1 or 0
VOI                        the first VOI LUT, else the first valid window with its function, else
                           none. A LUT defines every level; many viewers treat SIGMOID as linear
shutter                    as in the image, if its values are complete
overlays of the image      activated, in a separate layer below the findings
area                       the whole image, with the aspect ratio of its pixels
=========================  ==================================================================

References
----------
DICOM PS3.3 A.33.1 (Grayscale Softcopy Presentation State IOD), C.7.6.11 (shutter), C.10.4 (displayed
area), C.10.5 (graphic annotation: PIXEL counts columns and rows from the corner of the first pixel, as
SCOORD does), C.11.1 (modality LUT), C.11.6 (presentation LUT), C.11.7 (overlay activation), C.11.8 (VOI
LUT); PS3.4 N.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.source_values import long_text
from microcalc.dicom.tags import integer, items, number, numbers, quiet, word, words
from microcalc.dicom.write import decimal_string
from microcalc.domain import Cluster
from microcalc.geometry import Points
from microcalc.images.dicom.read import read_data_set
from microcalc.reports.header import RESEARCH_ONLY, made_at, report_uid, start_instance
from microcalc.reports.image_header import ImageHeader
from microcalc.reports.reported_image import BURNED_IN, ReportedImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_FINDINGS: Final = "FINDINGS"
_CALCIFICATIONS: Final = "CALCIFICATIONS"
_SINGLES: Final = "SINGLES"
_APART: Final = "APART"
_LAYERS: Final = {
    _SINGLES: "Evident single calcifications",
    _APART: "Clusters of benign calcium",
    _CALCIFICATIONS: "Calcifications of the clusters",
    _FINDINGS: "Calcification clusters",
}
_RING_MM: Final = 0.5
"""Radius of the circle around a calcification without an outline."""
_OVERLAY_LAYER: Final = "OVERLAYS"
_OVERLAY_GROUPS: Final = range(0x6000, 0x6020, 2)
_OVERLAY_ROWS, _OVERLAY_DATA, _ACTIVATION_LAYER = 0x0010, 0x3000, 0x1001
_LARGEST_RATIO: Final = 1000

_NARROWEST: Final = {"LINEAR": 1.0, "LINEAR_EXACT": 1e-6, "SIGMOID": 1e-6}
"""VOI LUT Function → smallest valid width of a window (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

_SHUTTERS: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "RECTANGULAR": (
        ("ShutterLeftVerticalEdge", 1),
        ("ShutterRightVerticalEdge", 1),
        ("ShutterUpperHorizontalEdge", 1),
        ("ShutterLowerHorizontalEdge", 1),
    ),
    "CIRCULAR": (("CenterOfCircularShutter", 2), ("RadiusOfCircularShutter", 1)),
    "POLYGONAL": (("VerticesOfThePolygonalShutter", 0),),
}
"""Shape → its attributes and their numbers of values; 0 is any even number of at least 6 (PS3.3 C.7.6.11)."""


def presentation_state(result: ReportedImage, *, made: datetime) -> Dataset | None:
    """Return a state that draws the clusters and calcifications of an image; None if there are none.

    Parameters
    ----------
    result
        The image; its file is read for the attributes that determine its appearance.
    made
        Time of making, which does not change the UID.

    Raises
    ------
    InputError
        The image's file cannot be read.
    """
    if not result.is_marked:
        return None
    with quiet():
        source = read_data_set(result.header.file, stop_before_pixels=True)
        state = start_instance("gsps", result.header, report_uid("gsps", [result]))
        _add_identification(state, result.header, made)
        _add_grey_scale(state, source)
        _add_shutter(state, source)
        state.DisplayedAreaSelectionSequence = [_displayed_area(result.header)]
        drawn = _annotations(result)
        state.GraphicAnnotationSequence = list(drawn.values())
        layers = [(_OVERLAY_LAYER, "Overlays of the image")] * _activate_overlays(state, source)
        layers += [(name, _LAYERS[name]) for name in drawn]
        state.GraphicLayerSequence = [_layer(n, *layer) for n, layer in enumerate(layers, start=1)]
    return state


def _add_identification(state: Dataset, header: ImageHeader, made: datetime) -> None:
    from pydicom.dataset import Dataset

    state.Laterality = ""  # applies to the series, which has the states of both breasts
    state.ContentLabel, state.ContentDescription, state.ContentCreatorName = "MICROCALC", RESEARCH_ONLY, ""
    state.PresentationCreationDate, state.PresentationCreationTime = made_at(header, made)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = header.series, [_reference(header)]
    state.ReferencedSeriesSequence = [series]


def _reference(header: ImageHeader) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.sop_class, header.uid
    return item


def _add_grey_scale(state: Dataset, source: Dataset) -> None:
    """Add rescaling, VOI and polarity of the image."""
    slope, intercept = number(source, "RescaleSlope"), number(source, "RescaleIntercept")
    if slope is not None or intercept is not None:
        state.RescaleSlope = decimal_string(1.0 if slope is None else slope)
        state.RescaleIntercept = decimal_string(0.0 if intercept is None else intercept)
        state.RescaleType = long_text(source, "RescaleType").value or "US"
    voi = _voi_lut(source) or _window(source)
    if voi is not None:
        state.SoftcopyVOILUTSequence = [voi]
    inverse = word(source, "PhotometricInterpretation").upper() == "MONOCHROME1"
    state.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"


def _window(source: Dataset) -> Dataset | None:
    """Return the first window as an item of the Softcopy VOI LUT Sequence; None if it is missing or invalid."""
    from pydicom.dataset import Dataset

    centres, widths = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
    function = word(source, "VOILUTFunction").upper()
    narrowest = _NARROWEST.get(function, _NARROWEST["LINEAR"])
    if not centres or not widths or widths[0] < narrowest:
        return None
    item = Dataset()
    item.WindowCenter, item.WindowWidth = decimal_string(centres[0]), decimal_string(widths[0])
    if function in _NARROWEST and function != "LINEAR":
        item.VOILUTFunction = function
    return item


def _voi_lut(source: Dataset) -> Dataset | None:
    """Return the first VOI LUT as an item of the Softcopy VOI LUT Sequence; None if it is missing or incomplete.

    The LUT of an image may have entries of 8 to 16 bits, that of a state has 8 or 16: others are scaled to 16.
    """
    from pydicom.dataset import Dataset

    for lut in items(source, "VOILUTSequence")[:1]:
        descriptor, entries = numbers(lut, "LUTDescriptor"), _lut_entries(source, lut)
        if len(descriptor) != 3 or not 8 <= descriptor[2] <= 16:
            return None
        count, first, bits = int(descriptor[0]) % 0x10000, int(descriptor[1]), int(descriptor[2])
        packed = bits == 8 and len(entries) == ((count or 0x10000) + 1) // 2  # two entries to a word
        if not packed and (len(entries) != (count or 0x10000) or entries.max() >= 1 << bits):
            return None
        if bits not in (8, 16):
            entries, bits = np.rint(entries * (0xFFFF / ((1 << bits) - 1))), 16
        copied, item = Dataset(), Dataset()
        if first < 0:
            copied.add_new("LUTDescriptor", "SS", [count - 0x10000 * (count >= 0x8000), first, bits])
        else:
            copied.add_new("LUTDescriptor", "US", [count, first, bits])
        copied.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
        item.VOILUTSequence = [copied]
        return item
    return None


def _lut_entries(source: Dataset, lut: Dataset) -> NDArray[np.float64]:
    """Return the entries of a lookup table; an empty array if they are damaged."""
    data = lut.get("LUTData")
    if isinstance(data, bytes):
        order = ">" if source.original_encoding[1] is False else "<"
        return np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{order}u2").astype(np.float64)
    entries = np.array(numbers(lut, "LUTData"))
    return entries if entries.size and entries.min() >= 0 and entries.max() < 1 << 16 else np.empty(0)


def _add_shutter(state: Dataset, source: Dataset) -> None:
    shapes = []
    for shape, described in _SHUTTERS.items():
        values_of = {keyword: _whole(numbers(source, keyword), count) for keyword, count in described}
        if shape in words(source, "ShutterShape") and all(values_of.values()):
            shapes.append(shape)
            for keyword, values in values_of.items():
                setattr(state, keyword, values)
    if shapes:
        state.ShutterShape = shapes
        level = integer(source, "ShutterPresentationValue")
        state.ShutterPresentationValue = level if level is not None and 0 <= level < 1 << 16 else 0


def _whole(values: Iterable[float], count: int) -> list[int]:
    """Return the values as integers; an empty list if they are not integers or their number is not ``count``."""
    entries = list(values)
    right = len(entries) == count or (count == 0 and len(entries) >= 6 and len(entries) % 2 == 0)
    return [int(value) for value in entries] if right and all(value == int(value) for value in entries) else []


def _activate_overlays(state: Dataset, source: Dataset) -> bool:
    """Activate the image's overlays; return whether there are any.

    A group without overlay data (older images have it in unused bits of the pixels) is listed but not activated.
    """
    shown = False
    for group in _OVERLAY_GROUPS:
        if (group, _OVERLAY_ROWS) not in source:
            continue
        has_bits = (group, _OVERLAY_DATA) in source and bool(source[group, _OVERLAY_DATA].value)
        state.add_new((group, _ACTIVATION_LAYER), "CS", _OVERLAY_LAYER if has_bits else "")
        shown |= has_bits
    return shown


def _displayed_area(header: ImageHeader) -> Dataset:
    from pydicom.dataset import Dataset

    item, (row_mm, column_mm) = Dataset(), header.spacing_mm or (1.0, 1.0)
    ratio = (Fraction(str(row_mm)) / Fraction(str(column_mm))).limit_denominator(_LARGEST_RATIO)
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = [header.columns, header.rows]
    item.PresentationSizeMode = "SCALE TO FIT"
    item.PresentationPixelAspectRatio = [ratio.numerator, ratio.denominator]  # (vertical, horizontal)
    return item


def _annotations(result: ReportedImage) -> dict[str, Dataset]:
    """Return what is drawn on each layer, the uppermost last."""
    findings, apart = result.findings(), result.set_apart()
    members = [int(index) for cluster in (*findings, *apart) for index in cluster.members]
    drawn = {
        _SINGLES: _annotation(result, _SINGLES, [_calcification(result, index) for index in result.singles()]),
        _APART: _annotation(result, _APART, [_outline(result, cluster.outline) for cluster in apart]),
        _CALCIFICATIONS: _annotation(result, _CALCIFICATIONS, [_calcification(result, index) for index in members]),
        _FINDINGS: _annotation(result, _FINDINGS, [_outline(result, cluster.outline) for cluster in findings]),
    }
    if apart:
        drawn[_APART].TextObjectSequence = [_label(result, cluster) for cluster in apart]
    labels = [_label(result, cluster) for cluster in findings]
    if result.header.burned_in:
        labels.append(_text(BURNED_IN, (1.0, 1.0)))
    if labels:
        drawn[_FINDINGS].TextObjectSequence = labels
    return {
        layer: item for layer, item in drawn.items() if "GraphicObjectSequence" in item or "TextObjectSequence" in item
    }


def _annotation(result: ReportedImage, layer: str, graphics: list[Dataset]) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedImageSequence = [_reference(result.header)]
    item.GraphicLayer = layer
    if graphics:
        item.GraphicObjectSequence = graphics
    return item


def _calcification(result: ReportedImage, index: int) -> Dataset:
    """Return the outline of a calcification, or a circle around it where there is none."""
    shape, centre = result.shape(index), result.candidates.centres[index]
    if shape is not None:
        return _outline(result, shape.outline)
    aside = np.array([0.0, _RING_MM if centre[1] < _RING_MM else -_RING_MM])  # towards the inside of the image
    return _graphic("CIRCLE", result.columns_rows(np.array([centre, centre + aside])))


def _outline(result: ReportedImage, outline_mm: Points) -> Dataset:
    return _graphic("POLYLINE", result.columns_rows(outline_mm))


def _graphic(kind: str, corners: Sequence[tuple[float, float]]) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.GraphicAnnotationUnits, item.GraphicDimensions = "PIXEL", 2
    item.NumberOfGraphicPoints = len(corners)
    item.GraphicData = [value for corner in corners for value in corner]
    item.GraphicType, item.GraphicFilled = kind, "N"
    return item


def _label(result: ReportedImage, cluster: Cluster) -> Dataset:
    """Return the certainty as a text, anchored at the right end of the outline."""
    corners = np.array(result.columns_rows(cluster.outline))
    column, row = corners[corners[:, 0].argmax()]
    return _text(f"{100 * cluster.likelihood:.0f} %", (float(column), float(row)))


def _text(words: str, column_row: tuple[float, float]) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.UnformattedTextValue = words
    item.AnchorPointAnnotationUnits, item.AnchorPointVisibility = "PIXEL", "N"
    item.AnchorPoint = list(column_row)
    return item


def _layer(order: int, name: str, description: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.GraphicLayer, item.GraphicLayerOrder, item.GraphicLayerDescription = name, order, description
    return item
