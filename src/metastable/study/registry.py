"""Finds the studies: of the studies package, of a folder of the user's, and of installed packages."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from metastable.errors import InputError, nearest
from metastable.program import typed
from metastable.study.definition import Study

__all__ = ["ENTRY_POINT_GROUP", "SHIPPED", "Registry", "all_studies", "find_studies", "load_study"]

ENTRY_POINT_GROUP = "metastable.studies"

SHIPPED = "studies"
"""The package of the shipped studies, and the folder where a user keeps his own."""


@dataclass(frozen=True)
class Registry:
    """The studies that were found.

    Attributes
    ----------
    studies : mapping of str to Study
        By name, in alphabetical order.
    problems : mapping of str to str
        For each study file that cannot be used, by its name: what is wrong with it.
    hints : tuple of str
        What else the user can mend, one sentence each.
    """

    studies: Mapping[str, Study]
    problems: Mapping[str, str]
    hints: tuple[str, ...] = ()

    def get(self, name: str, commands: Collection[str] = ()) -> Study:
        """Return the study of that name.

        Parameters
        ----------
        name : str
            As it was typed.
        commands : collection of str
            What else could have been meant.

        Raises
        ------
        InputError
            If there is none, naming the nearest name that there is; or if its file cannot be used.
        """
        if name in self.problems:
            raise InputError(f"study {name!r} cannot be used: {self.problems[name]}")
        if name in self.studies:
            return self.studies[name]
        near = nearest(name, [*self.studies, *self.problems, *commands])
        hint = f"did you mean {'the command ' * (near in commands)}{near!r}? " if near else ""
        known = ", ".join(self.studies) or "none"
        raise InputError(f"there is no study {name!r}; {hint}the studies are: {known} ({typed('list')} tells more)")


@dataclass(frozen=True)
class _Source:
    """One place where a study may be: its short name, where that is for a reader, and how it is had."""

    name: str
    place: str
    load: Callable[[], Study]


def _study_of(module: ModuleType) -> Study:
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InputError(f"{module.__file__} defines no STUDY; add STUDY = Study(...) to it")
    return study


def _load_module(name: str) -> Study:
    return _study_of(importlib.import_module(name))


def load_study(path: Path) -> Study:
    """Load a study from its file, wherever it lies.

    Parameters
    ----------
    path : Path
        A Python file that defines ``STUDY``.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If the file defines none. What else the file raises comes through as it is.
    """
    path = path.resolve()
    # no package's name, so that the file hides no module and can be called what its author likes
    name = f"_metastable_study_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file; give one that defines STUDY")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickle look a class's module up here
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return _study_of(module)


def _from_entry_point(point: EntryPoint) -> Study:
    loaded = point.load()
    study = _study_of(loaded) if isinstance(loaded, ModuleType) else loaded
    if not isinstance(study, Study):
        raise InputError(f"entry point {point.name} = {point.value} is not a Study; let it name one")
    return study


def _of_package(package: ModuleType) -> Iterator[_Source]:
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            full = f"{package.__name__}.{module.name}"
            place = str(Path(getattr(module.module_finder, "path", ""), f"{module.name}.py"))
            yield _Source(module.name, place, partial(_load_module, full))


def _of_folder(folder: Path) -> Iterator[_Source]:
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_"):
            yield _Source(path.stem, str(path), partial(load_study, path))


def _of_installed() -> Iterator[_Source]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        yield _Source(point.name, f"the entry point {point.value}", partial(_from_entry_point, point))


def _is_of(package: ModuleType | None, folder: Path) -> bool:
    return package is not None and folder.resolve() in {Path(path).resolve() for path in package.__path__}


def find_studies(package: ModuleType | None = None, folder: Path | None = None) -> Registry:
    """Find the studies of a package, of a folder, and of the entry point group ``metastable.studies``.

    Parameters
    ----------
    package : module or None
        A package each of whose modules defines ``STUDY``; modules whose name begins with an
        underscore are left out.
    folder : Path or None
        A folder of files each of which defines ``STUDY``, read likewise. It adds nothing where it is missing, or is the
        package's own.

    Returns
    -------
    Registry
        One broken file stops nobody from using the others: it is listed among the problems.
    """
    sources = [*(_of_package(package) if package is not None else ())]
    hints: tuple[str, ...] = ()
    if folder is not None and folder.is_dir() and not _is_of(package, folder):
        sources += _of_folder(folder)
        if (folder / "__init__.py").is_file():
            hints = (
                f"remove {folder / '__init__.py'}: it makes Python take this folder for the whole package studies, so "
                "that python -m studies cannot start here",
            )
    sources += _of_installed()
    studies: dict[str, Study] = {}
    places: dict[str, str] = {}
    problems: dict[str, str] = {}
    for source in sources:
        try:
            study = source.load()
        except Exception as error:  # a user's file may raise anything: it is told, not hidden
            told = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            problems[source.name] = told
            continue
        if study.name in studies:
            problems[source.name] = (
                f"two studies are called {study.name!r}, in {places[study.name]} and in {source.place}; rename one of "
                "them"
            )
            continue
        studies[study.name], places[study.name] = study, source.place
    return Registry(dict(sorted(studies.items())), problems, hints)


def all_studies() -> Registry:
    """Find the shipped studies, those of the folder ``studies`` where the user stands, and the installed ones."""
    return find_studies(importlib.import_module(SHIPPED), Path(SHIPPED))
