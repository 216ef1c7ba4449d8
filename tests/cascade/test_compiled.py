from __future__ import annotations

import pytest

from microcalc.cascade import compiled
from microcalc.cascade.compiled import in_threads


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
def test_every_number_is_in_exactly_one_part(n: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_THREADS", 3)
    seen: list[int] = []
    in_threads(lambda first, last: seen.extend(range(first, last)), n, threads=threads)
    assert sorted(seen) == list(range(n))


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_THREADS", 2)

    def fail(first: int, last: int) -> None:
        if last == 8:
            raise ValueError(f"{first} to {last}")

    with pytest.raises(ValueError, match="7 to 8"):
        in_threads(fail, 8, threads=2)
