"""The axes of a sweep: which options may take several values, and the product of their lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from metastable.errors import InputError
from metastable.measures import COUNT, measure_named
from metastable.program import typed
from metastable.stats.effect_kinds import CONTEXT_COLUMNS, EFFECTS, head_columns
from metastable.study import Option, Options, Study
from metastable.study.options import COMMON_OPTIONS, MODEL, THE_STUDYS_OWN, parse_option
from metastable.study.own_options import options_of

__all__ = ["Axis", "combinations", "level_text", "read_sweep", "setting_text", "sweep_options"]

_COLUMNS = frozenset([*CONTEXT_COLUMNS, *(name for effect in EFFECTS for name in head_columns(effect))])
_RESERVED = (_COLUMNS | {"setting"}) - {"threshold", "measure"}


@dataclass(frozen=True)
class Axis:
    """An option that takes several values.

    Attributes
    ----------
    name : str
        The option's name, which is also its column in the tables.
    levels : tuple
        Its values, at least two, in the order given.
    """

    name: str
    levels: tuple[Any, ...]

    @property
    def flag(self) -> str:
        """What is typed: ``--max-length``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def title(self) -> str:
        """What the axis is called for readers."""
        return self.name.replace("_", " ")


def sweep_options(study: Study) -> tuple[Option, ...]:
    """Return the options of a study's sweep: all of the study's but the joint model of a single run."""
    return tuple(option for option in options_of(study) if option.name != "joint")


def _levels(option: Option, given: str | Sequence[str]) -> tuple[Any, ...]:
    """Parse a list of values, each of them once."""
    words = [given] if isinstance(given, str) else list(given)
    texts = [part.strip() for word in words for part in str(word).split(",") if part.strip()]
    if not texts:
        raise InputError(f"{option.flag} needs at least one value")
    one = replace(option, many=False)
    values: list[Any] = []
    for text in texts:
        value = None if text == "none" and option.default is None else parse_option(one, text)
        if value in values:
            raise InputError(f"{option.flag} {text} is given twice; give each value once")
        values.append(value)
    return tuple(values)


def read_sweep(study: Study, given: Mapping[str, Any]) -> tuple[Options, tuple[Axis, ...]]:
    """Turn what was given on the command line into the values of options and the axes.

    Parameters
    ----------
    study : Study
    given : mapping of str to list of str, str, bool or None
        What was given for each option; a list of one value is no axis.

    Returns
    -------
    options : Options
        Of an axis the first value, but where an option has several values of itself (``threshold``) all of them.
    axes : tuple of Axis
        The model's first and the threshold last, so that neighbouring settings share what they can.

    Raises
    ------
    InputError
        If no option has several values, a value is wrong or given twice, or an axis has the name of a column.
    """
    values: dict[str, Any] = {option.name: option.default for option in options_of(study)}
    axes: list[Axis] = []
    for option in sweep_options(study):
        text = given.get(option.name)
        if option.kind is bool:
            values[option.name] = bool(text)
        elif text is not None and option.may_vary:
            levels = _levels(option, text)
            values[option.name] = levels if option.many else levels[0]
            if len(levels) > 1:
                axes.append(Axis(option.name, levels))
        elif text is not None:
            free_text = option.kind is str and not option.choices
            if not option.many and not free_text and "," in str(text):
                raise InputError(f"{option.flag} {text}: give one value, which holds for the whole sweep")
            values[option.name] = parse_option(option, text)
    for axis in axes:
        if axis.name in _RESERVED:
            raise InputError(f"{axis.flag} cannot be an axis: heads.csv has a column of that name; rename the option")
    if not axes:
        raise InputError(
            "a sweep needs an option with several values, such as --threshold 0.5,0.9; one setting is run by "
            f"{typed(study.name)}"
        )
    options = Options.of(values)
    measures = next((axis.levels for axis in axes if axis.name == "measure"), ())
    if THE_STUDYS_OWN in measures:
        raise InputError(
            f"--measure {THE_STUDYS_OWN} cannot be one of several; name the study's own measure, {study.measure}"
        )
    if len(options.threshold) > 1:
        measures = measures or (study.measure if options.measure == THE_STUDYS_OWN else options.measure,)
        other = next((measure for measure in measures if not measure_named(measure).of_threshold), None)
        if other is not None:
            raise InputError(
                f"--threshold: the measure {other} depends on no threshold; give one threshold, or measures that do, "
                f"such as {COUNT.name}"
            )
    return options, tuple(sorted(axes, key=_place))


def _place(axis: Axis) -> int:
    of_model = [entry.name for entry in COMMON_OPTIONS if entry.group == MODEL]
    if axis.name in of_model:
        return of_model.index(axis.name) - len(of_model)
    return int(axis.name == "threshold")


def combinations(axes: Iterable[Axis]) -> tuple[dict[str, Any], ...]:
    """Return the product of the axes, the last one moving fastest; one empty combination without axes."""
    named = tuple(axes)
    return tuple(
        dict(zip((axis.name for axis in named), values, strict=True))
        for values in product(*(axis.levels for axis in named))
    )


def level_text(value: Any) -> str:
    """Write one value of an axis."""
    if value is None or value != value:  # a missing cell of a table is NaN
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_text(levels: Mapping[str, Any]) -> str:
    """Name a setting: ``k = 300, max length = 20``; empty for the only one.

    Examples
    --------
    >>> setting_text({"k": 300, "max_length": None})
    'k = 300, max length = none'
    """
    return ", ".join(f"{name.replace('_', ' ')} = {level_text(value)}" for name, value in levels.items())
