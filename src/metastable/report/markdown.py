"""Text from studies and users as Markdown that shows it as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from metastable.heads.contrasts import Contrast
from metastable.study import Condition

if TYPE_CHECKING:
    from metastable.heads.results import RunResult

__all__ = ["as_text", "code", "with_escaped_names"]

_MARKS = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~$&"})
# what turns the direction of all that follows in the page is shown by its number
_TURNING = {number: f"U+{number:04X}" for number in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
# what would begin a list or a rule under a heading at the start of a line
_BULLET = re.compile(r"^([-+=])")
_NUMBER = re.compile(r"^(\d+)([.)])")


def as_text(text: str) -> str:
    r"""Escape everything that Markdown would take for markup.

    Parameters
    ----------
    text : str
        Plain text, of any user; line breaks become spaces.

    Returns
    -------
    str

    Examples
    --------
    >>> print(as_text("a|b <i> 2*3 snake_case"))
    a\|b \<i\> 2\*3 snake\_case
    >>> print(as_text("1. - one"))
    1\. - one
    """
    escaped = " ".join(text.translate(_TURNING).split()).translate(_MARKS)
    return _NUMBER.sub(r"\1\\\2", _BULLET.sub(r"\\\1", escaped))


def code(text: str) -> str:
    r"""Put text into a code span that may stand in a table.

    Examples
    --------
    >>> print(code("a|b"), code("a`b"))
    `a\|b` `` a`b ``
    """
    shown = " ".join(text.translate(_TURNING).split()).replace("|", "\\|")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def _escaped(condition: Condition) -> Condition:
    return Condition(as_text(condition.name), as_text(condition.description))


def _escaped_contrast(contrast: Contrast) -> Contrast:
    return replace(contrast, a=_escaped(contrast.a), b=_escaped(contrast.b))


def with_escaped_names(result: RunResult) -> RunResult:
    """Return a result whose names and sentences can be put into Markdown as they are.

    Parameters
    ----------
    result : RunResult

    Returns
    -------
    RunResult
        With the study's words, the conditions, the notes and the model's name escaped; the sequences are not.
    """
    study, record = result.study, result.record
    claims = tuple(replace(claim, statement=as_text(claim.statement)) for claim in study.claims)
    return replace(
        result,
        study=replace(
            study,
            title=as_text(study.title),
            question=as_text(study.question),
            caveat=as_text(study.caveat),
            claims=claims,
            views=tuple(replace(view, description=as_text(view.description)) for view in study.views),
        ),
        contrasts=tuple(map(_escaped_contrast, result.contrasts)),
        material=replace(result.material, notes=tuple(map(as_text, result.material.notes))),
        record=replace(record, model=replace(record.model, id=as_text(record.model.id))),
    )
