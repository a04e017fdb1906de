"""What a cube of counts depends on, in one number by which it is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metastable.extraction.store import Keep
from metastable.extraction.summarizing import RowOptions
from metastable.measures import SPANS, TARGETS, measure_named

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder
    from metastable.study import Sequence

__all__ = ["FORMAT", "extraction_key"]

FORMAT = 1
"""Number of the cube's format and of the counting rule; a new one never reuses an older cube."""


def extraction_key(
    encoder: Encoder,
    sequences: SequenceOf[Sequence],
    *,
    thresholds: SequenceOf[float],
    options: RowOptions | None = None,
    features: Mapping[str, NDArray[Any]] | None = None,
    keep: Keep = "tokens",
) -> str:
    """Hash all that a cube depends on: weights, dtype, thresholds, options, and every sequence.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    recipe = {
        "format": FORMAT,
        "weights": encoder.weights_hash,
        "dtype": encoder.dtype,
        "sites": [asdict(site) for site in encoder.sites],
        "thresholds": [float(threshold) for threshold in thresholds],
        "options": asdict(options or RowOptions()),
    }
    if not encoder.pads:
        recipe["pads"] = False
    if keep != "tokens":
        recipe["keep"] = keep
    if any(site.layer_numbers != tuple(range(1, site.n_layers + 1)) for site in encoder.sites):
        # Cubes of an older version number the attention layers of a hybrid among themselves.
        recipe["layers"] = "of the model"
    measures = [measure_named(name) for name in (options or RowOptions()).measures]
    renewed = {measure.name: measure.version for measure in measures if measure.version > 1}
    if renewed:
        recipe["measures"] = renewed
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    of_spans = any(SPANS in measure.needs for measure in measures)
    of_targets = of_spans or any(TARGETS in measure.needs for measure in measures)
    rows = _Rows()
    for sequence in sequences:
        digest.update(rows.text(sequence).encode())
        if of_targets:
            digest.update(json.dumps(sequence.target).encode())
        if of_spans:
            digest.update(json.dumps(sequence.target_b).encode())
    for name, values in sorted((features or {}).items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        for row in values:
            digest.update(np.ascontiguousarray(row).data)
    return digest.hexdigest()


class _Rows:
    """Writes sequences as JSON writes lists of what they are; what many of them have in common is written once."""

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._lists = _Lists(self._numbers)

    def text(self, sequence: Sequence) -> str:
        tokens = ", ".join(map(self._numbers.__getitem__, sequence.token_ids))
        words, segments = (self._lists[tuple(part)] for part in (sequence.word_index, sequence.segment_ids))
        return f"[{json.dumps(sequence.identifier)}, [{tokens}], {words}, {segments}]"


class _Numbers(dict[int, str]):
    """Whole numbers as JSON writes them, each made once."""

    def __missing__(self, number: int) -> str:
        self[number] = text = json.dumps(number)
        return text


class _Lists(dict[tuple[int, ...], str]):
    """Lists of whole numbers as JSON writes them; many sequences share those of their words and segments."""

    def __init__(self, numbers: _Numbers) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, numbers: tuple[int, ...]) -> str:
        self[numbers] = text = f"[{', '.join(map(self._numbers.__getitem__, numbers))}]"
        return text
