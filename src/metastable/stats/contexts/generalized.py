"""The tests of a report over items and contexts, in the place of those over units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metastable.stats.analysis import Family, Ingredients, Progress, Settings
from metastable.stats.bayes import PRIORS, log_effective_bayes_factor
from metastable.stats.contexts.crossed_test import (
    CrossedParts,
    CrossedTest,
    crossed_equivalence,
    crossed_parts,
    crossed_slope_parts,
    from_parts,
)
from metastable.stats.contexts.rotations import rotate_parts
from metastable.stats.effect_kinds import SLOPE, Effect
from metastable.stats.effects import EffectSize
from metastable.stats.permutations.permutation import PermutationResult
from metastable.stats.permutations.relabelings import COUNTED
from metastable.stats.single_units import Holdable, holdable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Observations", "holdable_over_both", "over_both"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observations:
    """Every observation of a design with contexts.

    Attributes
    ----------
    values : ndarray of float64, shape (n_observations, n_features)
        Its values.
    condition : ndarray of bool, shape (n_observations,)
        True for condition a; not used where there is a predictor.
    item, context : ndarray of int, shape (n_observations,)
        Codes.
    names : tuple of str
        What an item and what a context is called in a formula.
    measure : str
        What a value is called there.
    covariates : pandas.DataFrame of n_observations rows, or None
        What the tests hold fixed.
    recorded : pandas.DataFrame of n_observations rows, or None
        All covariates that were recorded. Where `covariates` has none, the details show what holding all of these
        fixed would do.
    predictor : ndarray of float64, shape (n_observations,), or None
        A continuous predictor, whose slope is tested in the place of the difference.
    effect_name : str
        What is tested is called in a formula; empty for condition or predictor.
    """

    values: Floats
    condition: NDArray[np.bool_]
    item: NDArray[np.intp]
    context: NDArray[np.intp]
    names: tuple[str, str] = ("item", "context")
    measure: str = "value"
    covariates: pd.DataFrame | None = None
    recorded: pd.DataFrame | None = None
    predictor: NDArray[np.float64] | None = None
    effect_name: str = ""

    def named(self, formula: str) -> str:
        """Write the names of this design into the formula of `crossed_test`."""
        item, context = self.names
        effect = "condition" if self.predictor is None else "predictor"
        if self.effect_name:
            for generic in (f"~ {effect} +", f"(1 + {effect} |"):
                formula = formula.replace(generic, generic.replace(effect, self.effect_name))
        for generic, own in (("| item)", f"| {item})"), ("| context)", f"| {context})")):
            formula = formula.replace(generic, own)
        value, right = formula.split(" ~ ")
        outcome = self.measure if value == "value" else f"difference of {self.measure}"
        return f"{outcome} ~ {right}"


def over_both(
    observations: Observations,
    effect: Effect,
    superiority: Floats,
    family: Family,
    settings: Settings,
    progress: Progress | None = None,
) -> Ingredients:
    """Run the tests over items and contexts, in the place of those over units.

    Parameters
    ----------
    observations : Observations
        What they are made from.
    effect : Effect
        What is tested.
    superiority : ndarray of float64, shape (n_features,)
        Probability of superiority, which describes the units.
    family : Family
        The features.
    settings : Settings
        Choices made before looking.
    progress : callable or None
        Told of the rotations as ``progress(done, total)``.

    Returns
    -------
    Ingredients
        Estimate, interval and size are those of the mixed model over both (`crossed_test`), p-values of single
        features, of families and of groups those of `crossed_family_test`, the equivalence test two one-sided tests of
        the same t, the Bayes factor that of the same t with as many units as would give its standard error. F1, F2,
        min F' and the interaction stand beside. With covariates all of these hold them fixed, and the last columns
        have the same tests without and with them, both over items and contexts.

    Raises
    ------
    InputError
        As `crossed_test`, or `crossed_slope_test` where there is a predictor.
    """
    chosen = observations.covariates
    if chosen is not None and chosen.shape[1] == 0:
        chosen = None
    found = Holdable(chosen) if chosen is not None else holdable_over_both(observations)
    held = found.covariates
    tables = {"unadjusted": None} if held is None else {"unadjusted": None, "adjusted": held}
    main = "unadjusted" if chosen is None else "adjusted"

    def tell(done: int, total: int, part: int) -> None:
        if progress is not None:
            progress(part * total + done, len(tables) * total)

    variants = {
        name: _variant(observations, table, family, settings, partial(tell, part=part))
        for part, (name, table) in enumerate(tables.items())
    }
    test, permutation = variants[main].test, variants[main].permutation
    spread = (test.se > 0) & np.isfinite(test.se)
    n_effective = np.divide(test.standardizer, test.se, out=np.zeros_like(test.se), where=spread) ** 2
    adjusted: dict[str, Floats] = {}
    for name, variant in variants.items():
        adjusted |= variant.columns(effect, name, family, settings)
    return Ingredients(
        effect=effect,
        estimate=variants[main].estimate,
        size=variants[main].size,
        permutation=permutation,
        log_bf10={
            scale: log_effective_bayes_factor(permutation.statistic, n_effective, test.dof, scale=scale)
            for scale in PRIORS
        },
        p_tost=crossed_equivalence(test, margin=settings.margin),
        superiority=superiority,
        interval=test.interval,
        beside_size={"correlation": _correlation(test.g)} if effect == SLOPE else {},
        adjusted=adjusted,
        no_adjustment=found.reason,
        single=found.single,
        determined=variants["adjusted"].test.determined if held is not None else (),
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


@dataclass(frozen=True)
class _Variant:
    """The tests with one set of covariates, or with none."""

    test: CrossedTest
    permutation: PermutationResult

    @property
    def estimate(self) -> EffectSize:
        return EffectSize(self.test.estimate, self.test.low, self.test.high, self.test.flat)

    @property
    def size(self) -> EffectSize:
        return EffectSize(self.test.g, self.test.g_low, self.test.g_high, self.test.flat)

    def columns(self, effect: Effect, suffix: str, family: Family, settings: Settings) -> dict[str, Floats]:
        """Columns of the details, named with a suffix."""
        test, p_perm = self.test, self.permutation.p_perm
        correlation = {f"correlation_{suffix}": _correlation(test.g)} if effect == SLOPE else {}
        return {
            f"{effect.estimate}_{suffix}": test.estimate,
            f"ci_low_{suffix}": test.low,
            f"ci_high_{suffix}": test.high,
            f"p_{suffix}": test.p,
            f"p_{suffix}_fdr": family.corrected(test.p, settings),
            **correlation,
            f"{effect.symbol}_{suffix}": test.g,
            f"{effect.size_low}_{suffix}": test.g_low,
            f"{effect.size_high}_{suffix}": test.g_high,
            f"p_perm_{suffix}": p_perm,
            f"p_perm_{suffix}_fdr": family.corrected(p_perm, settings),
        }


def _parts(seen: Observations, values: Floats, held: pd.DataFrame | None) -> CrossedParts:
    if seen.predictor is None:
        return crossed_parts(values, seen.condition, seen.item, seen.context, covariates=held)
    return crossed_slope_parts(values, seen.predictor, seen.item, seen.context, covariates=held)


def _correlation(d: Floats) -> Floats:
    """Return the correlation whose d this is."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(d), np.sign(d), d / np.sqrt(d**2 + 4.0))


def _variant(
    seen: Observations, held: pd.DataFrame | None, family: Family, settings: Settings, progress: Progress
) -> _Variant:
    parts = _parts(seen, seen.values, held)
    test = from_parts(parts)
    rotated = rotate_parts(
        parts,
        family=family.codes,
        omnibus=family.omnibus,
        n_rotations=settings.n_permutations,
        alpha=settings.alpha,
        rng=settings.seed,
        callback=progress,
    )
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
    return _Variant(test, permutation)


def holdable_over_both(observations: Observations) -> Holdable:
    """Find the recorded covariates that effects over items and contexts can be adjusted for."""
    # what a design refuses does not depend on the values of its features
    one = np.asarray(observations.values)[:, :1]
    return holdable(observations.recorded, lambda held: _parts(observations, one, held))
