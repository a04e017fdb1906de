"""What a study claimed, by what each claim was judged, and what became of it; everything else is exploration."""

from __future__ import annotations

from metastable.heads.judged_claims import JudgedClaim
from metastable.measures import call_measure
from metastable.program import typed
from metastable.report.apa import listed, p_phrase
from metastable.report.run.scene import Scene
from metastable.study import Claim

__all__ = ["claim_sentences", "frozen_sentence"]


def _about(claim: Claim, scene: Scene) -> str:
    """Say what a claim is about: contrast, measure, direction, size, share."""
    effect = scene.effect
    directions = {"two-sided": "in either direction", "greater": effect.greater, "less": effect.less}
    parts = [f"contrast *{claim.contrast.replace('_', ' ')}*", f"measure *{call_measure(claim.measure)}*"]
    if claim.expects_difference:
        parts.append(directions[claim.direction])
    if claim.smallest_effect:
        bound = "above" if claim.expects_difference else "below"
        parts.append(f"|*{effect.symbol}*| {bound} {claim.smallest_effect:g}")
    if claim.share:
        parts.append(f"in more than {claim.share:.0%} of the heads")
    return f"{claim.statement[0].upper()}{claim.statement[1:]} ({', '.join(parts)})"


def _outcome(judged: JudgedClaim, n_judged: int) -> str:
    if judged.p is None:
        return f"not judged, since {judged.test}"
    p = p_phrase(judged.p)
    holm = (
        f", after Holm's correction over {n_judged} claims {p_phrase(judged.p_holm)}"
        if (judged.p_holm is not None and n_judged > 1)
        else ""
    )
    beside = f"; {judged.beside}" if judged.beside else ""
    return f"**{judged.outcome}** ({judged.test}: {p}{holm}){beside}"


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
    claims = scene.result.claims
    n_judged = sum(judged.p is not None for judged in claims)
    return [f"{_about(judged.claim, scene)}: {_outcome(judged, n_judged)}." for judged in claims]


def frozen_sentence(scene: Scene) -> str:
    """Say whether the claims were made before the run, as far as the folder shows."""
    record = scene.result.record
    note = record.frozen
    if note is None:
        return (
            "The claims stand in the study's file; nothing shows that they were made before the run "
            f"(`{typed('freeze', record.study)}` records them beforehand)."
        )
    commit = f", commit {note.commit[:12]}{'+' * note.commit.endswith('+')}" if note.commit else ""
    frozen = f"frozen on {note.at} (SHA-256 {note.sha256[:12]}…{commit})"
    if note.differing:
        differing = listed(note.differing)
        return f"Claims and recipe were {frozen}, and this run does not keep to them: it differs in {differing}."
    return f"Claims and recipe were {frozen}, before anything was counted in this folder, and the run keeps to them."
