"""What a report says beside the plain difference, tried on halves in which it is known to be false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.stats.correlation import slope_design
from metastable.stats.equivalence import equivalence_test
from metastable.stats.mixed_models.joint import fit_joint_model
from metastable.stats.permutations.permutation import permutation_test, permutation_test_contrast
from metastable.stats.simulation.context_splits import APART, MOVES
from metastable.stats.simulation.halves import Split

__all__ = ["FURTHER", "Further", "further_tests", "joint_tests"]

Floats = NDArray[np.float64]

#: What is tried, by name: two one-sided tests with the effect at the margin's boundary; the difference and the slope
#: beside a covariate that goes along with the halves (the predictor) and moves every feature; the slope of a predictor
#: that moves nothing; the tests over items and contexts of an effect that differs between contexts and is zero over
#: them, the same beside a covariate that goes along with the halves; and the tests of the joint model.
FURTHER = (
    "equivalence", "covariate", "slope", "slope with covariate", "contexts", "contexts with covariate", "joint",
)  # fmt: skip


@dataclass(frozen=True)
class Further:
    """What is tried, and how.

    Attributes
    ----------
    tests : tuple of str
        Of `FURTHER`.
    margin : float
        Smallest effect of interest.
    n_permutations : int
    """

    tests: tuple[str, ...] = ()
    margin: float = 0.2
    n_permutations: int = 1000

    def __post_init__(self) -> None:
        unknown = [name for name in self.tests if name not in FURTHER]
        if unknown:
            raise InputError(f"further has {unknown}; choose from {', '.join(FURTHER)}")


def further_tests(
    table: Floats, split: Split, deviation: Floats, families: NDArray[np.intp], further: Further, seed: int
) -> dict[str, Floats]:
    """P-values of every feature for what is false in it, by what is tried.

    Parameters
    ----------
    table : ndarray of float64, shape (n_units, n_features)
        Units of one condition.
    split : Split
        One random division of them.
    deviation : ndarray of float64, shape (n_features,)
        Standard deviation of each feature over the units.
    families : ndarray of int, shape (n_features,)
    further : Further
    seed : int
        Of the covariate, the predictor and the relabelings.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_features,)
        Without the tests over contexts, which are of other values, and without the joint model, whose tests are not of
        single features.
    """
    values, rng = table[split.rows], np.random.default_rng([seed, 1])
    noise, predictor = rng.normal(size=len(values)), rng.normal(size=len(values))
    found: dict[str, Floats] = {}
    relabeled: dict[str, Any] = {"family": families, "n_permutations": further.n_permutations, "rng": seed}
    if "equivalence" in further.tests:
        # to the side that chance chooses, since either bound may be passed
        sign = rng.choice([-1.0, 1.0], size=values.shape[1])
        at_margin = values + split.condition[:, None] * sign * further.margin * deviation
        found["equivalence"] = equivalence_test(at_margin, split.condition, margin=further.margin, pair=split.pair)
    if "covariate" in further.tests:
        covariate = noise + APART * split.condition
        result = permutation_test(
            values + MOVES * covariate[:, None] * deviation,
            split.condition,
            statistic="welch" if split.pair is None else "paired",
            pair=split.pair,
            covariates=covariate[:, None],
            **relabeled,
        )
        found["covariate"] = result.p_perm
    if "slope" in further.tests:
        design = slope_design(predictor, None)
        found["slope"] = permutation_test_contrast(values, design, [0.0, 1.0], **relabeled).p_perm
    if "slope with covariate" in further.tests:
        covariate = noise + 0.5 * predictor
        design = slope_design(predictor, covariate[:, None])
        moved = values + MOVES * covariate[:, None] * deviation
        found["slope with covariate"] = permutation_test_contrast(moved, design, [0.0, 1.0, 0.0], **relabeled).p_perm
    return found


def joint_tests(table: Floats, split: Split, layer: Sequence[int] | NDArray[np.integer]) -> dict[str, float]:
    """P-values of the joint model's tests, which are false in halves of one condition.

    Parameters
    ----------
    table : ndarray of float64, shape (n_units, n_features)
        Units of one condition, above 0.
    split : Split
        Without pairs.
    layer : sequence of int
        Layer of each feature.

    Returns
    -------
    dict of str to float
    """
    joint = fit_joint_model(np.log(table[split.rows]), split.condition, layer)
    return {
        "joint: condition by layer": float(joint.interaction.p_value),
        "joint: heads of a layer": float(joint.slope_p),
    }
