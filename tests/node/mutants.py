"""Write damaged files: a mammogram with bytes changed, removed, doubled or filled."""

from __future__ import annotations

import random
from pathlib import Path

from pydicom.filereader import read_file_meta_info


def mutate(file: Path, target: Path, rng: random.Random) -> Path:
    """Write a mutant with its own UID, changed in header, pixel data, or anywhere after the file meta information."""
    uid = str(read_file_meta_info(file).MediaStorageSOPInstanceUID).encode()
    data = bytearray(file.read_bytes().replace(uid, uid[:-12] + b"%012d" % rng.randrange(10**12)))
    header_end = data.rindex(b"\xe0\x7f\x10\x00")
    meta_end = _data_set_start(file)
    start, end = rng.choice([(meta_end, header_end + 12), (header_end, len(data)), (meta_end, len(data))])
    kind = rng.randrange(6)
    first = rng.randrange(start, end)
    last = min(end, first + rng.choice([1, 2, 4, 16, 256]))
    if kind <= 1:
        for place in range(first, last):
            data[place] = rng.randrange(256)
    elif kind == 2:
        del data[first:]
    elif kind == 3:
        del data[first:last]
    elif kind == 4:
        data[first:first] = data[first:last]
    else:
        data[first:last] = rng.choice([b"\x00", b"\xff"]) * (last - first)
    target.write_bytes(data)
    return target


def _data_set_start(file: Path) -> int:
    return 128 + 4 + 12 + int(read_file_meta_info(file).FileMetaInformationGroupLength)
