"""Count the files that are accepted and refused where one header attribute is changed.

``python -m benchmarks.headers [FILE ...]``

Each attribute that is read is made absent, empty, multi-valued, of a wrong representation and out of range, in the
header of each given file; by default, of simulated images of each vendor and of the real one beside the checkout, if
there is one. The counts are: the same result, a result with less known, a named error; and faults: a traceback, another
result without a message, a message that is not ours. Pixels are cropped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.images.dicom.varied_headers import ATTRIBUTES, FAULTS, changes, cropped, verdict

from benchmarks import Parser, run
from microcalc.images.dicom.read import read_dicom

_REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "fo-dicom" / "GH133.dcm"


def main(arguments: Sequence[str]) -> int:
    """Print the counts of each file, and every fault; return 1 if there is any."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="mammograms, by default simulated ones of each vendor")
    given: list[Path] = parser.parse_args(arguments).files
    for file in given:
        read_dicom(file)  # one that cannot be read is named before all else
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for file in given or [*_simulated(work / "simulated"), *([_REAL] if _REAL.is_file() else [])]:
            faults += _count(cropped(file, work / "original.dcm"), file.stem, work / "changed.dcm")
    return int(faults > 0)


def _count(original: Path, name: str, work: Path) -> int:
    counts: Counter[str] = Counter()
    for change in (change for keyword in ATTRIBUTES for change in changes(keyword)):
        said, words = verdict(original, change, work)
        counts[said] += 1
        if said in FAULTS:
            print(f"{name}: {change}: {said}: {words}")
    print(f"{name}: {sum(counts.values())} headers: " + ", ".join(f"{n} {said}" for said, n in sorted(counts.items())))
    return sum(counts[fault] for fault in FAULTS)


def _simulated(folder: Path) -> list[Path]:
    from microcalc.datasets.simulated import Settings, simulate_data_set
    from microcalc.simulate.systems import VENDORS

    settings = Settings(seed=1, views=("MLO",), lateralities=("L",))
    table = simulate_data_set(folder, settings, systems=VENDORS, exams=1)
    return [row.file for row in table.images]


if __name__ == "__main__":
    sys.exit(run(main))
