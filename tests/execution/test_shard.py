import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.errors import InputError
from microcalc.execution.shard import Shard


@given(st.text(), st.integers(1, 50))
def test_each_name_is_in_exactly_one_shard(name: str, count: int) -> None:
    assert sum(Shard(number, count).has(name) for number in range(count)) == 1


def test_the_shard_of_a_name_never_changes() -> None:
    # A part of a work may be repeated years later, by another version.
    assert [next(n for n in range(7) if Shard(n, 7).has(name)) for name in ("a", "P1/LCC.dcm", "é")] == [4, 1, 3]


def test_shards_are_of_about_the_same_size() -> None:
    names = [f"{n:07d}.dcm" for n in range(7000)]
    sizes = [sum(map(Shard(number, 7).has, names)) for number in range(7)]
    assert max(abs(size - 1000) for size in sizes) < 5 * 1000**0.5  # standard deviations


@pytest.mark.parametrize("text", ["3/3", "0/0", "-1/3", "1", "1/", "/3", "a/b", "1/3/5", "1 / 3", "٣/٥", "0/99999999"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected I/N with I from 0 to N-1"):
        Shard.parse(text)


def test_a_shard_reads_what_it_writes() -> None:
    assert str(Shard.parse("2/16")) == "2/16"
