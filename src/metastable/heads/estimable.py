"""Whether the units of a contrast can hold covariates fixed: known before anything is measured."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metastable.errors import InputError
from metastable.heads.contrasts import Contrast
from metastable.stats.adjustment import difference_design
from metastable.stats.contexts.crossed_test import crossed_parts, crossed_slope_parts
from metastable.stats.single_units import holdable
from metastable.stats.slope import fit_slopes

__all__ = ["require_estimable"]


def require_estimable(contrast: Contrast, names: tuple[str, ...]) -> None:
    """Refuse covariates that the tests of a contrast cannot hold fixed.

    Parameters
    ----------
    contrast : Contrast
    names : tuple of str
        Covariates of the contrast that are to be held fixed.

    Raises
    ------
    InputError
        If a single unit determines the coefficient of a covariate, if the condition or the predictor explains one, or
        if there are more of them than the units can carry.
    """
    if not names:
        return
    crossing = contrast.crossing
    recorded = (contrast.covariates if crossing is None else crossing.covariates)[list(names)]
    # What a design refuses does not depend on the values of its features.
    values = np.random.default_rng(0).normal(size=(len(recorded), 1))

    def fit(held: pd.DataFrame) -> None:
        if crossing is not None and crossing.predictor is not None:
            crossed_slope_parts(values, crossing.predictor, crossing.item, crossing.context, covariates=held)
        elif crossing is not None:
            crossed_parts(values, crossing.condition, crossing.item, crossing.context, covariates=held)
        elif contrast.predictor is not None:
            fit_slopes(values, contrast.predictor, held.to_numpy(dtype=np.float64))
        else:
            difference_design(values, contrast.condition, held, pair=contrast.pair).adjusted()

    found = holdable(recorded, fit)
    if found.single:
        unit = contrast.unit if crossing is None else f"{crossing.item_name} or {crossing.context_name}"
        raise InputError(
            f"--covariates {found.single[0]}: a single {unit} would decide its coefficient, whose error could not be "
            "estimated; leave the covariate out"
        )
    if found.reason:
        raise InputError(f"--covariates {' '.join(names)}: {found.reason}")
