"""The verdict of a run in plain words with its numbers."""

from __future__ import annotations

from metastable.heads.record import RunVerdict
from metastable.heads.results import RunResult
from metastable.report.run.scene import Scene
from metastable.report.run.sentences import words_of
from metastable.report.run.where import where_line
from metastable.stats.balance import BALANCE_LINE

__all__ = ["verdict_record", "verdict_sentences"]


def verdict_sentences(result: RunResult) -> list[str]:
    """Say what was found: the verdict, where attention rests, and how large the effect is."""
    scene = Scene(result)
    first, *others = words_of(scene.effect).verdict(scene)
    return [text for text in (first, where_line(scene), *others) if text]


def verdict_record(result: RunResult) -> RunVerdict:
    """Return the verdict for programs: a word, a sentence, the number of heads of each kind, and what is alike."""
    scene, balance = Scene(result), result.balance
    return RunVerdict(
        word=scene.verdict,
        sentence=verdict_sentences(result)[0],
        heads=len(scene.heads),
        alike=() if balance.empty else tuple(balance.loc[balance["smd"].abs() < BALANCE_LINE, "covariate"]),
        **scene.verdicts,
    )
