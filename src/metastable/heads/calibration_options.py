"""The options of a calibration: its own, and those of the study's run whose counts it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metastable.errors import InputError
from metastable.study import Option, Options, Study
from metastable.study.entries import as_field, declared_options, option
from metastable.study.options import COMMON_OPTIONS, common_option, fraction, natural, positive
from metastable.study.own_options import options_of

__all__ = ["CalibrationOptions", "calibration_options", "chosen_options", "counts_as_recorded", "inherited_options"]

_CHOSEN = "options of the calibration"


@dataclass(frozen=True)
class CalibrationOptions(Options):
    """What was chosen for a calibration; each field's entry says what it is.

    Of how the study itself tests (`correction`, `covariates`) a calibration uses nothing: it runs every test with every
    correction on halves of one condition.
    """

    # thousands of tests want fewer relabelings each, but enough for a lone head of hundreds to pass a correction
    permutations: int = as_field(common_option("permutations", default=5000, group=_CHOSEN))
    alpha: float = as_field(common_option("alpha", group=_CHOSEN))
    margin: float = as_field(common_option("margin", group=_CHOSEN))
    joint: bool = as_field(
        common_option("joint", help="also try the joint model of all heads (slow: one fit a division)", group=_CHOSEN)
    )
    side: str = option(
        "a",
        str,
        "the condition that is divided: the first (a) or the second (b)",
        choices=("a", "b"),
        affects="tests",
        group=_CHOSEN,
    )
    repack: bool = option(
        False,
        bool,
        "draw the words themselves into two lists and pack and read them anew each time, instead of dividing finished "
        "sequences: the type I error of the whole instrument",
        affects="tests",
        group=_CHOSEN,
    )
    splits: int = option(200, natural, "how many random divisions, or draws", affects="tests", group=_CHOSEN)
    shift: float = option(
        0.5, positive, "the planted shift, in standard deviations over units", affects="tests", group=_CHOSEN
    )
    share: float = option(0.1, fraction, "share of the heads in which it is planted", affects="tests", group=_CHOSEN)


def calibration_options() -> tuple[Option, ...]:
    """Return the entries that the calibration declares itself, alone or anew."""
    return tuple(entry for entry in declared_options(CalibrationOptions) if entry.group == _CHOSEN)


def inherited_options(study: Study) -> tuple[Option, ...]:
    """Return the options of a study that a calibration offers: those that say what is counted, where and how fast.

    Raises
    ------
    InputError
        If an option of the study's own has the name of one of the calibration.
    """
    for entry in study.options:
        if entry.name in {mine.name for mine in calibration_options()} - {common.name for common in COMMON_OPTIONS}:
            raise InputError(f"{study.name} has an option {entry.flag}, which calibrate uses itself; rename it")
    return tuple(entry for entry in options_of(study) if entry.affects != "tests")


def chosen_options(study: Study, typed: Mapping[str, Any], recorded: Options | None) -> CalibrationOptions:
    """Return the options of a calibration: as given, else as in the study's last run, so that its counts serve.

    Parameters
    ----------
    study : Study
    typed : mapping of str to object
        Values that were given.
    recorded : Options or None
        Of the run whose report lies in the study's folder; None where there is none.

    Returns
    -------
    CalibrationOptions
        Neither where the run wrote and how fast it went is taken from it, nor what has another default here.
    """
    own = {entry.name: entry.default for entry in calibration_options()}
    values = {entry.name: entry.default for entry in options_of(study)} | own
    kept = {} if recorded is None else recorded.values()
    for entry in options_of(study):
        alike = own.get(entry.name, entry.default) == entry.default
        if entry.name in kept and entry.affects != "nothing" and alike:
            values[entry.name] = kept[entry.name]
    return CalibrationOptions.of({**values, **typed})


def counts_as_recorded(study: Study, options: Options, recorded: Options | None) -> bool:
    """Say whether options ask for the counts that a run recorded; so they do where there was none."""
    if recorded is None:
        return True
    wanted, known = options.values(), recorded.values()
    names = [entry.name for entry in options_of(study) if entry.affects == "counts"]
    return all(name in known and known[name] == wanted[name] for name in names)
