"""What a covariate, the predictor of a slope and a change along it are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metastable.heads.contrasts import Contrast
from metastable.report.apa import listed
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = ["covariate_name", "held_clause", "per_unit", "predictor_of", "short_name"]


def covariate_name(covariate: str) -> str:
    """Return what a covariate is called for readers."""
    return COVARIATE_NAMES.get(covariate, covariate)


def short_name(covariate: str) -> str:
    """Return the same without what it is counted by."""
    return covariate_name(covariate).removesuffix(" per word")


def held_clause(options: Mapping[str, Any]) -> str:
    """Return the clause that names what is held fixed; empty if nothing is."""
    names = [short_name(name) for name in options["covariates"]]
    return f" with {listed(names)} held fixed" if names else ""


def per_unit(contrast: Contrast) -> str:
    """Return what a slope is the change over: the whole scale of a predictor scaled to 0..1, else its unit."""
    x, noun = predictor_of(contrast), covariate_name(contrast.formula)
    scaled = x.min() >= 0 and x.max() <= 1
    return f"over the whole scale of the {noun}, 0 to 1" if scaled else f"per unit of the {noun}"


def predictor_of(contrast: Contrast) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the continuous predictor of a contrast that has one, shape (n_units,)."""
    if contrast.predictor is None:
        raise TypeError("the contrast has no continuous predictor")
    return contrast.predictor
