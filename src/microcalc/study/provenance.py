"""What the figures of a study stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Samples of one split, both classes."""

    positive: int
    negative: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the figures stand on, for whoever repeats them.

    Attributes
    ----------
    scale, intent
        ``paper``, ``tenth`` or ``smoke``; ``raw`` or ``processed``.
    command
        The command line that makes the run, without paths of a machine.
    recipe
        The recipe and the scale's settings as text (TOML).
    seeds, hashes, machine, versions
        Shown as they are, name and value: hashes of stages, models and data; processor, cores and
        memory; versions of the package and its libraries.
    train, test
        Samples.
    seconds
        Per stage, in the order of the run, over all starts.
    notes
        Sentences on how this run differs from the plain one (a vendor left out, say).
    shows_nothing
        Whether the scale is so small that its figures mean nothing.
    """

    scale: str
    intent: str
    command: str
    recipe: str
    seeds: Mapping[str, int]
    hashes: Mapping[str, str]
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    train: SampleCounts
    test: SampleCounts
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    shows_nothing: bool = False
