"""The conformance statement and the page of intended use say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pydicom.uid import UID
from tests.reports.exams import MADE, failed, result

from microcalc.images.dicom.accept import INTENTS
from microcalc.images.dicom.decode import SYNTAXES
from microcalc.reports import concepts as c
from microcalc.reports.cad_report import cad_report
from microcalc.reports.content_items import meaning, walk
from microcalc.reports.exam import EXAM_KINDS
from microcalc.reports.header import MANUFACTURER, RESEARCH_ONLY, SERIES, SOP_CLASSES

_DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
_PAGE: Final = (_DOCS / "reference" / "conformance.md").read_text(encoding="utf-8")


def _table(head: str, *, nth: int = 0) -> list[list[str]]:
    """The lines of a table as cells; the table begins with the nth line of this first cell."""
    lines = _PAGE.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith(f"| {head} |")]
    rows = []
    for line in lines[starts[nth] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def test_the_classes_read_are_those_accepted() -> None:
    assert {uid: intent for _, uid, intent in _table("SOP class")} == INTENTS
    for name, uid, _ in _table("SOP class"):
        assert UID(uid).name.replace(" Storage", "").replace(" - ", " – ") == name


def test_the_transfer_syntaxes_are_those_decoded() -> None:
    assert {uid: name for name, uid in _table("transfer syntax")} == {uid: s.name for uid, s in SYNTAXES.items()}


def test_the_reports_are_those_written() -> None:
    stated = {kind: (uid, int(number), words) for kind, _, uid, _, number, words in _table("`--report`")}
    assert stated == {kind: (uid, *SERIES[kind]) for kind, uid in SOP_CLASSES.items()}
    for kind, name, uid, each, *_ in _table("`--report`"):
        assert UID(uid).name == f"{name} Storage"
        assert each.startswith("exam" if kind in EXAM_KINDS else "image")


def test_the_concepts_of_the_cad_report_are_those_written() -> None:
    root = cad_report([result(clusters=[0.95, 0.85]), failed(1)], made=MADE)
    stated = {code: name for name, code, _ in _table("concept")}
    names = {i.ConceptNameCodeSequence[0].CodeValue for i in walk(root) if "ConceptNameCodeSequence" in i}
    library = {  # as TID 4020 has them, and the frame of the document
        *(concept.value for concept in (c.IMAGE_LATERALITY, c.IMAGE_VIEW, c.ORIENTATION_ROW, c.ORIENTATION_COLUMN)),
        *(concept.value for concept in (c.STUDY_DATE, c.STUDY_TIME, c.CONTENT_DATE, c.CONTENT_TIME)),
        *(concept.value for concept in (c.HORIZONTAL_SPACING, c.VERTICAL_SPACING, c.MAMMOGRAPHY_CAD_REPORT)),
        *(concept.value for concept in (c.LANGUAGE, c.DETECTION_PERFORMED, c.ANALYSES)),
    }
    assert set(stated) == names - library
    known = {concept.value: concept.meaning for concept in vars(c).values() if isinstance(concept, c.Concept)}
    assert stated == {value: known[value] for value in stated}


def test_the_summaries_are_those_written() -> None:
    exams = (
        [result()],
        [result(clusters=[0.85])],
        [result(), failed(1)],
        [result(clusters=[0.95]), failed(1)],
        [failed()],
    )
    written = []
    for exam in exams:
        root = cad_report(exam, made=MADE)
        (said,) = [i for i in walk(root) if meaning(i, "ConceptNameCodeSequence") == c.SUMMARY.meaning]
        written.append([said.ConceptCodeSequence[0].CodeMeaning, said.ConceptCodeSequence[0].CodeValue])
    assert [row[:2] for row in _table(c.SUMMARY.meaning, nth=1)] == written


def test_the_older_codes_are_those_written() -> None:
    rows = _table("meaning")
    assert {sct: srt for _, sct, srt in rows} == {
        concept.value: concept.srt
        for concept in (
            *(c.CLUSTER, c.INDIVIDUAL, c.DIAMETER, c.AREA),
            *(kind for kind in c.TYPES.values() if kind.srt),
            *c.DISTRIBUTIONS.values(),
            *c.SIDES.values(),
        )
    }
    assert len(rows) == len({name for name, *_ in rows})


def test_the_types_are_those_written() -> None:
    stated = {kind: (name, code) for kind, name, code in _table("`kind` in the JSON")}
    assert stated == {kind: (concept.meaning, concept.value) for kind, concept in c.TYPES.items()}


def test_the_pages_repeat_what_every_report_says_of_its_use() -> None:
    use = " ".join((_DOCS / "explanation" / "intended-use.md").read_text(encoding="utf-8").split())
    assert f'"{RESEARCH_ONLY}"' in use
    root = cad_report([result()], made=MADE)
    assert (root.CompletionFlagDescription, root.VerificationFlag) == (RESEARCH_ONLY, "UNVERIFIED")
    assert f"Model Name `{MANUFACTURER}`" in _PAGE
    assert (root.Manufacturer, root.DeviceSerialNumber) == (MANUFACTURER, "0")
    assert root.SpecificCharacterSet in _PAGE
    assert root.file_meta.TransferSyntaxUID in _PAGE
    assert str(root.file_meta.ImplementationVersionName) in _PAGE
    assert re.match(r"2\.25\.\d+$", root.SOPInstanceUID)


def test_the_node_takes_what_is_stated_and_nothing_else() -> None:
    from microcalc.node.server import entity
    from microcalc.node.settings import Listen

    offered = {
        str(x.abstract_syntax): x
        for x in entity(Listen(calling_ae_titles=("PACS",)), ("raw", "processed")).supported_contexts
    }
    stated = _table("accepted by the node")
    assert {uid for _, uid, _ in stated} == set(offered)
    for _, uid, syntaxes in stated:
        if syntaxes == "all that are read":
            assert {str(s) for s in offered[uid].transfer_syntax} == set(SYNTAXES)


def test_the_answers_of_the_node_are_those_stated() -> None:
    from microcalc.node import server

    stated = {words: int(status, 16) for words, status, _ in _table("answer to C-STORE")}
    assert stated == {
        "Success": server.SUCCESS,
        "Out of resources": server.OUT_OF_RESOURCES,
        "Cannot understand": server.CANNOT_UNDERSTAND,
    }
