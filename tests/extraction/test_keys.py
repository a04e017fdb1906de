"""The key of an extraction."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from metastable.extraction import keys
from metastable.study import Sequence

_NUMBERS = st.lists(st.integers(-1, 300_000), max_size=6).map(tuple)


@given(st.lists(st.tuples(st.text(max_size=8), _NUMBERS, _NUMBERS), min_size=1, max_size=6))
def test_a_sequence_is_written_as_json_writes_it(parts: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> None:
    rows = keys._Rows()
    for identifier, tokens, segments in parts:
        words = tuple(range(-1, len(tokens) - 1))
        sequence = Sequence(identifier, "a", (), "", tokens, words, segment_ids=segments)
        assert rows.text(sequence) == json.dumps((identifier, tokens, words, segments))
