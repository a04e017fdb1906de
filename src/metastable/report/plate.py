"""Plates: the entries of a report's table of figures, each with its alternative text, its caption and its section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from metastable.errors import InputError, did_you_mean
from metastable.figures.save import save_figure
from metastable.report.markdown import as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metastable.figures.saving_beside import Save
    from metastable.figures.style import Drawing

__all__ = ["Given", "Part", "PlacedPlate", "Plate", "draw_named", "given", "markdown", "placed_plates", "save_plates"]

R = TypeVar("R")


@dataclass(frozen=True)
class Given:
    """The arguments of a figure function and of its alternative text.

    Attributes
    ----------
    args : tuple
    kwargs : mapping of str to object
    looks : mapping of str to object
        Keyword arguments that only the picture takes, or takes otherwise: a title, the limits of a scale.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    looks: Mapping[str, Any] = field(default_factory=dict)

    def looking(self, **looks: Any) -> Given:
        """Return the same with arguments that only the picture takes."""
        return Given(self.args, self.kwargs, {**self.looks, **looks})


def given(*args: Any, **kwargs: Any) -> Given:
    """Return arguments as they would be written in a call of the figure function."""
    return Given(args, kwargs)


@dataclass(frozen=True)
class Part(Generic[R]):
    """What one figure of a plate is drawn from: the whole result, or one attention site of it.

    Attributes
    ----------
    result : R
        The result, narrowed to the part.
    ending : str
        Stands behind the plate's stem in the names of the files, so that no two parts share one.
    note : str
        Stands behind the caption: " Site: self."
    section : str
        Key of the section where the part stands; the plate's own if empty.
    """

    result: R
    ending: str = ""
    note: str = ""
    section: str = ""


def _whole(result: R) -> Sequence[Part[R]]:
    return (Part(result),)


def _always(_: Any) -> bool:
    return True


@dataclass(frozen=True)
class Plate(Generic[R]):
    """One entry of a report's table of figures; R is what the report is made from.

    Attributes
    ----------
    stem : str
        Name of its files without ending.
    section : str
        Key of the section that it stands in.
    drawing : Drawing
        The figure function, which knows its alternative text.
    given : callable
        ``given(result)`` returns the arguments of `drawing`.
    caption : callable
        ``caption(result)`` says what the reader looks at.
    applies : callable
        ``applies(result)`` tells whether the report has this figure; always unless told.
    parts : callable
        ``parts(result)`` returns the parts that are drawn one by one, each with its file: one for each attention site,
        for instance. The whole result is one part unless told. All other functions are asked of a part's result,
        `applies` of the whole.
    folded : str
        Under these words the figure is folded away, with those beside it that have the same; empty for one in sight.
    early : bool
        Whether it is drawn from what is known before the last tests are done, so that it can be saved while they run.
    """

    stem: str
    section: str
    drawing: Drawing[...]
    given: Callable[[R], Given]
    caption: Callable[[R], str]
    applies: Callable[[R], bool] = _always
    parts: Callable[[R], Sequence[Part[R]]] = _whole
    folded: str = ""
    early: bool = False

    def draw(self, result: R) -> Figure:
        """Draw the figure."""
        arguments = self.given(result)
        return self.drawing(*arguments.args, **{**arguments.kwargs, **arguments.looks})

    def alt(self, result: R) -> str:
        """Say what the figure shows, for those who cannot see it: the finding, in one or two sentences."""
        arguments = self.given(result)
        return self.drawing.alt(*arguments.args, **arguments.kwargs)


@dataclass(frozen=True)
class PlacedPlate(Generic[R]):
    """One figure of one report: a plate and the part of the result that it is drawn from.

    Attributes
    ----------
    plate : Plate
    part : Part
    """

    plate: Plate[R]
    part: Part[R]

    @property
    def stem(self) -> str:
        """Name of its files without ending."""
        return self.plate.stem + self.part.ending

    @property
    def section(self) -> str:
        """Key of the section that it stands in."""
        return self.part.section or self.plate.section

    @cached_property
    def alt(self) -> str:
        """Its alternative text, worked out once for the file and the page."""
        return self.plate.alt(self.part.result)

    @property
    def caption(self) -> str:
        """Its caption."""
        return self.plate.caption(self.part.result) + self.part.note

    def draw(self) -> Figure:
        """Draw the figure."""
        return self.plate.draw(self.part.result)

    def drawing(self) -> Callable[[], Figure]:
        """Return a function that draws the figure and can be handed to another process."""
        arguments = self.plate.given(self.part.result)
        return partial(self.plate.drawing, *arguments.args, **{**arguments.kwargs, **arguments.looks})


def placed_plates(table: Sequence[Plate[R]], result: R) -> list[PlacedPlate[R]]:
    """Return the figures that a result's report has, in the order of the table, none of them drawn yet.

    Parameters
    ----------
    table : sequence of Plate
    result : R

    Returns
    -------
    list of PlacedPlate
    """
    return [PlacedPlate(plate, part) for plate in table if plate.applies(result) for part in plate.parts(result)]


def draw_named(name: str, plates: Sequence[PlacedPlate[Any]]) -> Figure:
    """Draw the figure of a report that bears a name.

    Parameters
    ----------
    name : str
        The stem of its files.
    plates : sequence of PlacedPlate
        All figures of the report.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is none of that name, with the nearest one and all there are.
    """
    named = {plate.stem: plate for plate in plates}
    if name not in named:
        raise InputError(f"there is no figure {name!r}; {did_you_mean(name, named)}the figures are: {', '.join(named)}")
    return named[name].draw()


def save_plates(
    plates: Sequence[PlacedPlate[Any]],
    folder: Path,
    advance: Callable[[int, int], None],
    save: Save = save_figure,
) -> None:
    """Draw the figures and save each as svg and png under ``folder/figures``.

    Parameters
    ----------
    plates : sequence of PlacedPlate
    folder : Path
        Of the report.
    advance : callable
        Told of progress as ``f(done, total)``.
    save : callable
        Saves a figure, or hands it to a process that will (`metastable.figures.saving_beside`).
    """
    for done, plate in enumerate(plates):
        advance(done, len(plates))
        save(plate.drawing(), folder / "figures", plate.stem, alt=plate.alt)
    advance(len(plates), len(plates))


def markdown(plate: PlacedPlate[Any]) -> str:
    """Return the Markdown that shows a figure, its caption under it."""
    return f"![{as_text(plate.alt)}](figures/{plate.stem}.png)\n\n*{as_text(plate.caption)}*"
