"""Which features carry a planted effect, for simulations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import label_codes

__all__ = ["check_share", "family_codes", "plant_effects"]


def check_share(share: float) -> None:
    """Refuse a share of features outside (0, 1]."""
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; give the share of features with an effect, above 0 and at most 1")


def family_codes(family: ArrayLike | None, n_features: int) -> NDArray[np.intp]:
    """Return the number of each feature's family, from 0; without families all features are one.

    Parameters
    ----------
    family : array_like, shape (n_features,), or None
        Label of each feature's family.
    n_features : int
        Features that there must be.

    Returns
    -------
    ndarray of int, shape (n_features,)

    Raises
    ------
    InputError
        If the shape does not fit or a label is missing.
    """
    if family is None:
        return np.zeros(n_features, dtype=np.intp)
    return label_codes("family", family, n_features, each="feature")


def plant_effects(
    eligible: NDArray[np.bool_], families: NDArray[np.intp], share: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Choose features of each family at random, and a direction for each.

    Parameters
    ----------
    eligible : ndarray of bool, shape (n_features,)
        Features that may be chosen.
    families : ndarray of int, shape (n_features,)
        Family of each feature.
    share : float
        Share of a family's eligible features to choose; at least one is.
    rng : numpy.random.Generator
        Source of the choice.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        1 or -1 for the chosen, 0 for the others.
    """
    sign = np.zeros(len(eligible))
    for code in np.unique(families[eligible]):
        members = np.flatnonzero(eligible & (families == code))
        chosen = rng.choice(members, size=max(1, round(share * len(members))), replace=False)
        sign[chosen] = rng.choice([-1.0, 1.0], size=len(chosen))
    return sign
