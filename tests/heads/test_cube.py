import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.heads.cube import (
    feature_table,
    histogram_medians,
    in_memory,
    target_rows,
    token_histograms,
    token_values,
    unit_means,
)
from metastable.models.sites import Site
from metastable.study import Sequence

N_SEQUENCES, SITES, LAYERS, HEADS, THRESHOLDS, TOKENS = 7, ("encoder", "cross"), 3, 2, (0.5, 0.9), 5


@pytest.fixture(scope="module")
def cube():
    rng = np.random.default_rng(1)
    shape = (N_SEQUENCES, len(SITES), LAYERS, HEADS, len(THRESHOLDS), TOKENS)
    count = rng.integers(1, TOKENS + 1, shape).astype(np.uint8)
    lengths = rng.integers(2, TOKENS + 1, N_SEQUENCES)
    for sequence, length in enumerate(lengths):
        count[sequence, ..., length:] = 0
    count[:, 1, 2] = 0  # the second site has two layers only
    with np.errstate(invalid="ignore"):
        mean = count.sum(axis=-1) / (count > 0).sum(axis=-1)
    dims = ("sequence", "site", "layer", "head", "threshold")
    return xr.Dataset(
        {"mean_count": (dims, mean), "count": ((*dims, "token"), count)},
        coords={
            "sequence": [f"s{i}" for i in range(N_SEQUENCES)],
            "site": list(SITES),
            "layer": np.arange(1, LAYERS + 1),
            "head": np.arange(1, HEADS + 1),
            "threshold": list(THRESHOLDS),
        },
    )


def test_features_are_the_heads_that_exist(cube):
    features = feature_table(cube)
    assert len(features) == LAYERS * HEADS + 2 * HEADS
    assert features.iloc[0].tolist() == ["encoder", 1, 1]
    assert not ((features["site"] == "cross") & (features["layer"] == 3)).any()


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_unit_means_are_the_labelled_cells(cube, threshold):
    features = feature_table(cube)
    values = unit_means(cube, features, threshold)
    for column, row in features.iterrows():
        cell = cube["mean_count"].sel(site=row["site"], layer=row["layer"], head=row["head"], threshold=threshold)
        np.testing.assert_array_equal(values[:, column], cell)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_histograms_and_token_rows_agree_with_a_plain_loop(cube, chunk):
    features = feature_table(cube).sample(frac=1, random_state=0).reset_index(drop=True)
    groups = np.array([0, 1, 0, -1, 1, 0, 1])
    histograms = token_histograms(cube, features, 0.9, groups, chunk=chunk)
    values, owner = token_values(cube, features, 0.9, chunk=chunk)
    assert histograms.shape == (2, len(features), TOKENS + 1)
    for column, row in features.iterrows():
        cell = cube["count"].sel(site=row["site"], layer=row["layer"], head=row["head"], threshold=0.9).to_numpy()
        for group in (0, 1):
            expected = np.bincount(cell[groups == group].ravel(), minlength=TOKENS + 1)
            expected[0] = 0
            np.testing.assert_array_equal(histograms[group, column], expected)
        np.testing.assert_array_equal(values[:, column], cell[cell > 0])
        np.testing.assert_array_equal(owner, np.repeat(np.arange(N_SEQUENCES), (cell > 0).sum(axis=1)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_medians_of_histograms_are_numpys(values):
    histogram = np.bincount(values, minlength=10)[None, None]
    assert histogram_medians(histogram).item() == np.median(values)


def test_features_keep_their_types(cube):
    dtypes = feature_table(cube).dtypes
    assert pd.api.types.is_integer_dtype(dtypes["layer"])
    assert pd.api.types.is_integer_dtype(dtypes["head"])


def test_rows_of_targets_are_one_step_later_in_a_decoder(cube):
    # all tokens query at both sites, so that only the place of the target decides
    full = cube.assign(count=cube["count"].where(cube["count"] > 0, 1)).isel(layer=slice(0, 2))
    sequences = [
        Sequence(f"s{i}", "a", ("u", "v"), "u v", (1,) * 4, (-1, 0, 1, -1), target=(1,)) for i in range(N_SEQUENCES)
    ]
    found = target_rows(full, sequences, [Site("encoder", 2, HEADS), Site("cross", 2, HEADS, queries="decoder")])
    for site, token in (("encoder", 2), ("cross", 3)):
        got, whole = found.sel(site=site), full.sel(site=site)
        np.testing.assert_array_equal(got["mean_count"], whole["count"].isel(token=token))
        assert (
            int((got["count"] > 0).any(("sequence", "layer", "head", "threshold")).to_numpy().nonzero()[0].item())
            == token
        )


def test_a_sequence_without_a_target_that_queries_is_refused(cube):
    sequences = [Sequence("s", "a", ("u",), "u", (1, 2), (-1, 0))] * N_SEQUENCES
    with pytest.raises(InputError, match="'s' has no target word that queries"):
        target_rows(cube, sequences, [Site(name, LAYERS, HEADS) for name in SITES])


@pytest.mark.filterwarnings("ignore:.*Zarr")
def test_a_small_cube_is_read_once_and_a_large_one_where_it_lies(cube, tmp_path, monkeypatch):
    cube.to_zarr(tmp_path / "c.zarr")
    for most, read in ((1 << 28, True), (100, False)):
        monkeypatch.setattr("metastable.heads.cube._SMALL", most)
        with xr.open_zarr(tmp_path / "c.zarr", chunks=None) as opened:
            taken = in_memory(opened)
            xr.testing.assert_equal(taken, cube)
            assert isinstance(taken["count"].variable._data, np.ndarray) is read
