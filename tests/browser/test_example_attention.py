"""Which sequences the browser shows, and that their attention survives the packing."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metastable.browser.checked_results import Comparison
from metastable.browser.example_attention import choose_examples, example_data, quantize_rows
from tests.browser.fakes import fake_run


def _comparison(run: dict[str, Any], **changes: Any) -> Comparison:
    names = ("heads", "details", "histograms", "unit_means", "sequences", "conditions")
    return Comparison(**({name: run[name] for name in names} | changes))


@given(
    arrays(np.float64, (9, 4), elements=st.integers(0, 5).map(float)),
    arrays(np.int64, 9, elements=st.integers(-1, 1)),
    arrays(np.float64, 4, elements=st.sampled_from([-1.0, 0.0, 2.0])),
    st.integers(1, 3),
)
def test_examples_are_the_extremes_in_the_direction_of_the_difference(means, codes, sign, n) -> None:
    chosen = choose_examples(means, codes, sign, n)
    for feature in range(4):
        highest_of_a = sign[feature] >= 0
        for side in (0, 1):
            own = [place for place in range(9) if codes[place] == side]
            high_first = highest_of_a == (side == 0)
            own.sort(key=lambda place: (-means[place, feature] if high_first else means[place, feature], place))
            expected = (own + [-1] * n)[:n] if len(own) < n else own[:n]
            assert chosen[feature, side].tolist() == expected


def test_a_paired_design_shows_the_pairs_that_differ_most() -> None:
    # pairs 0, 1, 2 differ by +5, -9, +1; pair 3 has no partner
    means = np.array([[7.0], [2.0], [1.0], [10.0], [4.0], [3.0], [99.0]])
    codes, pair = np.array([0, 1, 0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 2, 3])
    assert choose_examples(means, codes, np.array([1.0]), 2, pair=pair)[0].tolist() == [[0, 4], [1, 5]]
    assert choose_examples(means, codes, np.array([-1.0]), 1, pair=pair)[0].tolist() == [[2], [3]]
    assert choose_examples(means, codes, np.array([1.0]), 5, pair=pair)[0, 0].tolist() == [0, 4, 2, -1, -1]


@given(arrays(np.float32, (5, 7), elements=st.floats(0, 1, width=32)))
def test_quantized_weights_are_within_the_stated_error(weights) -> None:
    levels, largest = quantize_rows(weights)
    top = weights.max(axis=1, keepdims=True)
    back = levels / 255 * (largest[:, None] / 65535)
    assert (np.abs(back - weights) <= top / 510 + 1 / 131070 + 1e-6).all()


def test_packed_attention_is_what_the_model_gave() -> None:
    run = fake_run({"self": (2, 3)}, thresholds=(0.5, 0.9), n_tokens=7)
    data = example_data(_comparison(run), run["attention"], max_bytes=10**6)
    features = run["heads"][["site", "layer", "head"]].iloc[:6]
    identifiers = [sequence.identifier for sequence in run["sequences"]]
    for feature, head in enumerate(features.itertuples(index=False, name=None)):
        raw = zlib.decompress(base64.b64decode(data["attention"][feature]))
        assert len(data["examples"][feature]) == 4
        for row, means, rank in data["examples"][feature]:
            place = identifiers.index(data["sequences"][row]["id"])
            (item,) = run["attention"]({place: [head]})
            levels, raw = np.frombuffer(raw[:49], np.uint8).reshape(7, 7), raw[49:]
            largest, raw = np.frombuffer(raw[:14], "<u2"), raw[14:]
            counts, raw = np.frombuffer(raw[:28], "<u2").reshape(7, 2), raw[28:]
            np.testing.assert_allclose(levels / 255 * largest[:, None] / 65535, item.weights, atol=0.002)
            np.testing.assert_array_equal(counts, item.counts)
            np.testing.assert_allclose(means, run["unit_means"][:, place, feature], rtol=1e-3)
            own = run["unit_means"][0, [s.condition == run["sequences"][place].condition for s in run["sequences"]]]
            assert rank == 1 + (own[:, feature] > run["unit_means"][0, place, feature]).sum()
        assert raw == b""


def _size(data: dict[str, Any]) -> int:
    table = json.dumps(data["sequences"], ensure_ascii=False, separators=(",", ":"))
    return sum(map(len, data["attention"] or [])) + len(table.encode())


# Shares of the bytes that two examples of 64 tokens a condition take.
@pytest.mark.parametrize(("share", "examples", "queries"), [(1.01, 4, 128), (0.65, 2, 128), (0.4, 2, 32), (0.2, 2, 16)])
def test_examples_give_way_to_the_room(share: float, examples: int, queries: int) -> None:
    run = fake_run({"self": (3, 4)}, n_tokens=64)
    room = int(share * _size(example_data(_comparison(run), run["attention"], max_bytes=10**7)))
    data = example_data(_comparison(run), run["attention"], max_bytes=room)
    assert _size(data) <= room
    assert all(data["attention"])
    assert {len(of_head) for of_head in data["examples"]} == {examples}
    assert data["queries"] == queries


def test_where_nothing_fits_the_largest_effects_keep_their_examples() -> None:
    run = fake_run({"self": (3, 4)}, n_tokens=64)
    data = example_data(_comparison(run), run["attention"], max_bytes=9000)
    kept = np.array([bool(blob) for blob in data["attention"]])
    size = run["heads"]["hedges_g"].abs().to_numpy()
    assert 0 < kept.sum() < 12
    assert size[kept].min() > size[~kept].max()
    assert [len(of_head) for of_head in data["examples"]] == (2 * kept).tolist()
    assert _size(data) <= 9000


def test_without_a_model_the_words_are_shown() -> None:
    run = fake_run({"self": (2, 2)})
    data = example_data(_comparison(run), None, max_bytes=10**6)
    assert data["attention"] is None
    by_id = {sequence.identifier: sequence for sequence in run["sequences"]}
    for row in data["sequences"]:
        assert [text for text, _ in row["queries"]] == list(by_id[row["id"]].words)
