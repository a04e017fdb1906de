"""What a study claimed before its run, and what became of it; everything else is exploration."""

from __future__ import annotations

from metastable.measures import call_measure
from metastable.report.apa import p_phrase
from metastable.report.run.scene import Scene
from metastable.stats.analysis import Analysis, primary
from metastable.study import Claim

__all__ = ["claim_sentences"]


def _called(name: str) -> str:
    return name.replace("_", " ")


def _outcome(claim: Claim, analysis: Analysis, alpha: float) -> str:
    omnibus, effect = primary(analysis.omnibus), analysis.effect
    whole = omnibus[omnibus["site"] == "all"].iloc[0]
    p, estimate = float(whole["p_sum_squares"]), float(whole[effect.estimate])
    found = p < alpha
    wrong_way = (claim.direction == "greater" and estimate < 0) or (claim.direction == "less" and estimate > 0)
    numbers = f"omnibus {p_phrase(p)}"
    if not claim.expects_difference:
        return f"**{'contradicted' if found else 'not contradicted'}** ({numbers})"
    if found and wrong_way:
        return f"**contradicted**: a {effect.name} of the opposite sign ({numbers})"
    return f"**{'supported' if found else 'not supported'}** ({numbers})"


def claim_sentences(scene: Scene) -> list[str]:
    """Say for each claim of the study what it was and what became of it.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    list of str
        One sentence a claim that has a statement. A claim about another measure than the run's is not judged.
    """
    result, effect = scene.result, scene.effect
    names = [*(contrast.name for contrast in result.contrasts), *(view.name for view in result.study.views)]
    measures = dict.fromkeys(names, scene.options["measure"]) | {view.name: view.measure for view in result.study.views}
    analyses = dict(zip(names, (*result.analyses, *result.views), strict=True))
    directions = {"two-sided": "in either direction", "greater": effect.greater, "less": effect.less}
    sentences = []
    for claim in result.study.claims:
        if not claim.statement:
            continue
        about = (
            f"{claim.statement[0].upper()}{claim.statement[1:]} "
            f"(contrast *{_called(claim.contrast)}*, measure *{call_measure(claim.measure)}*, "
            f"{directions[claim.direction]}, "
            f"smallest effect of interest |*{effect.symbol}*| = {claim.smallest_effect:g})"
        )
        compared = measures[claim.contrast]
        if claim.measure != compared:
            sentences.append(f"{about}: not judged, since this run compares *{call_measure(compared)}*.")
        else:
            sentences.append(f"{about}: {_outcome(claim, analyses[claim.contrast], scene.alpha)}.")
    return sentences
