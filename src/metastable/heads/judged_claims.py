"""What became of a study's claims: each judged by the test of what it says, several corrected together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.measures import call_measure
from metastable.stats.analysis import Analysis, primary
from metastable.stats.claim_tests import minimum_effect_p, partial_conjunction, within_p
from metastable.stats.corrections import adjust_p_values
from metastable.stats.permutations.engine import PermutationResult
from metastable.study import Claim

__all__ = ["ClaimedOn", "JudgedClaim", "Outcome", "judge_claims"]

Outcome = Literal["supported", "not supported", "contradicted", "not judged"]


@dataclass(frozen=True)
class ClaimedOn:
    """What a claim is judged on: the tests of a contrast or of a view.

    Attributes
    ----------
    measure : str
        What was compared.
    analysis : Analysis
    directed : callable
        ``directed("greater")`` runs the permutation test in one direction, with the group "all".
    """

    measure: str
    analysis: Analysis
    directed: Callable[[Literal["greater", "less"]], PermutationResult]


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and what became of it.

    Attributes
    ----------
    claim : Claim
    outcome : {"supported", "not supported", "contradicted", "not judged"}
    test : str
        The test that judged it; why it was not judged.
    p : float or None
        Its p; None where it was not judged.
    p_holm : float or None
        The same after Holm's correction over the claims that were judged.
    beside : str
        What else a reader must know of the outcome; empty if nothing.
    """

    claim: Claim
    outcome: Outcome
    test: str
    p: float | None = None
    p_holm: float | None = None
    beside: str = ""


@dataclass(frozen=True)
class _Evidence:
    """p for a claim and p of its opposite (1 where that is not tested), each with its test."""

    p: float
    against: float
    test: str
    against_test: str = ""
    beside: str = ""


def _whole(analysis: Analysis) -> float:
    omnibus = primary(analysis.omnibus)
    return float(omnibus.loc[omnibus["site"] == "all", "p_sum_squares"].iloc[0])


def _omnibus(on: ClaimedOn) -> str:
    return "omnibus test over items and contexts" if on.analysis.over_contexts else "omnibus permutation test"


def _sizes(analysis: Analysis) -> tuple[pd.Series, pd.Series, pd.Series]:
    effect, details = analysis.effect, primary(analysis.details)
    return primary(analysis.heads)[effect.size], details[effect.size_low], details[effect.size_high]


def _of_share(share: float, n: int) -> str:
    least = int(np.floor(share * n + 1e-9)) + 1
    return f"at least {least} of {n} heads" if share else f"at least one of {n} heads"


def _one_sided(on: ClaimedOn, direction: Literal["greater", "less"]) -> NDArray[np.float64]:
    """One-sided p of each head: by permutation, and over contexts too from the two-sided p of a symmetric statistic."""
    if not on.analysis.over_contexts:
        return on.directed(direction).p_perm
    heads = primary(on.analysis.heads)
    p, sign = heads["p_perm"].to_numpy(), np.sign(heads["statistic"].to_numpy())
    along = sign == (1 if direction == "greater" else -1)
    return np.where(sign == 0, 1.0, np.where(along, p / 2, 1 - p / 2))


def _some_heads(claim: Claim, on: ClaimedOn) -> _Evidence:
    """Any difference in any head: one omnibus permutation test, in the direction that is claimed."""
    if claim.direction == "two-sided":
        return _Evidence(_whole(on.analysis), 1.0, _omnibus(on))
    other: Literal["greater", "less"] = "less" if claim.direction == "greater" else "greater"
    if on.analysis.over_contexts:
        p, against = (partial_conjunction(_one_sided(on, way)) for way in (claim.direction, other))
        test = f"one-sided tests of heads, {_of_share(0, len(primary(on.analysis.heads)))}, Bonferroni"
        return _Evidence(p, against, test, "the same tests in the opposite direction")
    p, against = (on.directed(way).omnibus["all"].p_sum_squares for way in (claim.direction, other))
    return _Evidence(
        p,
        against,
        "one-sided omnibus permutation test",
        "the same test in the opposite direction",
    )


def _beyond(claim: Claim, on: ClaimedOn, alpha: float) -> _Evidence:
    """Heads of a share, or effects of a size: a p per head, combined."""
    size, low, high = _sizes(on.analysis)
    n, symbol = len(size), on.analysis.effect.symbol
    if claim.smallest_effect:
        p = minimum_effect_p(size, low, high, smallest=claim.smallest_effect, direction=claim.direction)
        what = f"minimum-effect test of |{symbol}| > {claim.smallest_effect:g}"
    elif claim.direction == "two-sided":
        p, what = primary(on.analysis.heads)["p_perm"].to_numpy(), "test of each head"
    else:
        p, what = _one_sided(on, claim.direction), "one-sided test"
    beside = ""
    if claim.smallest_effect and not claim.share and _whole(on.analysis) < alpha:
        beside = "a difference of some size was shown"
    return _Evidence(
        partial_conjunction(p, claim.share), 1.0, f"{what} in {_of_share(claim.share, n)}, Bonferroni", beside=beside
    )


def _nothing(claim: Claim, on: ClaimedOn, alpha: float, margin: float) -> _Evidence:
    """No head differs: every one of them is equivalent."""
    bound = claim.smallest_effect or margin
    p = within_p(*_sizes(on.analysis), margin=bound)
    inside = int((p < alpha).sum())
    return _Evidence(
        float(p.max()),
        _whole(on.analysis),
        f"equivalence within |{on.analysis.effect.symbol}| = {bound:g} in every head",
        _omnibus(on),
        beside=f"{inside} of {len(p)} heads are equivalent each by itself",
    )


def _evidence(claim: Claim, on: ClaimedOn, alpha: float, margin: float) -> _Evidence:
    if not claim.expects_difference:
        return _nothing(claim, on, alpha, margin)
    return _beyond(claim, on, alpha) if claim.share or claim.smallest_effect else _some_heads(claim, on)


def judge_claims(
    claims: Sequence[Claim], on: Mapping[str, ClaimedOn], *, alpha: float, margin: float
) -> tuple[JudgedClaim, ...]:
    """Judge each claim by the test of what it says.

    Parameters
    ----------
    claims : sequence of Claim
        Those without a statement are left out.
    on : mapping of str to ClaimedOn
        By the name of the contrast or view that a claim names.
    alpha : float
        Significance level, after Holm's correction over the claims.
    margin : float
        What a claim that nothing differs asks of every head, where it names no smallest effect.

    Returns
    -------
    tuple of JudgedClaim
        In the order of the claims. "Some heads differ" is judged by an omnibus permutation test, one-sided where a
        direction is claimed; a smallest effect by minimum-effect tests; a share of the heads by the partial conjunction
        test; "no head differs" by the equivalence of every head. A claim about another measure is not judged. A claim
        is contradicted where the opposite one is shown, at `alpha`.
    """
    stated = [claim for claim in claims if claim.statement]
    judged: list[JudgedClaim] = []
    evidence: dict[int, _Evidence] = {}
    for place, claim in enumerate(stated):
        about = on[claim.contrast]
        if claim.measure != about.measure:
            judged.append(JudgedClaim(claim, "not judged", f"this run compares the {call_measure(about.measure)}"))
            continue
        evidence[place] = found = _evidence(claim, about, alpha, margin)
        judged.append(JudgedClaim(claim, "not supported", found.test, p=found.p, beside=found.beside))
    if evidence:
        corrected = adjust_p_values([found.p for found in evidence.values()], method="holm")
        for (place, found), p in zip(evidence.items(), corrected, strict=True):
            one = replace(judged[place], p_holm=float(p))
            if p < alpha:
                one = replace(one, outcome="supported", beside="")
            elif found.against < alpha:
                one = replace(one, outcome="contradicted", test=found.against_test, p=found.against, p_holm=None)
            judged[place] = one
    return tuple(judged)
