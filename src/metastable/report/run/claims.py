"""What a study claimed before its run, and what became of it; everything else is exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metastable.measures import call_measure
from metastable.report.apa import p_phrase
from metastable.report.run.verdict_sentences import primary
from metastable.stats.analysis import Analysis
from metastable.study import Claim

__all__ = ["claim_sentences"]

_SLOPES = {"two-sided": "in either direction", "greater": "rising", "less": "falling"}
_DIRECTIONS = {"two-sided": "in either direction", "greater": "a larger than b", "less": "a smaller than b"}


def _called(name: str) -> str:
    return name.replace("_", " ")


def _outcome(claim: Claim, analysis: Analysis, alpha: float) -> str:
    omnibus = primary(analysis.omnibus)
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    p, difference = float(whole["p_sum_squares"]), float(whole["difference"])
    found = p < alpha
    wrong_way = (claim.direction == "greater" and difference < 0) or (claim.direction == "less" and difference > 0)
    numbers = f"omnibus {p_phrase(p)}"
    if not claim.expects_difference:
        return f"**{'contradicted' if found else 'not contradicted'}** ({numbers})"
    if found and wrong_way:
        return f"**contradicted**: a difference of the opposite sign ({numbers})"
    return f"**{'supported' if found else 'not supported'}** ({numbers})"


def claim_sentences(
    claims: Sequence[Claim],
    measures: Mapping[str, str],
    analyses: Mapping[str, Analysis],
    *,
    alpha: float,
    slope: bool = False,
) -> list[str]:
    """Say for each claim what it was and what became of it.

    Parameters
    ----------
    claims : sequence of Claim
        Of the study, as its file states them.
    measures, analyses : mappings
        For each contrast and view by its name: what was compared, and the tests. A claim about another
        measure is not judged.
    alpha : float
        Significance level.
    slope : bool
        Whether the effects are slopes over a continuous predictor.

    Returns
    -------
    list of str
        One sentence a claim that has a statement.
    """
    sentences = []
    for claim in claims:
        if not claim.statement:
            continue
        direction, symbol = (_SLOPES if slope else _DIRECTIONS)[claim.direction], "d" if slope else "g"
        about = (
            f"{claim.statement[0].upper()}{claim.statement[1:]} (contrast *{_called(claim.contrast)}*, measure "
            f"*{call_measure(claim.measure)}*, {direction}, smallest "
            f"effect of interest |*{symbol}*| = {claim.smallest_effect:g})"
        )
        compared = measures[claim.contrast]
        if claim.measure != compared:
            sentences.append(f"{about}: not judged, since this run compares *{call_measure(compared)}*.")
        else:
            sentences.append(f"{about}: {_outcome(claim, analyses[claim.contrast], alpha)}.")
    return sentences
