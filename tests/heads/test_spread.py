"""Shares of the keys that queries see, against plain loops over the tokens."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from metastable.extraction import extract
from metastable.heads.cube import counts_and_keys, feature_table
from metastable.heads.modes import operating_modes
from metastable.heads.spread import STEPS, spread_of
from metastable.models.encoders import wrap_model
from tests.extraction.oracle import plain_attention, text_sequences
from tests.extraction.tiny_models import tiny_model

SITES, LAYERS, HEADS, THRESHOLDS, TOKENS = ("encoder", "cross"), 3, 2, (0.5, 0.9), 40
SIDES = np.array([0, 1, 0, 0, -1, 1, 1, 0, 1])


@pytest.fixture(scope="module")
def drawn() -> tuple[xr.Dataset, np.ndarray]:
    """Counts of sequences of mixed lengths, causal in the second layer, and the keys of each token and head."""
    rng = np.random.default_rng(4)
    lengths = np.array([5, 8, 12, 40, 9, 7, 3, 11, 6])
    shape = (len(lengths), len(SITES), LAYERS, HEADS, len(THRESHOLDS), TOKENS)
    keys = np.zeros(shape, dtype=np.int64)
    for sequence, length in enumerate(lengths):
        keys[sequence, ..., :length] = length
        keys[sequence, :, 1, ..., :length] = np.arange(1, length + 1)
    keys[:, 1, 2] = 0  # the second site has two layers only
    counts = np.where(keys > 0, 1 + np.floor(rng.random(shape) * keys), 0).astype(np.int64)
    share = np.divide(counts, keys, out=np.full(shape, np.nan), where=keys > 0).astype(np.float32)
    dims = ("sequence", "site", "layer", "head", "threshold")
    with np.errstate(invalid="ignore"):
        mean = counts.sum(axis=-1) / (counts > 0).sum(axis=-1)
    cube = xr.Dataset(
        {
            "mean_count": (dims, mean),
            "count": ((*dims, "token"), counts.astype(np.uint8)),
            "share": ((*dims, "token"), share),
        },
        coords={
            "sequence": [f"s{i}" for i in range(len(lengths))],
            "site": list(SITES),
            "layer": np.arange(1, LAYERS + 1),
            "head": np.arange(1, HEADS + 1),
            "threshold": list(THRESHOLDS),
        },
    )
    return cube, keys


@pytest.mark.parametrize(("chunk", "block_bytes"), [(2, 1), (256, 2**30)])
@pytest.mark.parametrize("place", [0, 1])
def test_a_spread_is_that_of_a_plain_loop_over_tokens(drawn, chunk, block_bytes, place):
    cube, keys = drawn
    features = feature_table(cube)
    spread = spread_of(cube, features, THRESHOLDS[place], SIDES, chunk=chunk, block_bytes=block_bytes)
    assert spread.histograms.shape == (2, len(features), STEPS + 1)
    for column, row in features.iterrows():
        where = (SITES.index(row["site"]), row["layer"] - 1, row["head"] - 1, place)
        of_all = []
        for side in (0, 1):
            shares, exact = [], []
            for sequence in np.flatnonzero(side == SIDES):
                for token in range(TOKENS):
                    n = int(keys[(sequence, *where, token)])
                    if n:
                        k = int(cube["count"].to_numpy()[(sequence, *where, token)])
                        shares.append(k / n)
                        exact.append(Fraction(k, n))
                        of_all.append(n)
            np.testing.assert_allclose(spread.quartiles[side, column], np.quantile(shares, [0.25, 0.5, 0.75]))
            steps = [-(-STEPS * share // 1) for share in exact]
            np.testing.assert_array_equal(
                spread.histograms[side, column], np.bincount(np.array(steps, dtype=int), minlength=STEPS + 1)
            )
            ordered = sorted(exact)
            median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
            edges = (("I", Fraction(1, 2)), ("II", Fraction(1, 8)), ("III", Fraction(1, 32)))
            assert spread.modes[side][column] == next((name for name, edge in edges if median > edge), "IV")
        assert spread.fewest[column] == min(of_all)
        assert spread.most[column] == max(of_all)
        assert spread.usual[column] == int(np.median(of_all))


def test_queries_that_see_as_many_keys_are_told_from_others(drawn):
    cube, _ = drawn
    features = feature_table(cube)
    spread = spread_of(cube, features, 0.9, SIDES)
    assert spread.visible_keys() is None
    alone = spread_of(cube.isel(sequence=[3]), features, 0.9, np.array([0]))
    assert alone.visible_keys((features["layer"] == 1).to_numpy()) == 40
    assert alone.visible_keys((features["layer"] == 2).to_numpy()) is None


def test_a_long_sequence_among_many_short_ones_changes_no_class_by_its_length():
    """Every head spreads over 30% of its keys: class II, whatever one long sequence sees."""
    lengths = [10] * 40 + [200]
    counts = np.zeros((41, 1, 1, 1, 1, 200), dtype=np.uint8)
    for sequence, n in enumerate(lengths):
        counts[sequence, ..., :n] = 0.3 * n
    share = np.where(counts > 0, np.float32(0.3), np.nan)
    dims = ("sequence", "site", "layer", "head", "threshold")
    cube = xr.Dataset(
        {"mean_count": (dims, counts.mean(axis=-1)), "count": ((*dims, "token"), counts)},
        coords={"site": ["self"], "layer": [1], "head": [1], "threshold": [0.9]},
    ).assign(share=((*dims, "token"), share.astype(np.float32)))
    spread = spread_of(cube, feature_table(cube), 0.9, np.array([0, 1] * 20 + [0]))
    assert [mode.tolist() for mode in spread.modes] == [["II"], ["II"]]
    # by the longest length, the same head would be of class III
    assert operating_modes(3, 200) == "IV"


@pytest.mark.parametrize("name", ["bert", "gpt2", "gemma2"])
def test_the_keys_are_those_that_the_models_queries_see(name: str, tmp_path: Path) -> None:
    model, sequences = tiny_model(name), text_sequences([6, 9, 3])
    cube = extract(wrap_model(model), sequences, path=tmp_path / "counts.zarr", of_every_run=True).dataset.load()
    features = feature_table(cube)
    ((_, counts, keys),) = counts_and_keys(cube, features, 0.9)
    assert (counts <= keys).all()
    seen = set()
    for index, sequence in enumerate(sequences):
        n = len(sequence.token_ids)
        plain = np.stack(plain_attention(model, sequence, {})["self"])
        expected = (plain > 0).sum(axis=-1).reshape(len(features), n).T
        np.testing.assert_array_equal(keys[index, :n], expected)
        assert not keys[index, n:].any()
        seen.update(expected[-1].tolist())
    # a local layer lets its last query see five keys
    assert seen == ({3, 5, 6, 9} if name == "gemma2" else {3, 6, 9})
