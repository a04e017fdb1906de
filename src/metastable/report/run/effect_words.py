"""What a report says of an effect in words of its own; all else it says of every effect alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metastable.report.run.scene import Scene

__all__ = ["EffectWords", "MethodClauses"]

Say = Callable[[Scene], str]


@dataclass(frozen=True)
class MethodClauses:
    """Clauses of the methods paragraph.

    Attributes
    ----------
    presented : str
        What was read, after "We presented".
    observation : str
        What one observation is: a whole sentence.
    tested : str
        How each head was tested: a whole sentence up to its semicolon.
    estimates : str
        What the tests hold fixed and how effects were estimated: sentences; may be empty.
    sizes : str
        Standardized sizes, equivalence tests and Bayes factors: sentences.
    """

    presented: str
    observation: str
    tested: str
    estimates: str
    sizes: str


@dataclass(frozen=True)
class EffectWords:
    """The words of one effect; each function takes the scene.

    Attributes
    ----------
    verdict : callable
        Returns two sentences: what was found, and where it is largest.
    warning : callable
        What else differs, or goes along with the predictor; empty if nothing.
    fairness, adjustment, sensitivity, effect_size : callable
        Paragraphs of the sections of these names.
    together : callable
        What the heads taken together do, after a colon.
    directions : callable
        How many heads go which way, behind "Of those that differ,"; a clause.
    columns : callable
        What the columns of the table of heads are, where they need a sentence; may be empty.
    methods : callable
        Returns `MethodClauses`.
    limitations : callable
        Returns a list of further limitations.
    captions : mapping of str to callable
        Captions of the figures that show the effect, by stem.
    """

    verdict: Callable[[Scene], list[str]]
    warning: Say
    fairness: Say
    adjustment: Say
    sensitivity: Say
    effect_size: Say
    together: Say
    directions: Say
    columns: Say
    methods: Callable[[Scene], MethodClauses]
    limitations: Callable[[Scene], list[str]]
    captions: Mapping[str, Say]
