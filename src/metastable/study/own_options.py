"""A study's own options beside those of every study, and values for all of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from metastable.errors import InputError, did_you_mean
from metastable.study.definition import Study
from metastable.study.entries import Option
from metastable.study.options import COMMON_OPTIONS, LEAST_RELABELINGS, MOST_RELABELINGS, Options, check_option

__all__ = ["check_options", "options_for", "options_of"]


def options_of(study: Study) -> tuple[Option, ...]:
    """Return a study's own options, then the common ones that it does not declare anew with another default.

    What a common option affects is not the study's to say, so that one declared anew keeps it.
    """
    common = {entry.name: entry for entry in COMMON_OPTIONS}
    own = [
        replace(entry, affects=known.affects, group=known.group, varies=known.varies)
        if (known := common.get(entry.name)) is not None
        else entry
        for entry in study.options
    ]
    taken = {entry.name for entry in own}
    return (*own, *(_saying_whats_own(entry, study) for entry in COMMON_OPTIONS if entry.name not in taken))


def _saying_whats_own(entry: Option, study: Study) -> Option:
    """Let the entry of the measure say which is the study's own."""
    if entry.name != "measure":
        return entry
    return replace(entry, help=f"{entry.help}; the study's own is {study.measure}")


def options_for(study: Study, /, **given: Any) -> Options:
    """Return the options of a run of a study: the values given, checked as if they had been typed, and the defaults.

    Parameters
    ----------
    study : Study
    **given
        Values by name: ``k=500, max_length=20, permutations=1000``.

    Returns
    -------
    Options

    Raises
    ------
    InputError
        If the study has no option of a name, with the nearest one, or a value will not do, with what would.
    """
    entries = {entry.name: entry for entry in options_of(study)}
    for name in given:
        if name not in entries:
            raise InputError(
                f"{study.name} has no option {name!r}; {did_you_mean(name, entries)}its options are: "
                f"{', '.join(entries)}"
            )
    return Options.of(
        {name: check_option(entry, given[name]) if name in given else entry.default for name, entry in entries.items()}
    )


def check_options(study: Study, options: Options) -> None:
    """Refuse options that cannot go together, before anything heavy is loaded.

    Parameters
    ----------
    study : Study
        Whose own check is asked as well.
    options : Options

    Raises
    ------
    InputError
        If so few permutations leave no p-value that reaches the significance level, if no number of them does that can
        be held, or if the study refuses.
    """
    smallest = 1 / (MOST_RELABELINGS + 1)
    if options.alpha < smallest:
        raise InputError(
            f"--alpha {options.alpha:g}: no p-value of {MOST_RELABELINGS:,} permutations, the most that can be held, "
            f"reaches it; give {smallest:.2g} or more"
        )
    least = 1 / (options.permutations + 1)
    if least >= options.alpha:
        raise InputError(
            f"--permutations {options.permutations}: p is at least {least:.2g} then and never below --alpha "
            f"{options.alpha:g}; give {math.floor(1 / options.alpha + 1e-9):,} permutations or more"
        )
    if options.permutations < LEAST_RELABELINGS:
        raise InputError(
            f"--permutations {options.permutations}: too few to say anything of; give {LEAST_RELABELINGS} or more"
        )
    if study.check is not None:
        study.check(options)
