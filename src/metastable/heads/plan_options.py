"""The options of a plan: how many units find an effect, before there are data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metastable.errors import InputError
from metastable.study import Options, Study
from metastable.study.entries import as_field, declared_options, option
from metastable.study.options import common_option, fraction, natural, positive

__all__ = ["FORMULA_ALONE", "PLAN_OPTIONS", "PlanOptions", "chosen_plan", "pilot_folder", "require_plannable"]

_CHOSEN = "options of the plan"

FORMULA_ALONE = "none"
"""Given for the pilot: plan without one."""


def _size(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number") from None
    if not math.isfinite(value) or value <= 0:
        raise InputError("no number of units finds an effect of that size; give one above 0, such as 0.3")
    return value


def _chance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number") from None
    if not 0 < value < 1:
        raise InputError("no number of units finds an effect always, or never; give a power between 0 and 1, as 0.8")
    return value


def _alike(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number") from None
    if not -1 < value < 1:
        raise InputError("a correlation of partners lies between -1 and 1; give one such as 0.5")
    return value


def _several(text: str) -> int:
    value = natural(text)
    if value < 2:
        raise InputError("one context cannot stand for others; give at least 2")
    return value


def _enough(text: str) -> int:
    value = natural(text)
    if value < 100:
        raise InputError(f"{text} samples are too few; give at least 100, better 400")
    return value


@dataclass(frozen=True)
class PlanOptions:
    """What was chosen for a plan; each field's entry says what it is."""

    effect: tuple[float, ...] = option(
        (),
        _size,
        "sizes of effects to find, in Hedges' g, of a slope in d (none: the smallest that the study's claims name, or "
        "its "
        "margin)",
        many=True,
        affects="tests",
        group=_CHOSEN,
    )
    power: float = option(
        0.8, _chance, "how often an effect of that size is to be found", affects="tests", group=_CHOSEN
    )
    alpha: float = as_field(common_option("alpha", group=_CHOSEN))
    correction: str = as_field(common_option("correction", group=_CHOSEN))
    share: float = option(
        0.1, fraction, "share of the heads that have the effect, at least one head", affects="tests", group=_CHOSEN
    )
    pilot: str | None = option(
        None,
        str,
        "folder of a finished run of the study, whose heads tell how they vary and go together (none: the one in "
        "--out, "
        f"if there is one); {FORMULA_ALONE} plans by formula alone",
        affects="tests",
        group=_CHOSEN,
    )
    ratio: float | None = option(
        None, positive, "units of the second condition for each of the first (none: as in the pilot, or 1)",
        affects="tests", group=_CHOSEN,
    )  # fmt: skip
    partners: float = option(
        0.5, _alike, "correlation of partners, in a paired study without a pilot", affects="tests", group=_CHOSEN
    )
    heads: int | None = option(
        None, natural, "heads that are tested together, without a pilot (none: those of the study's model)",
        affects="tests", group=_CHOSEN,
    )  # fmt: skip
    per_cluster: int | None = option(
        None, natural, "texts of each cluster (none: as in the pilot)", affects="tests", group=_CHOSEN
    )
    contexts: tuple[int, ...] = option(
        (), _several, "contexts that carry the items (none: as in the pilot, and twice as many)", many=True,
        affects="tests", group=_CHOSEN,
    )  # fmt: skip
    permutations: int = as_field(common_option("permutations", group=_CHOSEN))
    simulations: int = option(400, _enough, "samples drawn at each size", affects="tests", group=_CHOSEN)
    seed: int = as_field(common_option("seed", affects="tests", group=_CHOSEN))
    out: str = option("reports", str, "folder that holds the study's folder, and receives the plan there",
                      affects="nothing", group=_CHOSEN)  # fmt: skip


PLAN_OPTIONS = declared_options(PlanOptions)


def chosen_plan(study: Study, typed: Mapping[str, Any], recorded: Options | None, margin: float) -> PlanOptions:
    """Return the options of a plan: as given, else as the pilot tested.

    Parameters
    ----------
    study : Study
        Whose claims may name the smallest effect.
    typed : mapping of str to object
        Values that were given.
    recorded : Options or None
        Of the pilot.
    margin : float
        The study's smallest effect of interest.

    Returns
    -------
    PlanOptions
        With at least one effect.

    Raises
    ------
    InputError
        If the power is not above alpha.
    """
    values = {entry.name: entry.default for entry in PLAN_OPTIONS}
    if recorded is not None:
        values |= {name: getattr(recorded, name) for name in ("alpha", "correction")}
    values |= typed
    if not values["effect"]:
        claimed = [claim.smallest_effect for claim in study.claims if claim.smallest_effect > 0]
        values["effect"] = (min(claimed) if claimed else margin,)
    if values["power"] <= values["alpha"]:
        raise InputError(
            f"--power {values['power']:g}: a test at --alpha {values['alpha']:g} finds as much where there is nothing; "
            "give more, such as 0.8"
        )
    return PlanOptions(**values)


def pilot_folder(name: str, given: str | None, out: str) -> Path | None:
    """Return the folder of the pilot: the one given, else that of the study's finished run; None for none.

    Parameters
    ----------
    name : str
        Of the study.
    given : str or None
        What was given for the pilot.
    out : str
        Folder that holds the study's.

    Returns
    -------
    Path or None
        None too where the study's own folder holds a report without its cube, as git keeps it.

    Raises
    ------
    InputError
        If the one given is no finished run.
    """
    if given == FORMULA_ALONE:
        return None
    folder = Path(out) / name if given is None else Path(given)
    if (folder / "run.json").is_file() and (folder / "counts.zarr").is_dir():
        return folder
    if given is None:
        return None
    if (folder / "run.json").is_file():
        raise InputError(
            f"--pilot {given}: its cube, counts.zarr, is gone, which holds what heads did with each text; run it "
            f"again, or give {FORMULA_ALONE}"
        )
    raise InputError(f"--pilot {given}: no finished run lies there; give the folder of one, or {FORMULA_ALONE}")


def require_plannable(
    study: Study, roles: Collection[str], pilot: Path | None, given: Mapping[str, Any], *, command: str
) -> None:
    """Refuse a plan that only a pilot can make, and options that ask for what the design does not have.

    Parameters
    ----------
    study : Study
    roles : collection of str
        Of the columns of a table of texts; empty for another study.
    pilot : Path or None
    given : mapping of str to object
        Values of `PlanOptions` that were given.
    command : str
        What runs the study.

    Raises
    ------
    InputError
        Saying what a pilot would tell, or which option to leave out.
    """
    design = study.design
    has_contexts = design.context != "context" or "context" in roles
    crossed = has_contexts and (design.paired or design.clustered)
    if given.get("per_cluster") is not None and (not design.clustered or design.paired):
        raise InputError(f"--per-cluster: the units of {study.name} are no clusters of texts; leave it out")
    if given.get("contexts") and not crossed:
        raise InputError(f"--contexts: {study.name} has no items in contexts; leave it out")
    if pilot is not None:
        for name in ("heads", "partners"):
            if name in given:
                raise InputError(f"--{name}: the pilot in {pilot} tells it; leave it out, or give --pilot none")
        return
    lacking = ""
    if crossed:
        lacking = "how much the effect varies over items and contexts"
    elif design.factor is not None:
        lacking = "how the cells of two factors go together within a unit"
    elif design.clustered:
        lacking = "how alike the texts of a cluster are"
    if lacking:
        raise InputError(
            f"{study.name} cannot be planned by formula, since only a pilot tells {lacking}; run a small one "
            f"({command}) "
            "and plan from its folder, by --pilot FOLDER"
        )
