"""Finds a measure by its name: those of the table, and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from metastable.errors import InputError, did_you_mean
from metastable.measures.measure import Measure
from metastable.measures.table import MEASURES

__all__ = [
    "ENTRY_POINT_GROUP",
    "MEASURE_CHOICES",
    "KnownMeasures",
    "call_measure",
    "known_measures",
    "label_measure",
    "measure_named",
]

ENTRY_POINT_GROUP = "metastable.measures"


@dataclass(frozen=True)
class KnownMeasures:
    """The measures that were found.

    Attributes
    ----------
    measures : mapping of str to Measure
        By name: those of the table, then those of installed packages.
    problems : mapping of str to str
        For each entry point that gave no measure, by its name: what is wrong with it.
    """

    measures: Mapping[str, Measure]
    problems: Mapping[str, str]


@cache
def known_measures() -> KnownMeasures:
    """Find the measures of the table and of the entry point group ``metastable.measures``.

    Returns
    -------
    KnownMeasures
        A broken entry point stops nobody from using the others: it is listed among the problems.
    """
    measures = {measure.name: measure for measure in MEASURES}
    problems: dict[str, str] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            measure = point.load()
        except Exception as error:  # a user's package may raise anything: it is told, not hidden
            problems[point.name] = f"{type(error).__name__}: {error}"
            continue
        if not isinstance(measure, Measure):
            problems[point.name] = f"entry point {point.name} = {point.value} is not a Measure; let it name one"
        elif measure.name in measures:
            problems[point.name] = f"two measures are called {measure.name!r}; rename that of {point.value}"
        else:
            measures[measure.name] = measure
    return KnownMeasures(measures, problems)


def measure_named(name: str) -> Measure:
    """Return the measure of that name.

    Raises
    ------
    InputError
        If there is none, with the nearest name, or if the package that offers it is broken.
    """
    known = known_measures()
    if name in known.measures:
        return known.measures[name]
    if name in known.problems:
        raise InputError(f"measure {name!r} cannot be used: {known.problems[name]}")
    hint = did_you_mean(name, known.measures)
    raise InputError(f"measure {name!r} is unknown; {hint}choose one of {', '.join(known.measures)}")


def call_measure(name: str) -> str:
    """Return what a measure is called; of one that is not installed here, its name in words.

    Examples
    --------
    >>> call_measure("effective_number")
    'effective number'
    """
    known = known_measures().measures.get(name)
    return name.replace("_", " ") if known is None else known.called


def label_measure(name: str, threshold: float) -> str:
    """Return what the axis of a figure calls a measure at a threshold.

    Examples
    --------
    >>> label_measure("count", 0.9), label_measure("entropy", 0.9)
    ('count k, to 90% of the attention', 'entropy')
    """
    known = known_measures().measures.get(name)
    if known is None or not known.label:
        return call_measure(name)
    return known.fill(known.label, share=f"{100 * threshold:g}%")


class _Choices(Mapping[str, str]):
    """The names of all measures, each with its line for ``--help``; packages are asked when it is first read."""

    def __getitem__(self, name: str) -> str:
        known = known_measures()
        if name not in known.measures and name not in known.problems:
            raise KeyError(name)
        return measure_named(name).help

    def __iter__(self) -> Iterator[str]:
        return iter(known_measures().measures)

    def __len__(self) -> int:
        return len(known_measures().measures)


MEASURE_CHOICES: Mapping[str, str] = _Choices()
"""For each measure by its name the line that ``--help`` has on it."""
