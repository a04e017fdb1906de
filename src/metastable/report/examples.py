"""Examples of what the model read, with the words visible."""

from __future__ import annotations

from metastable.study import Sequence

__all__ = ["examples"]

_PUNCTUATION = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#"})


def examples(sequences: tuple[Sequence, ...], condition: str, n: int = 3) -> list[str]:
    """Return the first sequences of a condition as Markdown, words set apart by dots.

    Parameters
    ----------
    sequences : tuple of Sequence
    condition : str
        Name of the condition.
    n : int
        How many.

    Returns
    -------
    list of str
    """
    mine = [sequence for sequence in sequences if sequence.condition == condition][:n]
    return [
        " · ".join(word.translate(_PUNCTUATION) for word in sequence.words) + f" ({len(sequence.token_ids)} tokens)"
        for sequence in mine
    ]
