"""The tests of a report over items and contexts, in the place of those over units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metastable.stats.analysis import Family, Ingredients, Settings
from metastable.stats.bayes import PRIORS, log_effective_bayes_factor
from metastable.stats.contexts.crossed_test import crossed_equivalence, crossed_parts, from_parts
from metastable.stats.contexts.rotations import rotate_parts
from metastable.stats.effects import EffectSize
from metastable.stats.permutations.permutation import PermutationResult
from metastable.stats.permutations.relabelings import COUNTED

__all__ = ["Observations", "generalized"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observations:
    """Every observation of a design with contexts.

    Attributes
    ----------
    values : ndarray of float64, shape (n_observations, n_features)
        Its values.
    condition : ndarray of bool, shape (n_observations,)
        True for condition a.
    item, context : ndarray of int, shape (n_observations,)
        Codes.
    names : tuple of str
        What an item and what a context is called in a formula.
    measure : str
        What a value is called there.
    """

    values: Floats
    condition: NDArray[np.bool_]
    item: NDArray[np.intp]
    context: NDArray[np.intp]
    names: tuple[str, str] = ("item", "context")
    measure: str = "value"

    def named(self, formula: str) -> str:
        """Write the names of this design into the formula of `crossed_test`."""
        item, context = self.names
        for generic, own in (("| item)", f"| {item})"), ("| context)", f"| {context})")):
            formula = formula.replace(generic, own)
        value, right = formula.split(" ~ ")
        outcome = self.measure if value == "value" else f"difference of {self.measure}"
        return f"{outcome} ~ {right}"


def generalized(found: Ingredients, observations: Observations, family: Family, settings: Settings) -> Ingredients:
    """Put tests over items and contexts in the place of those over units.

    Parameters
    ----------
    found : Ingredients
        Of the tests over units.
    observations : Observations
        What both are made from.
    family : Family
        The features.
    settings : Settings
        Choices made before looking.

    Returns
    -------
    Ingredients
        Estimate, interval and size are those of the mixed model over both (`crossed_test`), p-values of single
        features, of families and of groups those of `crossed_family_test`, the equivalence test two one-sided tests of
        the same t, the Bayes factor that of the same t with as many units as would give its standard error. F1, F2,
        min F' and the interaction stand beside. The bootstrap over units is left out; the probability of superiority
        still describes the units.

    Raises
    ------
    InputError
        As `crossed_test`.
    """
    parts = crossed_parts(observations.values, observations.condition, observations.item, observations.context)
    test = from_parts(parts)
    rotated = rotate_parts(
        parts,
        family=family.codes,
        omnibus=family.omnibus,
        n_rotations=settings.n_permutations,
        alpha=settings.alpha,
        rng=settings.seed,
    )
    spread = (test.se > 0) & np.isfinite(test.se)
    n_effective = np.divide(test.standardizer, test.se, out=np.zeros_like(test.se), where=spread) ** 2
    permutation = PermutationResult(
        statistic=np.where(test.flat, 0.0, test.statistic),
        p_perm=rotated.p,
        p_fwer=rotated.p_fwer,
        p_fwer_stepdown=rotated.p_fwer_stepdown,
        n_permutations=rotated.n_rotations,
        exact=False,
        flat=test.flat,
        omnibus=rotated.omnibus,
        n_distinct=COUNTED,
    )
    return replace(
        found,
        estimate=EffectSize(test.estimate, test.low, test.high, test.flat),
        size=EffectSize(test.g, test.g_low, test.g_high, test.flat),
        permutation=permutation,
        log_bf10={
            scale: log_effective_bayes_factor(permutation.statistic, n_effective, test.dof, scale=scale)
            for scale in PRIORS
        },
        p_tost=crossed_equivalence(test, margin=settings.margin),
        beside_size={},
        over_contexts=observations.named(test.formula),
        mixed={
            "estimate": test.estimate,
            "se": test.se,
            "dof": test.dof,
            "p_value": test.p,
            "singular": test.singular,
            "converged": test.converged,
        },
        beside_tests={
            "f_items": test.f_items,
            "p_items": test.p_items,
            "f_contexts": test.f_contexts,
            "p_contexts": test.p_contexts,
            "min_f": test.min_f,
            "p_min_f": test.p_min_f,
            "f_interaction": test.f_interaction,
            "p_interaction": test.p_interaction,
        },
    )
