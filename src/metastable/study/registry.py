"""Finds the studies: every file of the studies package, and those that installed packages offer."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from metastable.errors import InputError, did_you_mean
from metastable.study.definition import Study

__all__ = ["ENTRY_POINT_GROUP", "Registry", "find_studies"]

ENTRY_POINT_GROUP = "metastable.studies"


@dataclass(frozen=True)
class Registry:
    """The studies that were found.

    Attributes
    ----------
    studies : mapping of str to Study
        By name, in alphabetical order.
    problems : mapping of str to str
        For each study file that could not be read, by its name: what is wrong with it.
    """

    studies: Mapping[str, Study]
    problems: Mapping[str, str]

    def get(self, name: str) -> Study:
        """Return the study of that name.

        Raises
        ------
        InputError
            If there is none, or if its file could not be read.
        """
        if name in self.studies:
            return self.studies[name]
        if name in self.problems:
            raise InputError(f"study {name!r} cannot be used: {self.problems[name]}")
        known = ", ".join(self.studies) or "none"
        raise InputError(
            f"there is no study {name!r}; {did_you_mean(name, self.studies)}the studies are: {known} "
            "(python -m studies list tells more)"
        )


def _from_module(module: ModuleType) -> Study:
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InputError(f"{module.__file__} defines no STUDY; add STUDY = Study(...) to it")
    return study


def _from_entry_point(point: EntryPoint) -> Study:
    loaded = point.load()
    study = _from_module(loaded) if isinstance(loaded, ModuleType) else loaded
    if not isinstance(study, Study):
        raise InputError(f"entry point {point.name} = {point.value} is not a Study; let it name one")
    return study


def _sources(package: ModuleType | None) -> Iterator[tuple[str, str | EntryPoint]]:
    if package is not None:
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                yield module.name, f"{package.__name__}.{module.name}"
    for point in entry_points(group=ENTRY_POINT_GROUP):
        yield point.name, point


def find_studies(package: ModuleType | None = None) -> Registry:
    """Find the studies of a package and of the entry point group ``metastable.studies``.

    Parameters
    ----------
    package : module or None
        A package each of whose modules defines ``STUDY``; modules whose name begins with an
        underscore are left out.

    Returns
    -------
    Registry
        One broken file stops nobody from using the others: it is listed among the problems.
    """
    studies: dict[str, Study] = {}
    problems: dict[str, str] = {}
    for name, source in _sources(package):
        try:
            if isinstance(source, str):
                study = _from_module(importlib.import_module(source))
            else:
                study = _from_entry_point(source)
        except Exception as error:  # a user's file may raise anything: it is told, not hidden
            problems[name] = f"{type(error).__name__}: {error}"
            continue
        if study.name in studies:
            problems[name] = f"two studies are called {study.name!r}; rename one of them"
            continue
        studies[study.name] = study
    return Registry(dict(sorted(studies.items())), problems)
