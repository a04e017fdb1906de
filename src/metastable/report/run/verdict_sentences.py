"""The verdict of a run in plain words with its numbers."""

from __future__ import annotations

from typing import Any

from metastable.heads.results import RunResult
from metastable.report.run.scene import Scene
from metastable.report.run.sentences import words_of

__all__ = ["verdict_record", "verdict_sentences"]


def verdict_sentences(result: RunResult) -> list[str]:
    """Say in two sentences what was found."""
    scene = Scene(result)
    return words_of(scene.effect).verdict(scene)


def verdict_record(result: RunResult) -> dict[str, Any]:
    """Return the verdict for programs: a word, a sentence, and the number of heads of each kind."""
    scene = Scene(result)
    return {
        "word": scene.verdict,
        "sentence": verdict_sentences(result)[0],
        "heads": len(scene.heads),
        **scene.verdicts,
    }
