"""Make and traverse the content items of structured reports.

A report is a tree of items. Each item is a data set in the Content Sequence of the item above it, and states its
relationship to that item.

References
----------
DICOM PS3.3 C.17.3 (SR Document Content), C.18 (value types).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from microcalc.dicom.tags import items, numbers, word
from microcalc.errors import InputError
from microcalc.reports.concepts import SRT_OF, Concept

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset

Position = Sequence[int]
"""Position of an item: 1-based numbers from the root, which is 1 (Referenced Content Item Identifier)."""


def code_item(concept: Concept) -> Dataset:
    """Return a concept as an item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = concept.value, concept.scheme, concept.meaning
    return item


def coded_concept(concept: Concept) -> CodedConcept:
    """Return a concept as an object of highdicom."""
    from highdicom.sr import CodedConcept

    return CodedConcept(concept.value, concept.scheme, concept.meaning)


def add(parent: Dataset, relationship: str, *children: Dataset) -> None:
    """Append items to the Content Sequence of another item, in this order."""
    for child in children:
        child.RelationshipType = relationship
        if "ContentSequence" in parent:
            parent.ContentSequence.append(child)
        else:
            parent.ContentSequence = [child]


def take_content(root: Dataset, content: Dataset) -> None:
    """Add the content that highdicom made to a report; its items are then ordinary ones, to which others are added."""
    for element in content:
        root.add(element)
    items_ = list(root.ContentSequence)
    del root.ContentSequence  # the library's sequence type accepts only its own items
    root.ContentSequence = items_


def container(name: Concept, *, template: str | None = None) -> Dataset:
    """Return a CONTAINER item with separate content; ``template`` is an identifier of PS3.16, such as ``"4000"``."""
    from pydicom.dataset import Dataset

    item = _item("CONTAINER", name)
    item.ContinuityOfContent = "SEPARATE"
    if template is not None:
        entry = Dataset()
        entry.MappingResource, entry.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [entry]
    return item


def code(name: Concept, value: Concept) -> Dataset:
    """Return a CODE item."""
    item = _item("CODE", name)
    item.ConceptCodeSequence = [code_item(value)]
    return item


def text(name: Concept, value: str) -> Dataset:
    """Return a TEXT item."""
    item = _item("TEXT", name)
    item.TextValue = value
    return item


def date(name: Concept, value: str) -> Dataset:
    """Return a DATE item; ``value`` is YYYYMMDD."""
    item = _item("DATE", name)
    item.Date = value
    return item


def time(name: Concept, value: str) -> Dataset:
    """Return a TIME item; ``value`` is HHMMSS.ffffff."""
    item = _item("TIME", name)
    item.Time = value
    return item


def number(name: Concept, value: float, unit: Concept) -> Dataset:
    """Return a NUM item; at most 16 characters are written (PS3.5 6.2)."""
    from pydicom.dataset import Dataset

    item, measured = _item("NUM", name), Dataset()
    measured.NumericValue = f"{value:.9g}"
    measured.MeasurementUnitsCodeSequence = [code_item(unit)]
    item.MeasuredValueSequence = [measured]
    return item


def image(sop_class: str, sop_instance: str) -> Dataset:
    """Return an IMAGE item without a concept name, as in an image library."""
    from pydicom.dataset import Dataset

    item, reference = _item("IMAGE", None), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, sop_instance
    item.ReferencedSOPSequence = [reference]
    return item


def region(name: Concept, graphic: str, columns_rows: Iterable[tuple[float, float]]) -> Dataset:
    """Return a SCOORD item.

    Parameters
    ----------
    graphic
        Graphic Type, such as ``"POINT"`` or ``"POLYLINE"``.
    columns_rows
        (column, row) from the top left **corner** of the first pixel (PS3.3 C.18.6.1.1).
    """
    item = _item("SCOORD", name)
    item.GraphicType = graphic
    item.GraphicData = [value for pair in columns_rows for value in pair]
    return item


def pointer(position: Position) -> Dataset:
    """Return a by-reference item, which refers to another item of the tree."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedContentItemIdentifier = list(position)
    return item


def _item(value_type: str, name: Concept | None) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ValueType = value_type
    if name is not None:
        item.ConceptNameCodeSequence = [code_item(name)]
    return item


def use_srt(root: Dataset) -> None:
    """Replace every code of SNOMED CT in a report by the older code of SNOMED RT."""
    for item in walk(root):
        for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            for coded in items(item, keyword):
                if coded.CodingSchemeDesignator == "SCT":
                    coded.CodeValue, coded.CodingSchemeDesignator = SRT_OF[coded.CodeValue], "SRT"


def children(item: Dataset) -> tuple[Dataset, ...]:
    """Return the items directly below an item."""
    return items(item, "ContentSequence")


def walk(item: Dataset) -> Iterator[Dataset]:
    """Yield an item and all items below it, in document order."""
    waiting = [item]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += reversed(children(current))


def at(root: Dataset, position: Position) -> Dataset | None:
    """Return the item at a position; None if there is none."""
    if not position or position[0] != 1:
        return None
    for number_ in position[1:]:
        below = children(root)
        if not 1 <= number_ <= len(below):
            return None
        root = below[number_ - 1]
    return root


def target(root: Dataset, item: Dataset) -> Dataset:
    """Return the item, or the item to which it refers.

    Raises
    ------
    InputError
        It refers to a missing item.
    """
    position = _position(item)
    if not position:
        return item
    found = at(root, position)
    if found is None:
        raise InputError(
            f"content item {'.'.join(map(str, position))} missing, expected it since another item refers to it"
        )
    return found


def _position(item: Dataset) -> tuple[int, ...]:
    return tuple(int(value) for value in numbers(item, "ReferencedContentItemIdentifier"))


def image_uid(item: Dataset) -> str:
    """Return the SOP Instance UID of the image that an IMAGE item refers to; empty without one."""
    return next((word(reference, "ReferencedSOPInstanceUID") for reference in items(item, "ReferencedSOPSequence")), "")


def named(item: Dataset, name: Concept) -> tuple[Dataset, ...]:
    """Return the items directly below an item that have this concept name."""
    return tuple(child for child in children(item) if has_name(child, name))


def has_name(item: Dataset, name: Concept) -> bool:
    """Return whether an item has this concept name, in the new or the old scheme."""
    return any(_is(coded, name) for coded in items(item, "ConceptNameCodeSequence"))


def has_value(item: Dataset, value: Concept) -> bool:
    """Return whether an item has this coded value, in the new or the old scheme."""
    return any(_is(coded, value) for coded in items(item, "ConceptCodeSequence"))


def _is(coded: Dataset, concept: Concept) -> bool:
    scheme, value = word(coded, "CodingSchemeDesignator"), word(coded, "CodeValue")
    if scheme in ("SRT", "SNM3", "99SDM"):
        return value != "" and value == concept.srt
    return (value, scheme) == (concept.value, concept.scheme)


def meaning(item: Dataset, keyword: str) -> str:
    """Return the meaning of an item's first code; empty if it has none."""
    return next((word(coded, "CodeMeaning") for coded in items(item, keyword)), "")


def measured(item: Dataset) -> float | None:
    """Return the value of a NUM item; None if it has none."""
    for entry in items(item, "MeasuredValueSequence"):
        return next(iter(numbers(entry, "NumericValue")), None)
    return None
