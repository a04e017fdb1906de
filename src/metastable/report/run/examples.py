"""Examples of what the model read, with the words visible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metastable.report.apa import plural
from metastable.report.markdown import as_text
from metastable.study import Material

__all__ = ["examples"]


def examples(material: Material, sides: NDArray[np.intp], side: int, n: int = 3) -> list[str]:
    """Return the first sequences of one side as Markdown, texts as they stand, lists of words with dots between.

    Parameters
    ----------
    material : Material
    sides : ndarray of int, shape (n_sequences,)
        Side of each sequence, as `Contrast.sides` gives it.
    side : {0, 1}
        Which one.
    n : int
        How many.

    Returns
    -------
    list of str
    """
    mine = [material.sequences[index] for index in np.flatnonzero(sides == side)[:n]]
    return [
        as_text(" · ".join(sequence.words) if material.of_words else sequence.text)
        + f" ({plural(len(sequence.token_ids), 'token')})"
        for sequence in mine
    ]
