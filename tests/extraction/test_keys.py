"""The key of an extraction: all that a cube depends on, and the same for the same whatever version made it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.extraction import keys
from metastable.extraction.keys import extraction_key
from metastable.extraction.summarizing import check_row_options
from metastable.models.sites import Site
from metastable.study import Sequence

_NUMBERS = st.lists(st.integers(-1, 300_000), max_size=6).map(tuple)
_PLAIN: dict[str, Any] = {
    "weights_hash": "5f2c",
    "dtype": "float32",
    "pads": True,
    "sites": (Site("self", 2, 3),),
}
_FIRST = Sequence("a “1”", "a", (), "", (101, 7, 2000, 102), (-1, 0, 0, -1), (0, 0, 1, 1), target=(0,), target_b=(1,))
_SEQUENCES = (_FIRST, Sequence("b", "b", (), "", (101, 102), (-1, -1)))

# Made by the version of November 2026 before these lines were written; a cube of that version is still reused.
_KNOWN = {
    "nothing": "e534044a8bb448ac",
    "weights": "5d788936cb3f567b",
    "dtype": "b312233b378cbf76",
    "alone": "453a3dff295cae7d",
    "heads": "4b88e1937aead811",
    "layers": "6e581c9dda92e3ea",
    "means": "27d87f1512f6fe6f",
    "features": "2b3f7e95aced5638",
    "thresholds": "8614b75673325385",
    "renewed": "47653295991dc21d",
    "targets": "43ef7136696333ac",
    "other target": "0c0193b280620951",
    "spans": "5ddc0d227e82dbc8",
    "other span": "fe41cf121eae5d39",
    "segments": "c2339ca6cf2286e4",
    "order": "2377170e512c72be",
}


def _model(properties: dict[str, Any]) -> Any:
    """Stand in for an encoder, of which a key asks little."""
    return SimpleNamespace(**properties)


def _key(change: str) -> str:
    model, sequences = dict(_PLAIN), list(_SEQUENCES)
    options: dict[str, Any] = {}
    measures: tuple[str, ...] = ("count",)
    match change:
        case "weights":
            model["weights_hash"] = "5f2d"
        case "dtype":
            model["dtype"] = "bfloat16"
        case "alone":
            model["pads"] = False
        case "heads":
            model["sites"] = (Site("self", 2, 4),)
        case "layers":
            model["sites"] = (Site("self", 2, 3, layer_numbers=(2, 4)),)
        case "means":
            options["keep"] = "means"
        case "features":
            options["features"] = {"pixels": np.arange(6.0).reshape(2, 3), "a": np.array([[1], [2]])}
        case "thresholds":
            options["thresholds"] = (0.9, 0.5)
        case "renewed":
            measures = ("count", "share")
        case "targets":
            measures = ("count", "target_mass")
        case "other target":
            measures, sequences[0] = ("count", "target_mass"), replace(_FIRST, target=(1,))
        case "spans":
            measures = ("count", "span_mass")
        case "other span":
            measures, sequences[0] = ("count", "span_mass"), replace(_FIRST, target_b=(0,))
        case "segments":
            sequences[0] = replace(_FIRST, segment_ids=(0, 0, 0, 1))
        case "order":
            sequences.reverse()
    rows = check_row_options(measures=measures)
    given: dict[str, Any] = {"thresholds": (0.9,), "options": rows} | options
    return extraction_key(_model(model), sequences, **given)


@pytest.mark.parametrize("change", _KNOWN)
def test_keys_are_what_they_were(change: str) -> None:
    assert _key(change)[:16] == _KNOWN[change]


def test_each_change_gives_another_key() -> None:
    assert len(set(_KNOWN.values())) == len(_KNOWN)


def test_what_no_measure_asks_of_sequences_is_no_part_of_the_key() -> None:
    other = (replace(_FIRST, target=(1,), target_b=(0,), condition="b", text="x", covariates={"n": 1.0}), _SEQUENCES[1])
    model = _model(_PLAIN)
    assert extraction_key(model, other, thresholds=(0.9,)) == extraction_key(model, _SEQUENCES, thresholds=(0.9,))


@given(st.lists(st.tuples(st.text(max_size=8), _NUMBERS, _NUMBERS), min_size=1, max_size=6))
def test_a_sequence_is_written_as_json_writes_it(parts: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> None:
    rows = keys._Rows()
    for identifier, tokens, segments in parts:
        words = tuple(range(-1, len(tokens) - 1))
        sequence = Sequence(identifier, "a", (), "", tokens, words, segment_ids=segments)
        assert rows.text(sequence) == json.dumps((identifier, tokens, words, segments))
