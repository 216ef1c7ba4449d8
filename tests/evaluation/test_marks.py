from __future__ import annotations

from microcalc.evaluation.marks import PackedOutlines


def test_packed_outlines_are_what_they_were() -> None:
    outlines = [None, [(0.1, 2.0), (3.5, 4.25), (5.0, 6.0)], [], [(7.0, 8.0)], None]
    packed = PackedOutlines(outlines)
    assert list(packed) == outlines
    assert len(packed) == 5
    assert [packed[i] for i in range(-5, 0)] == outlines
    assert packed[1:4] == outlines[1:4]
    assert list(PackedOutlines([])) == []
