"""The axes of a sweep: which options may take several values, and the product of their lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from metastable.errors import InputError
from metastable.measures import COUNT, measure_named
from metastable.stats.effect_kinds import EFFECTS, head_columns
from metastable.study import Option, Study
from metastable.study.options import options_of, parse_option

__all__ = ["Axis", "combinations", "level_text", "may_vary", "read_sweep", "setting_text", "sweep_options"]

# The tests are one analysis: how they judge, and where and how fast the model runs, is one for the whole sweep.
_ONE_FOR_ALL = frozenset({"permutations", "alpha", "correction", "margin", "device", "batch_tokens", "out"})
_FIRST = ("model", "revision")
_COLUMNS = frozenset(name for effect in EFFECTS for name in head_columns(effect))
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
    def title(self) -> str:
        """What the axis is called for readers."""
        return self.name.replace("_", " ")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def may_vary(option: Option) -> bool:
    """Say whether an option may become an axis: one value, no switch, and no part of how the tests judge."""
    if option.name == "threshold":
        return True
    return option.kind is not bool and not option.many and option.name not in _ONE_FOR_ALL


def sweep_options(study: Study) -> tuple[Option, ...]:
    """Return the options of a study's sweep: all of the study's but the joint model of a single run."""
    return tuple(option for option in options_of(study) if option.name != "joint")


def _levels(option: Option, given: str | Sequence[str]) -> tuple[Any, ...]:
    """Parse a list of values, each of them once."""
    words = [given] if isinstance(given, str) else list(given)
    texts = [part.strip() for word in words for part in str(word).split(",") if part.strip()]
    if not texts:
        raise InputError(f"{_flag(option.name)} needs at least one value")
    one = replace(option, many=False)
    values: list[Any] = []
    for text in texts:
        value = None if text == "none" and option.default is None else parse_option(one, text)
        if value in values:
            raise InputError(f"{_flag(option.name)} {text} is given twice; give each value once")
        values.append(value)
    return tuple(values)


def read_sweep(study: Study, given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Axis, ...]]:
    """Turn what was given on the command line into the values of options and the axes.

    Parameters
    ----------
    study : Study
    given : mapping of str to list of str, str, bool or None
        What was given for each option; a list of one value is no axis.

    Returns
    -------
    options : dict
        Values of all options; of an axis its first value, and of ``threshold`` all of them.
    axes : tuple of Axis
        The model's first and the threshold last, so that neighbouring settings share what they can.

    Raises
    ------
    InputError
        If no option has several values, a value is wrong or given twice, or an axis has the name of a column.
    """
    options: dict[str, Any] = {"joint": False}
    axes: list[Axis] = []
    for option in sweep_options(study):
        text = given.get(option.name)
        if option.kind is bool:
            options[option.name] = bool(text)
        elif text is None:
            options[option.name] = option.default
        elif may_vary(option):
            values = _levels(option, text)
            options[option.name] = values if option.name == "threshold" else values[0]
            if len(values) > 1:
                axes.append(Axis(option.name, values))
        else:
            if not option.many and option.name != "out" and "," in str(text):
                raise InputError(f"{_flag(option.name)} {text}: give one value, which holds for the whole sweep")
            options[option.name] = parse_option(option, text)
    for axis in axes:
        if axis.name in _RESERVED:
            raise InputError(
                f"{_flag(axis.name)} cannot be an axis: heads.csv has a column of that name; rename the option"
            )
    if not axes:
        raise InputError(
            "a sweep needs an option with several values, such as --threshold 0.5,0.9; one setting is run by "
            f"python -m studies {study.name}"
        )
    if len(options["threshold"]) > 1:
        measures = next((axis.levels for axis in axes if axis.name == "measure"), (options["measure"],))
        other = next((measure for measure in measures if not measure_named(measure).of_threshold), None)
        if other is not None:
            raise InputError(
                f"--threshold: the measure {other} depends on no threshold; give one threshold, or measures that do, "
                f"such as {COUNT.name}"
            )
    return options, tuple(sorted(axes, key=_place))


def _place(axis: Axis) -> int:
    if axis.name in _FIRST:
        return _FIRST.index(axis.name) - len(_FIRST)
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
