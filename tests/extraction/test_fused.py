"""Attention that counts against plain attention and the sorted count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metastable.errors import InputError
from metastable.extraction import fused
from metastable.extraction.fused import LayerMeasures, Measuring, attend_and_measure
from metastable.extraction.kernels import COUNTS, MASSES
from metastable.extraction.mass import count_entries
from metastable.extraction.row_kernels import RowKernel
from metastable.extraction.row_measures import ROW_MEASURES, value_lengths
from metastable.extraction.summarizing import check_row_options, summarize_rows
from metastable.models.capture import Scores
from metastable.models.sites import Site

THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)


def by_torch(monkeypatch):
    """Measure by the torch operations of other devices."""
    monkeypatch.setattr(fused, "choose_row_kernel", lambda _device, _n_keys: RowKernel("torch", "asked for"))


def in_tiles_of(monkeypatch, n_scores):
    for name in ("_SCORES_IN_CACHE", "_SCORES_ON_DEVICE"):
        monkeypatch.setattr(fused, name, n_scores)


def inputs(n_batch=2, n_heads=4, n_queries=9, n_keys=9, size=8, key_heads=None, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(n_heads, n_queries), (key_heads or n_heads, n_keys), (key_heads or n_heads, n_keys)]
    # Laid out as models lay them out: heads inside tokens.
    return [
        torch.randn(n_batch, tokens, heads, size, generator=generator).to(dtype).transpose(1, 2)
        for heads, tokens in shapes
    ]


def eager(query, key, value, additive=None, scaling=None, softcap=None):
    """Attention in float64; keys are hidden by -inf in `additive`."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.double().repeat_interleave(groups, dim=1) for x in (key, value))
    scores = query.double() @ key.transpose(-1, -2) * (scaling or query.shape[-1] ** -0.5)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    weights = torch.softmax(scores if additive is None else scores + additive, dim=-1)
    return (weights @ value).transpose(1, 2), weights


def assert_same_counts(counts, weights):
    """Equal, but for rows whose mass comes within float32 rounding of the goal."""
    mass = weights.double().sort(dim=-1, descending=True).values.cumsum(dim=-1)
    for index, threshold in enumerate(THRESHOLDS):
        near = ((mass - (threshold - 1e-6)).abs() < 2e-6).any(dim=-1)
        assert near.float().mean() < 0.02
        expected = count_entries(weights, [threshold])[..., 0]
        assert torch.equal(counts[..., index][~near], expected[~near])


def assert_attends(attended, reference, weights, tolerance=2e-6):
    torch.testing.assert_close(attended.output.double(), reference, atol=tolerance, rtol=tolerance)
    assert_same_counts(attended.values["count"], weights)


@pytest.mark.parametrize("n_tokens", [1, 2, 20, 64, 200])
def test_output_and_counts_equal_plain_attention(n_tokens):
    query, key, value = inputs(n_queries=n_tokens, n_keys=n_tokens)
    attended = attend_and_measure(query, key, value, None, None, THRESHOLDS)
    assert attended.output.shape == (2, n_tokens, 4, 8)
    assert attended.output.is_contiguous()
    assert attended.values["count"].shape == (2, 4, n_tokens, 5)
    assert attended.values["count"].dtype == torch.int32
    assert_attends(attended, *eager(query, key, value))


@pytest.mark.parametrize("n_scores", [1, 9, 100, 400, 1000])
def test_tiles_of_any_size_give_the_same(monkeypatch, n_scores):
    query, key, value = inputs(n_keys=11)
    mask = torch.rand(2, 1, 9, 11, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[..., 0] = True
    bias = torch.randn(1, 4, 9, 11, generator=torch.Generator().manual_seed(2))
    whole = attend_and_measure(query, key, value, mask, 0.5, THRESHOLDS, bias=bias)
    in_tiles_of(monkeypatch, n_scores)
    tiled = attend_and_measure(query, key, value, mask, 0.5, THRESHOLDS, bias=bias)
    torch.testing.assert_close(tiled.output, whole.output, atol=1e-6, rtol=1e-6)
    assert torch.equal(tiled.values["count"], whole.values["count"])


def causal(n_queries, n_keys):
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    "mask",
    [
        causal(9, 9),
        causal(9, 9)[None, None],
        causal(9, 9)[None, None].expand(2, 4, 9, 9),
        torch.tensor([[True] * 9, [True] * 5 + [False] * 4])[:, None, None, :],
        torch.tensor([[True] * 9, [True] * 5 + [False] * 4])[:, None, None, :].expand(2, 1, 9, 9),
        torch.ones(1, 1, 1, 1, dtype=torch.bool),
    ],
    ids=["causal", "four axes", "expanded", "padding", "expanded padding", "one for all"],
)
@pytest.mark.parametrize("additive", [False, True])
def test_masks_of_all_shapes(mask, additive):
    query, key, value = inputs()
    hidden = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    given = hidden.clamp_min(torch.finfo(torch.float32).min) if additive else mask
    attended = attend_and_measure(query, key, value, given, None, THRESHOLDS)
    output, weights = eager(query, key, value, hidden)
    assert_attends(attended, output, weights)
    visible = mask.expand(2, 4, 9, 9).sum(dim=-1)
    assert (attended.values["count"].amax(dim=-1) <= visible).all()


def test_a_mask_longer_than_the_keys_is_cut():
    query, key, value = inputs()
    mask = torch.ones(2, 1, 9, 15, dtype=torch.bool)
    attended = attend_and_measure(query, key, value, mask, None, THRESHOLDS)
    assert_attends(attended, *eager(query, key, value))


def test_grouped_queries_cross_lengths_softcap_and_bias():
    query, key, value = inputs(n_queries=5, n_keys=13, n_heads=6, key_heads=2)
    bias = torch.randn(1, 6, 5, 13, generator=torch.Generator().manual_seed(2))
    attended = attend_and_measure(query, key, value, None, 1.0, THRESHOLDS, bias=bias, softcap=2.0)
    assert_attends(attended, *eager(query, key, value, bias, scaling=1.0, softcap=2.0))


def test_values_of_another_size():
    query, key, _ = inputs()
    value = torch.randn(2, 4, 9, 3, generator=torch.Generator().manual_seed(5))
    assert_attends(attend_and_measure(query, key, value, None, None, THRESHOLDS), *eager(query, key, value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_attends_with_a_float32_softmax(dtype):
    query, key, value = inputs(dtype=dtype)
    attended = attend_and_measure(query, key, value, None, None, THRESHOLDS)
    scores = torch.matmul(query, key.transpose(-1, -2)).double() * 8**-0.5
    weights = torch.softmax(scores, dim=-1)
    assert attended.output.dtype == dtype
    torch.testing.assert_close(
        attended.output.double(), (weights @ value.double()).transpose(1, 2), atol=2e-2, rtol=2e-2
    )
    assert_same_counts(attended.values["count"], weights)


def test_queries_not_asked_attend_uncounted():
    query, key, value = inputs()
    asked = torch.ones(2, 9, dtype=torch.bool)
    asked[1, 4:] = False
    everything = attend_and_measure(query, key, value, None, None, THRESHOLDS)
    some = attend_and_measure(query, key, value, None, None, THRESHOLDS, asked=asked)
    torch.testing.assert_close(some.output, everything.output, atol=1e-6, rtol=1e-6)
    assert not some.values["count"][1, :, 4:].any()
    assert torch.equal(some.values["count"][0], everything.values["count"][0])


def test_rows_that_see_nothing_are_zero():
    query, key, value = inputs()
    mask = torch.ones(2, 1, 9, 9, dtype=torch.bool)
    mask[1, :, 3] = False
    attended = attend_and_measure(query, key, value, mask, None, THRESHOLDS)
    assert not attended.values["count"][1, :, 3].any()
    assert not attended.output[1, 3].any()
    assert attended.output.isfinite().all()


def test_broken_scores_are_refused():
    query, key, value = inputs()
    query[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        attend_and_measure(query, key, value, None, None, THRESHOLDS)


def test_bad_thresholds_are_refused():
    with pytest.raises(InputError, match="threshold"):
        attend_and_measure(*inputs(), None, None, [1.5])


def test_the_torch_way_of_other_devices_equals_the_kernel(monkeypatch):
    query, key, value = inputs(n_queries=40, n_keys=40)
    mask = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[1, :, 3] = False
    bias = torch.randn(1, 4, 40, 40, generator=torch.Generator().manual_seed(2))
    asked = torch.rand(2, 40, generator=torch.Generator().manual_seed(3)) < 0.8
    compiled = attend_and_measure(query, key, value, mask, None, THRESHOLDS, bias=bias, asked=asked)
    by_torch(monkeypatch)
    plain = attend_and_measure(query, key, value, mask, None, THRESHOLDS, bias=bias, asked=asked)
    torch.testing.assert_close(plain.output, compiled.output, atol=1e-6, rtol=1e-6)
    assert torch.equal(plain.values["count"], compiled.values["count"])
    query[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        attend_and_measure(query, key, value, None, None, THRESHOLDS)


def test_nothing_is_left_of_the_weights_but_a_tile(monkeypatch):
    """The largest array made is a tile of scores, whatever the length."""
    monkeypatch.setattr(fused, "_SCORES_IN_CACHE", 1000)
    seen = []
    matmul = torch.matmul

    def watch(*arguments):
        product = matmul(*arguments)
        seen.append(product.numel())
        return product

    monkeypatch.setattr(torch, "matmul", watch)
    attend_and_measure(*inputs(n_queries=100, n_keys=100), None, None, THRESHOLDS)
    assert max(seen) <= 1000
    assert np.sum(seen) >= 2 * 4 * 100 * 100


def plain_measures(query, key, value, seen, bias=0.0, scaling=None, softcap=None, sinks=None, word_keys=None):
    """Every measure of every row by its definition, in numpy and float64; counts with whether rounding can decide."""
    query, key, value = (x.double().numpy() for x in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    key, value = (np.repeat(x, groups, axis=1) for x in (key, value))
    scores = np.einsum("bhqd,bhkd->bhqk", query, key) * (scaling or query.shape[-1] ** -0.5)
    if softcap is not None:
        scores = np.tanh(scores / softcap) * softcap
    seen = np.broadcast_to(seen, scores.shape)
    scores = np.where(seen, scores + np.asarray(bias), -np.inf)
    sink = np.full(scores.shape[1], -np.inf) if sinks is None else sinks.double().numpy()
    sink = np.broadcast_to(sink[None, :, None, None], (*scores.shape[:-1], 1))
    weights = np.exp(scores - np.maximum(scores.max(axis=-1, keepdims=True), sink))
    on_sink = np.exp(sink - np.maximum(scores.max(axis=-1, keepdims=True), sink))
    whole = weights.sum(axis=-1, keepdims=True) + on_sink
    weights, on_sink = weights / whole, on_sink / whole
    words = word_keys.numpy()[:, None, None, :]
    rows = {
        "count": weights,
        "count_words": weights * words,
        "count_contributions": weights * np.linalg.norm(value, axis=-1)[:, :, None, :],
    }
    masses = {
        "special_mass": (weights * ~words).sum(axis=-1),
        "first_mass": weights[..., 0],
        "sink_mass": on_sink[..., 0],
        "n_visible": seen.sum(axis=-1),
    }
    return {name: sorted_counts(row) for name, row in rows.items()}, masses, weights @ value


def sorted_counts(rows, within=2e-6):
    ordered = -np.sort(-rows, axis=-1)
    total = ordered.sum(axis=-1, keepdims=True)
    mass = np.cumsum(ordered, axis=-1) / np.where(total > 0, total, 1)
    goals = np.array(THRESHOLDS) - 1e-6
    counts = 1 + (mass[..., None] < goals).sum(axis=-2)
    near = (np.abs(mass[..., None] - goals) < within).any(axis=-2)
    return np.where(total > 0, counts, 0), near


def assert_measures(values, expected, tolerance=2e-6):
    counts, masses, _ = expected
    for name, (count, near) in counts.items():
        assert near.mean() < 0.03
        assert np.array_equal(values[name].numpy()[~near], count[~near]), name
    for name, mass in masses.items():
        np.testing.assert_allclose(values[name].numpy(), mass, atol=tolerance, rtol=tolerance, err_msg=name)


@pytest.fixture(params=["compiled", "torch"])
def way(request, monkeypatch):
    """Run a test by the kernel, and by the torch operations of other devices."""
    if request.param == "torch":
        by_torch(monkeypatch)


def seen_keys(kind, n_tokens):
    """A boolean mask in numpy, (batch, 1, queries, keys) or less."""
    i, j = np.arange(n_tokens)[:, None], np.arange(n_tokens)[None, :]
    return {
        "all": np.ones((1, 1, 1, 1), dtype=bool),
        "causal": (j <= i)[None, None],
        "sliding": ((j <= i) & (j > i - 5))[None, None],
        "chunked": ((j <= i) & (j // 4 == i // 4))[None, None],
        "padded": (j[None] < np.array([n_tokens, max(n_tokens - 3, 1)])[:, None, None])[:, None],
        "padded causal": ((j <= i)[None] & (j[None] < np.array([n_tokens, max(n_tokens - 3, 1)])[:, None, None]))[
            :, None
        ],
    }[kind]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("n_tokens", [1, 9, 40, 300])
@pytest.mark.parametrize("kind", ["all", "causal", "sliding", "chunked", "padded", "padded causal"])
@pytest.mark.parametrize("additive", [False, True])
def test_all_measures_equal_plain_ones_whatever_the_mask(n_tokens, kind, additive):
    query, key, value = inputs(n_queries=n_tokens, n_keys=n_tokens, seed=n_tokens)
    seen = seen_keys(kind, n_tokens)
    words = torch.rand(2, n_tokens, generator=torch.Generator().manual_seed(4)) < 0.7
    mask = torch.from_numpy(seen)
    if additive:
        mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    measured = attend_and_measure(query, key, value, mask, None, THRESHOLDS, ROW_MEASURES, word_keys=words)
    expected = plain_measures(query, key, value, seen, word_keys=words)
    assert_measures(measured.values, expected)
    np.testing.assert_allclose(measured.output.numpy(), expected[2].transpose(0, 2, 1, 3), atol=2e-6, rtol=2e-6)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("n_tokens", [13, 270])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_all_measures_with_bias_softcap_groups_and_sinks(n_tokens, dtype):
    query, key, value = inputs(n_queries=7, n_keys=n_tokens, n_heads=6, key_heads=2)
    generator = torch.Generator().manual_seed(2)
    bias = torch.randn(1, 6, 7, n_tokens, generator=generator)
    sinks = torch.randn(6, generator=generator)
    words = torch.rand(2, n_tokens, generator=generator) < 0.7
    seen = np.ones((2, 1, 1, n_tokens), dtype=bool)
    seen[1, ..., 5:8] = False
    options = {"softcap": 2.0, "sinks": sinks, "word_keys": words}
    # Products of queries and keys are whole numbers, so that no type rounds them.
    query, key = (torch.randint(-2, 3, x.shape, generator=generator).to(dtype) for x in (query, key))
    value = value.to(dtype)
    measured = attend_and_measure(
        query, key, value, torch.from_numpy(seen), 0.5, THRESHOLDS, ROW_MEASURES, bias=bias, **options
    )
    expected = plain_measures(query, key, value, seen, bias.double().numpy(), 0.5, **options)
    assert_measures(measured.values, expected)
    assert measured.output.dtype == dtype
    rounding = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    np.testing.assert_allclose(
        measured.output.double().numpy(), expected[2].transpose(0, 2, 1, 3), atol=rounding, rtol=rounding
    )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("n_scores", [1, 100, 1000])
def test_tiles_of_any_size_give_the_same_measures(monkeypatch, n_scores):
    query, key, value = inputs(n_keys=11, n_heads=4, key_heads=2)
    mask = torch.rand(2, 1, 9, 11, generator=torch.Generator().manual_seed(1)) < 0.7
    options = {"sinks": torch.arange(4.0), "word_keys": mask[:, 0, 0], "asked": mask[:, 0, :, 3]}
    whole = attend_and_measure(query, key, value, mask, 0.5, THRESHOLDS, ROW_MEASURES, **options)
    in_tiles_of(monkeypatch, n_scores)
    tiled = attend_and_measure(query, key, value, mask, 0.5, THRESHOLDS, ROW_MEASURES, **options)
    for name in ROW_MEASURES:
        torch.testing.assert_close(tiled.values[name], whole.values[name], atol=1e-6, rtol=1e-6, equal_nan=True)


@pytest.mark.usefixtures("way")
def test_rows_that_are_not_asked_or_see_nothing_have_no_measures():
    query, key, value = inputs()
    mask = torch.ones(2, 1, 9, 9, dtype=torch.bool)
    mask[1, :, 3] = False
    asked = torch.ones(2, 9, dtype=torch.bool)
    asked[0, 4] = False
    words = torch.ones(2, 9, dtype=torch.bool)
    values = attend_and_measure(
        query, key, value, mask, None, THRESHOLDS, ROW_MEASURES, asked=asked, word_keys=words, sinks=torch.zeros(4)
    ).values
    without = torch.zeros(2, 4, 9, dtype=torch.bool)
    without[1, :, 3] = without[0, :, 4] = True
    for name in COUNTS:
        assert values[name].dtype == torch.int32
        assert torch.equal((values[name] == 0).all(dim=-1), without)
    for name in MASSES:
        assert values[name].dtype == torch.float32
        assert torch.equal(values[name].isnan(), without)
    assert torch.equal(values["n_visible"] == 0, without)
    assert values["n_visible"].dtype == torch.int32


@pytest.mark.usefixtures("way")
def test_masks_hide_keys_in_every_type_and_biases_do_not():
    query, key, value = inputs()
    words = torch.ones(2, 9, dtype=torch.bool)
    for hides in (-torch.inf, -1e4, torch.finfo(torch.float16).min, torch.finfo(torch.bfloat16).min):
        mask = torch.zeros(2, 1, 1, 9)
        mask[1, ..., 6:] = hides
        bias = torch.full((1, 4, 9, 9), -100.0)
        values = attend_and_measure(
            query, key, value, mask, None, THRESHOLDS, ROW_MEASURES, bias=bias, word_keys=words
        ).values
        assert (values["n_visible"][0] == 9).all()
        assert (values["n_visible"][1] == 6).all()


@pytest.mark.usefixtures("way")
def test_contributions_are_of_the_values_length_whatever_its_unit():
    query, key, value = inputs()
    wanted = ["count_contributions"]
    as_given = attend_and_measure(query, key, value, None, None, THRESHOLDS, wanted).values
    longer = attend_and_measure(query, key, value * 2.0**70, None, None, THRESHOLDS, wanted).values
    shorter = attend_and_measure(query, key, value * 2.0**-30, None, None, THRESHOLDS, wanted).values
    assert torch.equal(longer["count_contributions"], as_given["count_contributions"])
    assert torch.equal(shorter["count_contributions"], as_given["count_contributions"])
    equal = attend_and_measure(query, key, torch.ones_like(value), None, None, THRESHOLDS, wanted).values
    assert torch.equal(equal["count_contributions"], equal["count"])
    nothing = attend_and_measure(query, key, torch.zeros_like(value), None, None, THRESHOLDS, wanted).values
    assert not nothing["count_contributions"].any()


def test_value_lengths_are_shares_of_the_longest():
    value = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(value_lengths(value), torch.tensor([[[1.0, 0.2], [0.0, 0.0]]]))


def test_broken_values_and_sinks_are_refused():
    query, key, value = inputs()
    with pytest.raises(InputError, match="scores are NaN"):
        attend_and_measure(query, key, value, None, None, THRESHOLDS, sinks=torch.full((4,), torch.nan))
    value[0, 0, 0, 0] = torch.inf
    with pytest.raises(InputError, match="values are NaN"):
        attend_and_measure(query, key, value, None, None, THRESHOLDS, ["count_contributions"])


def test_measures_that_cannot_be_had_are_refused():
    with pytest.raises(InputError, match="row measure 'kurtosis' is unknown; choose of count, "):
        attend_and_measure(*inputs(), None, None, THRESHOLDS, ["kurtosis"])
    for name in ("count_words", "special_mass"):
        with pytest.raises(InputError, match=f"{name!r} needs the keys of words"):
            attend_and_measure(*inputs(), None, None, THRESHOLDS, [name])


def test_only_what_is_wanted_is_measured():
    values = attend_and_measure(*inputs(), None, None, THRESHOLDS, ["n_visible", "first_mass"]).values
    assert set(values) == {"count", "first_mass", "n_visible"}


@pytest.mark.parametrize("n_tokens", [9, 270])
def test_whole_weights_give_the_same_measures(n_tokens):
    query, key, value = inputs(n_queries=n_tokens, n_keys=n_tokens, n_heads=6, key_heads=2)
    generator = torch.Generator().manual_seed(2)
    sinks, words = torch.randn(6, generator=generator), torch.rand(2, n_tokens, generator=generator) < 0.7
    asked = torch.rand(2, n_tokens, generator=generator) < 0.7
    seen = seen_keys("padded causal", n_tokens)
    options = {"asked": asked, "word_keys": words}
    inside = attend_and_measure(
        query, key, value, torch.from_numpy(seen), None, THRESHOLDS, ROW_MEASURES, sinks=sinks, **options
    ).values
    scores = query @ key.repeat_interleave(3, dim=1).transpose(-1, -2) * 8**-0.5
    scores = scores.masked_fill(~torch.from_numpy(seen), -torch.inf)
    column = sinks[None, :, None, None].expand(2, 6, n_tokens, 1)
    weights = torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]
    outside = summarize_rows(
        weights,
        THRESHOLDS,
        Site("self", 1, 6),
        asked,
        {"text": torch.where(words, 0, -1)},
        check_row_options(measures=(*COUNTS, *MASSES, "share")),
        values=value.repeat_interleave(3, dim=1),
    )
    assert set(outside) == {*COUNTS, *MASSES, "share"}
    for name in MASSES:
        torch.testing.assert_close(outside[name], inside[name], atol=1e-6, rtol=1e-5, equal_nan=True)
    torch.testing.assert_close(
        (outside["share"].nan_to_num() * inside["n_visible"][..., None]).round().int(), outside["count"]
    )
    for name in COUNTS:
        assert (outside[name] != inside[name]).float().mean() < 1e-3


def test_a_listener_attends_and_takes_the_measures_of_a_layer():
    query, key, value = inputs()
    taken = []
    asked = torch.ones(2, 9, dtype=torch.bool)
    words = torch.arange(9).expand(2, 9) > 0
    listener = Measuring(
        THRESHOLDS, ROW_MEASURES, lambda _site, n: asked[:, :n], lambda _site, n: words[:, :n], taken.append
    )
    output = listener.attend(Scores(query, key, value, None, 0.5, None, None), "self", 3)
    expected = attend_and_measure(query, key, value, None, 0.5, THRESHOLDS, ROW_MEASURES, word_keys=words)
    assert torch.equal(output, expected.output)
    assert [(layer.site, layer.layer) for layer in taken] == [("self", 3)]
    assert isinstance(taken[0], LayerMeasures)
    for name in ROW_MEASURES:
        assert torch.equal(taken[0].values[name], expected.values[name])


def test_the_torch_way_gives_every_measure_that_the_kernel_gives(monkeypatch):
    query, key, value = inputs(n_queries=40, n_keys=40)
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(2, 1, 40, 40, generator=generator) < 0.7
    mask[1, :, 3] = False
    options = {
        "bias": torch.randn(1, 4, 40, 40, generator=generator),
        "sinks": torch.tensor([-50.0, 0.0, 3.0, 60.0]),
        "asked": torch.rand(2, 40, generator=generator) < 0.8,
        "word_keys": torch.rand(2, 40, generator=generator) < 0.8,
    }
    compiled = attend_and_measure(query, key, value, mask, None, THRESHOLDS, ROW_MEASURES, **options)
    by_torch(monkeypatch)
    plain = attend_and_measure(query, key, value, mask, None, THRESHOLDS, ROW_MEASURES, **options)
    torch.testing.assert_close(plain.output, compiled.output, atol=1e-6, rtol=1e-6)
    for name in ROW_MEASURES:
        exactly = {"atol": 0, "rtol": 0} if name in COUNTS else {"atol": 1e-6, "rtol": 1e-5}
        torch.testing.assert_close(plain.values[name], compiled.values[name], equal_nan=True, **exactly)
