from __future__ import annotations

import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from microcalc.batch.names import Identity, result_stems
from microcalc.images.open import printable

_NAMES = st.text(min_size=1, max_size=300).filter(lambda name: "/" not in name and "\0" not in name)
_IDENTITIES = st.builds(Identity, st.text("0123456789.", max_size=20), st.text("0123456789abcdef", min_size=8))
_IMAGES = st.lists(st.tuples(_NAMES, _IDENTITIES), unique_by=(lambda i: i[1].uid, lambda i: i[1].place), max_size=12)


def _image(name: str, uid: str, place: str | None = None) -> tuple[str, Identity]:
    return name, Identity(uid, place or f"/{uid}/{name}")


def test_a_name_that_says_enough_is_the_stem() -> None:
    assert result_stems([_image("a", "1.1"), _image("b", "1.2")], {}) == ["a", "b"]


def test_images_of_one_name_are_told_apart_by_digits_that_do_not_depend_on_the_company() -> None:
    both = result_stems([_image("1-1", "1.1"), _image("1-1", "1.2"), _image("b", "1.3")], {})
    assert both[2] == "b"
    assert both[0] != both[1]
    assert result_stems([_image("1-1", "1.2"), _image("1-1", "1.1")], {}) == both[1::-1]
    assert all(stem.startswith("1-1-") and len(stem) == 16 for stem in both[:2])


def test_an_image_keeps_its_stem_and_another_one_never_gets_it() -> None:
    assert result_stems([_image("1-1", "1.1")], {"1-1": Identity("1.1", "/1-1")}) == ["1-1"]
    assert result_stems([_image("1-1", "1.1")], {"1-1-0a1b2c3d": Identity("1.1", "/1-1-0a1b2c3d")}) == ["1-1-0a1b2c3d"]
    assert result_stems([_image("1-1", "1.2", "/p")], {"1-1": Identity("1.1", "/p")}) == ["1-1"]
    assert result_stems([_image("1-1", "", "/p")], {"1-1": Identity("1.1", "/p")}) == ["1-1"]
    (stem,) = result_stems([_image("1-1", "1.2")], {"1-1": Identity("1.1", "/p")})
    assert stem.startswith("1-1-")


def test_the_index_keeps_its_own_name() -> None:
    assert result_stems([_image("index", "1.1")], {})[0] != "index"
    assert result_stems([_image("Index", "1.1")], {})[0] != "Index"


@given(_IMAGES)
def test_stems_are_different_on_every_file_system_and_short_enough_for_all(images: list[tuple[str, Identity]]) -> None:
    stems = result_stems(images, {})
    folded = {unicodedata.normalize("NFC", stem.casefold()) for stem in stems}
    assert len(folded) == len(images)
    for stem in stems:
        assert 0 < len(stem.encode()) <= 109
        assert not stem.startswith(".")
        assert Path("x", f"{stem}.tid1500.dcm").parent == Path("x")


@given(st.text())
def test_a_printable_name_is_text_on_one_line(name: str) -> None:
    clean = printable(name)
    clean.encode()
    assert not {"\n", "\r", "\t", "\0", "/"} & set(clean)
