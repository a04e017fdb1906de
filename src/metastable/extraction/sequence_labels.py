"""The labels of a cube's sequences: condition, cluster, pair, level, context and covariates.

They lie in the cube itself, not only in the ``sequences.parquet`` beside it: a cube that is moved, or one of a sweep,
which has no such file, still says what its rows are. No count depends on them, so they are no part of the extraction's
key: a study whose conditions are renamed keeps its counts, and its labels are written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from metastable.study import Sequence

__all__ = ["GROUPINGS", "LATER", "SequenceLabels", "labels_of"]

GROUPINGS = {
    "condition": "condition that the sequence belongs to",
    "cluster": "what the sequence is one draw of, where several sequences share it",
    "pair": "what joins the sequence with its partner in the other condition",
    "level": "level of the second factor",
    "context": "what the sequence has in common with others beside the condition: a carrier sentence, a clip",
    "packing": "random packing of the words that the sequence belongs to, where they are read in several",
}
"""The labels that are names, each with what it says; empty where a sequence has none."""

LATER = frozenset({"packing"})
"""Those that cubes of older versions lack; the next run of the study writes them."""


@dataclass(frozen=True)
class SequenceLabels:
    """What the sequences of a cube are.

    Attributes
    ----------
    groupings : mapping of str to ndarray of str, shape (n_sequences,)
        By the names of `GROUPINGS`; ``""`` where a sequence has none.
    covariates : mapping of str to ndarray of float64, shape (n_sequences,)
        By their names; NaN where a sequence has no such covariate.
    """

    groupings: Mapping[str, NDArray[Any]]
    covariates: Mapping[str, NDArray[np.float64]]

    def equals(self, other: SequenceLabels) -> bool:
        """Whether two say the same of the same sequences."""
        return (
            list(self.covariates) == list(other.covariates)
            and self.groupings.keys() == other.groupings.keys()
            and all(np.array_equal(self.groupings[name], other.groupings[name]) for name in GROUPINGS)
            and all(np.array_equal(self.covariates[name], other.covariates[name], equal_nan=True)
                    for name in self.covariates)
        )  # fmt: skip

    def coordinate_names(self, taken: Iterable[str]) -> dict[str, str]:
        """Return the name of each covariate as a coordinate, with ``covariate_`` before one that is `taken`."""
        others = {*taken, *GROUPINGS}
        return {name: f"covariate_{name}" if name in others else name for name in self.covariates}


def labels_of(sequences: SequenceOf[Sequence]) -> SequenceLabels:
    """Gather the labels of sequences.

    Parameters
    ----------
    sequences : sequence of Sequence
        In the order of the cube.

    Returns
    -------
    SequenceLabels
        With the covariates of all of them, in the order in which they first occur.
    """
    covariates = dict.fromkeys(name for sequence in sequences for name in sequence.covariates)
    return SequenceLabels(
        groupings={name: np.array([getattr(s, name) or "" for s in sequences], dtype=str) for name in GROUPINGS},
        covariates={name: np.array([float(s.covariates.get(name, np.nan)) for s in sequences]) for name in covariates},
    )
