"""A presentation state shows the image as the image's own header wants it, with the findings over it.

The judge is dcmtk's ``dcmp2pgm``: it draws an image alone, and through a state.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from tests.dicom.fixtures import Write
from tests.reports.exams import ALGORITHM, MADE, of_kinds

from microcalc.dicom.header import PROCESSED, AcquisitionHeader
from microcalc.domain import Candidates, Cluster, Shape
from microcalc.reports.exam import Report, write_report
from microcalc.reports.image_header import read_image_header
from microcalc.reports.presentation_state import presentation_state
from microcalc.reports.reported_image import ReportedImage

_SPACING_MM = 0.085


def _found(path: Path) -> ReportedImage:
    """A cluster in the middle of the (80, 96) image."""
    header = read_image_header(path)
    if header.spacing_mm is None:
        header = dataclasses.replace(header, spacing_mm=(_SPACING_MM, _SPACING_MM))
    corners = np.array([[20.0, 30.0], [20.0, 60.0], [50.0, 60.0], [20.0, 30.0]]) * header.spacing_mm
    return ReportedImage(
        header, ALGORITHM, Candidates(corners[:3], np.full(3, 0.9)), [Cluster(np.arange(3), corners, 0.95)]
    )


def _state(path: Path) -> Dataset:
    state = presentation_state(_found(path), made=MADE)
    assert state is not None
    return state


@pytest.fixture
def drawn(judge: Callable[[str], str], tmp_path: Path) -> Callable[..., NDArray[np.int64]]:
    """What dcmp2pgm draws of an image, alone or through our state."""
    tool = judge("dcmp2pgm")

    def draw(path: Path, *, through_state: bool) -> NDArray[np.int64]:
        options: list[str | Path] = []
        if through_state:
            write_report(Report("gsps", _state(path), ()), tmp_path / "state.dcm")
            options = ["-p", tmp_path / "state.dcm"]
        done = subprocess.run([tool, *options, path, tmp_path / "out.pgm"], capture_output=True, text=True, check=True)
        assert "E:" not in done.stderr
        return np.asarray(Image.open(tmp_path / "out.pgm")).astype(np.int64)

    return draw


def _lut(entries: int = 4096, first: int = 0) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [entries, first, 12])
    item.add_new("LUTData", "US", [int(4095 * (n / (entries - 1)) ** 2) for n in range(entries)])
    return item


def _windows(*pairs: tuple[float, float]) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = [c for c, _ in pairs], [w for _, w in pairs]
        del dataset.VOILUTFunction, dataset.WindowCenterWidthExplanation

    return edit


def _no_voi(dataset: Dataset) -> None:
    for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction", "WindowCenterWidthExplanation"):
        if keyword in dataset:
            del dataset[keyword]


def _luts(*luts: Dataset, window: bool = False) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        (_windows((2000, 900)) if window else _no_voi)(dataset)
        dataset.VOILUTSequence = list(luts)

    return edit


def _shutter(dataset: Dataset) -> None:
    _windows((1500, 1500))(dataset)
    dataset.ShutterShape, dataset.ShutterPresentationValue = "RECTANGULAR", 0
    dataset.ShutterLeftVerticalEdge, dataset.ShutterRightVerticalEdge = 20, 70
    dataset.ShutterUpperHorizontalEdge, dataset.ShutterLowerHorizontalEdge = 10, 60


def _overlay(dataset: Dataset) -> None:
    _windows((1500, 1500))(dataset)
    bits = np.zeros((80, 96), np.uint8)
    bits[30:50, 30:50] = 1
    for element, vr, value in ((0x0010, "US", 80), (0x0011, "US", 96), (0x0040, "CS", "G"), (0x0050, "SS", [1, 1]),
                               (0x0100, "US", 1), (0x0102, "US", 0),
                               (0x3000, "OW", np.packbits(bits, bitorder="little").tobytes())):  # fmt: skip
        dataset.add_new((0x6000, element), vr, value)


def _no_shape(dataset: Dataset) -> None:
    _windows((1500, 1500))(dataset)
    del dataset.PresentationLUTShape


def _rescaled(dataset: Dataset) -> None:
    _windows((3000, 3000))(dataset)
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "100"


def _negative_slope(dataset: Dataset) -> None:
    _windows((2595, 1500))(dataset)
    dataset.RescaleSlope, dataset.RescaleIntercept = "-1", "4095"


_HEADERS: dict[str, Callable[[Dataset], None]] = {
    "one window": _windows((1500, 1500)),
    "three windows": _windows((1500, 1500), (2000, 300), (500, 100)),
    "no Presentation LUT Shape": _no_shape,
    "no VOI": _no_voi,
    "one VOI LUT": _luts(_lut()),
    "two VOI LUTs": _luts(_lut(), _lut(2000, 300)),
    "a window and a VOI LUT": _luts(_lut(), window=True),
    "rescaled": _rescaled,
    "negative slope": _negative_slope,
    "a shutter": _shutter,
    "an overlay": _overlay,
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("name", _HEADERS)
def test_an_image_looks_through_the_state_as_it_does_alone(
    name: str,
    photometric: str,
    write: Write,
    processed_header: AcquisitionHeader,
    drawn: Callable[..., NDArray[np.int64]],
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = photometric
        dataset.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
        _HEADERS[name](dataset)

    path = write(processed_header, edit=edit)
    alone = drawn(path, through_state=False)
    assert alone.std() > 5
    # One level of 255: a table of 12 bits is stretched to 16, and rounded.
    assert np.abs(drawn(path, through_state=True) - alone).max() <= (1 if "LUT" in name else 0)


def test_a_raw_image_keeps_its_polarity(write: Write, drawn: Callable[..., NDArray[np.int64]]) -> None:
    path = write()
    assert _state(path).PresentationLUTShape == "INVERSE"  # MONOCHROME1
    np.testing.assert_array_equal(drawn(path, through_state=True), drawn(path, through_state=False))


def test_polarity_is_that_of_the_analysis_where_the_header_contradicts_itself(
    write: Write, processed_header: AcquisitionHeader
) -> None:
    path = write(processed_header, edit=lambda d: setattr(d, "PresentationLUTShape", "INVERSE"))
    assert _state(path).PresentationLUTShape == "IDENTITY"  # MONOCHROME2: bright is dense, as in reading


@pytest.mark.parametrize(
    ("centres", "widths", "expected"),
    [
        ([2653, 2713], [900], (2653, 900)),  # two centres, one width: the first pair is whole
        ([2653], [0], None),
        ([2653], [], None),
        ([], [900], None),
        ([2653], [1], (2653, 1)),
    ],
)
def test_a_window_that_is_not_whole_is_no_window(
    centres: list[float],
    widths: list[float],
    expected: tuple[float, float] | None,
    write: Write,
    processed_header: AcquisitionHeader,
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = centres, widths
        del dataset.VOILUTFunction

    voi = _state(write(processed_header, edit=edit)).get("SoftcopyVOILUTSequence")
    assert (None if voi is None else (voi[0].WindowCenter, voi[0].WindowWidth)) == expected


def test_the_function_of_a_window_is_kept(write: Write, processed_header: AcquisitionHeader) -> None:
    (voi,) = _state(write(processed_header)).SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction) == (2653, 900, "SIGMOID")


@pytest.mark.parametrize(("slope", "intercept"), [("2", None), (None, "-7")])
def test_a_slope_or_an_intercept_alone_is_completed(
    slope: str | None, intercept: str | None, write: Write, processed_header: AcquisitionHeader
) -> None:
    def edit(dataset: Dataset) -> None:
        for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)

    state = _state(write(processed_header, edit=edit))
    assert (state.RescaleSlope, state.RescaleIntercept) == (float(slope or 1), float(intercept or 0))


def test_a_table_of_a_big_endian_file_is_turned(write: Write, processed_header: AcquisitionHeader) -> None:
    def edit(dataset: Dataset) -> None:
        _luts(_lut())(dataset)
        dataset.VOILUTSequence[0].add_new("LUTData", "OW", np.arange(4096, dtype=">u2").tobytes())

    path = write(processed_header, edit=edit)
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False)
    (voi,) = _state(path).SoftcopyVOILUTSequence
    (lut,) = voi.VOILUTSequence
    np.testing.assert_allclose(np.frombuffer(lut.LUTData, "<u2"), np.arange(4096) * (65535 / 4095), atol=0.5)


def test_a_table_that_begins_below_zero_is_signed(write: Write, processed_header: AcquisitionHeader) -> None:
    def edit(dataset: Dataset) -> None:
        lut = _lut()
        lut.add_new("LUTDescriptor", "SS", [4096, -2048, 16])
        _luts(lut)(dataset)

    (voi,) = _state(write(processed_header, edit=edit)).SoftcopyVOILUTSequence
    descriptor = voi.VOILUTSequence[0]["LUTDescriptor"]
    assert (descriptor.VR, list(descriptor.value)) == ("SS", [4096, -2048, 16])


def test_text_in_the_pixels_is_said_beside_the_findings(write: Write) -> None:
    path = write(edit=lambda dataset: setattr(dataset, "BurnedInAnnotation", "YES"))
    annotation = _state(path).GraphicAnnotationSequence[-1]
    assert [label.UnformattedTextValue for label in annotation.TextObjectSequence] == [
        "95 %",
        "Text is burned into the pixels, and marks may be of it",
    ]


def test_a_damaged_shutter_table_or_overlay_is_left_out(write: Write, processed_header: AcquisitionHeader) -> None:
    def edit(dataset: Dataset) -> None:
        _no_voi(dataset)
        dataset.ShutterShape, dataset.RadiusOfCircularShutter = "CIRCULAR", 30  # and no centre
        lut = _lut()
        lut.LUTData = lut.LUTData[:100]
        dataset.VOILUTSequence = [lut]
        dataset.add_new((0x6002, 0x0010), "US", 80)

    state = _state(write(processed_header, edit=edit))
    assert "ShutterShape" not in state
    assert "RadiusOfCircularShutter" not in state
    assert "SoftcopyVOILUTSequence" not in state
    assert state[0x6002, 0x1001].value == ""  # named, as the standard wants, and not shown


def test_pixels_that_are_not_square_keep_their_proportion(write: Write) -> None:
    path = write(edit=lambda d: setattr(d, "ImagerPixelSpacing", ["0.1", "0.05"]))
    header = dataclasses.replace(read_image_header(path), spacing_mm=(0.1, 0.05))
    state = presentation_state(dataclasses.replace(_found(path), header=header), made=MADE)
    assert state is not None
    (area,) = state.DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == [2, 1]  # vertical, horizontal
    assert list(area.DisplayedAreaBottomRightHandCorner) == [96, 80]  # column, row


def test_the_outline_and_its_certainty_are_drawn_where_the_cluster_is(write: Write) -> None:
    annotation = _state(write()).GraphicAnnotationSequence[-1]
    (outline,), (label,) = annotation.GraphicObjectSequence, annotation.TextObjectSequence
    np.testing.assert_allclose(outline.GraphicData, [30.5, 20.5, 60.5, 20.5, 60.5, 50.5, 30.5, 20.5], atol=1e-3)
    assert label.UnformattedTextValue == "95 %"
    assert label.AnchorPoint[0] == pytest.approx(60.5)


def test_calcifications_are_drawn_on_layers_of_their_own(write: Write) -> None:
    square = np.array([[8.0, 9.0], [8.0, 12.0], [11.0, 12.0], [8.0, 9.0]])
    found = _found(write())
    spacing_mm = found.header.spacing_mm
    assert spacing_mm is not None
    single = np.array([[10.0, 0.0]]) * spacing_mm
    found = dataclasses.replace(
        found,
        candidates=Candidates(np.concatenate([found.candidates.centres, single]), np.full(4, 0.9)),
        shapes=[Shape(square * spacing_mm, 0.03, 1.0, 9.0), None, None, None],
        evident=[3],
    )
    state = presentation_state(found, made=MADE)
    assert state is not None
    drawn = {item.GraphicLayer: item.get("GraphicObjectSequence", []) for item in state.GraphicAnnotationSequence}
    assert {layer: len(graphics) for layer, graphics in drawn.items()} == {
        "SINGLES": 1,
        "CALCIFICATIONS": 3,
        "FINDINGS": 1,
    }
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == list(drawn)
    outline, *rings = drawn["CALCIFICATIONS"]
    np.testing.assert_allclose(outline.GraphicData, [9.5, 8.5, 12.5, 8.5, 12.5, 11.5, 9.5, 8.5], atol=1e-3)
    assert [ring.GraphicType for ring in (*rings, *drawn["SINGLES"])] == ["CIRCLE"] * 3
    (ring,) = drawn["SINGLES"]  # at the image's border: its second point lies inside
    assert ring.GraphicData[2] > ring.GraphicData[0]


def test_an_evident_calcification_in_an_optional_cluster_is_drawn_as_a_single_one(write: Write) -> None:
    found = _found(write())
    (cluster,) = found.clusters
    found = dataclasses.replace(found, clusters=[dataclasses.replace(cluster, likelihood=0.85)], evident=[1])
    state = presentation_state(found, made=MADE)
    assert state is not None
    assert [item.GraphicLayer for item in state.GraphicAnnotationSequence] == ["SINGLES"]


def test_a_cluster_set_apart_is_drawn_on_a_layer_of_its_own(write: Write) -> None:
    state = presentation_state(of_kinds(_found(write()), "vascular", apart=True), made=MADE)
    assert state is not None
    apart, members = state.GraphicAnnotationSequence
    assert [apart.GraphicLayer, members.GraphicLayer] == ["APART", "CALCIFICATIONS"]
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == ["APART", "CALCIFICATIONS"]
    assert [label.UnformattedTextValue for label in apart.TextObjectSequence] == ["95 %"]
    assert len(apart.GraphicObjectSequence) == 1


def test_the_states_of_both_breasts_stand_in_one_series_without_contradiction(
    write: Write, raw_header: AcquisitionHeader, judge: Callable[[str], str], tmp_path: Path
) -> None:
    entities, paths = judge("dcentvfy"), []
    for side in ("L", "R"):
        image = write(dataclasses.replace(raw_header, laterality=side), name=f"{side}.dcm")
        paths += [image, tmp_path / f"{side}.gsps.dcm"]
        write_report(Report("gsps", _state(image), ()), paths[-1])
    assert len({pydicom.dcmread(path).SeriesInstanceUID for path in paths[1::2]}) == 1
    done = subprocess.run([entities, *paths], capture_output=True, text=True, check=False)
    assert "Error" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", _HEADERS)
def test_dciodvfy_finds_no_fault(
    name: str, write: Write, processed_header: AcquisitionHeader, judge: Callable[[str], str], tmp_path: Path
) -> None:
    stored = dataclasses.replace(PROCESSED, photometric_interpretation="MONOCHROME1", lut_shape="INVERSE")
    path = write(dataclasses.replace(processed_header, stored=stored), edit=_HEADERS[name])
    write_report(Report("gsps", _state(path), ()), tmp_path / "state.dcm")
    done = subprocess.run([judge("dciodvfy"), tmp_path / "state.dcm"], capture_output=True, text=True, check=False)
    assert "GrayscaleSoftcopyPresentationState" in done.stdout + done.stderr
    assert "Error" not in done.stdout + done.stderr
