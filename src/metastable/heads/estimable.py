"""Whether the units of a contrast can hold covariates fixed: known before anything is measured."""

from __future__ import annotations

import numpy as np

from metastable.errors import InputError
from metastable.heads.contrasts import Contrast
from metastable.heads.head_tests import adjusting
from metastable.stats.contexts.generalized import Observations, holdable_over_both
from metastable.stats.difference import holdable_beside_difference
from metastable.stats.single_units import Holdable
from metastable.stats.slope import holdable_beside_slope

__all__ = ["require_estimable"]


def require_estimable(contrast: Contrast, names: tuple[str, ...]) -> None:
    """Refuse covariates that the tests of a contrast cannot hold fixed.

    Parameters
    ----------
    contrast : Contrast
    names : tuple of str
        Covariates that are to be held fixed.

    Raises
    ------
    InputError
        If the contrast has no covariate of a name, if a single unit determines the coefficient of one, if the condition
        or the predictor explains one, or if there are more of them than the units can carry.
    """
    adjusting(contrast, names)
    found = _holdable(contrast, names) if names else Holdable(None)
    if found.single:
        unit = contrast.unit if contrast.crossing is None else contrast.crossing.either
        raise InputError(
            f"--covariates {found.single[0]}: a single {unit} would decide its coefficient, whose error could not be "
            "estimated; leave the covariate out"
        )
    if found.reason:
        raise InputError(f"--covariates {' '.join(names)}: {found.reason}")


def _holdable(contrast: Contrast, names: tuple[str, ...]) -> Holdable:
    crossing = contrast.crossing
    recorded = (contrast.covariates if crossing is None else crossing.covariates)[list(names)]
    # What a design refuses does not depend on the values of its features.
    values = np.random.default_rng(0).normal(size=(len(recorded), 1))
    if crossing is not None:
        return holdable_over_both(
            Observations(
                values,
                crossing.condition,
                crossing.item,
                crossing.context,
                recorded=recorded,
                predictor=crossing.predictor,
            )
        )
    if contrast.predictor is not None:
        return holdable_beside_slope(values, contrast.predictor, recorded)
    return holdable_beside_difference(values, contrast.condition, recorded, pair=contrast.pair)
