"""Attention that counts against plain attention and the sorted count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metastable.errors import InputError
from metastable.extraction import fused
from metastable.extraction.fused import attend_and_count
from metastable.extraction.mass import count_entries

THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)


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
    assert_same_counts(attended.counts, weights)


@pytest.mark.parametrize("n_tokens", [1, 2, 20, 64, 200])
def test_output_and_counts_equal_plain_attention(n_tokens):
    query, key, value = inputs(n_queries=n_tokens, n_keys=n_tokens)
    attended = attend_and_count(query, key, value, None, None, THRESHOLDS)
    assert attended.output.shape == (2, n_tokens, 4, 8)
    assert attended.output.is_contiguous()
    assert attended.counts.shape == (2, 4, n_tokens, 5)
    assert attended.counts.dtype == torch.int32
    assert_attends(attended, *eager(query, key, value))


@pytest.mark.parametrize("n_scores", [1, 9, 100, 400, 1000])
def test_tiles_of_any_size_give_the_same(monkeypatch, n_scores):
    query, key, value = inputs(n_keys=11)
    mask = torch.rand(2, 1, 9, 11, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[..., 0] = True
    bias = torch.randn(1, 4, 9, 11, generator=torch.Generator().manual_seed(2))
    whole = attend_and_count(query, key, value, mask, 0.5, THRESHOLDS, bias=bias)
    monkeypatch.setattr(fused, "_SCORES_IN_CACHE", n_scores)
    tiled = attend_and_count(query, key, value, mask, 0.5, THRESHOLDS, bias=bias)
    torch.testing.assert_close(tiled.output, whole.output, atol=1e-6, rtol=1e-6)
    assert torch.equal(tiled.counts, whole.counts)


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
    attended = attend_and_count(query, key, value, given, None, THRESHOLDS)
    output, weights = eager(query, key, value, hidden)
    assert_attends(attended, output, weights)
    visible = mask.expand(2, 4, 9, 9).sum(dim=-1)
    assert (attended.counts.amax(dim=-1) <= visible).all()


def test_a_mask_longer_than_the_keys_is_cut():
    query, key, value = inputs()
    mask = torch.ones(2, 1, 9, 15, dtype=torch.bool)
    attended = attend_and_count(query, key, value, mask, None, THRESHOLDS)
    assert_attends(attended, *eager(query, key, value))


def test_grouped_queries_cross_lengths_softcap_and_bias():
    query, key, value = inputs(n_queries=5, n_keys=13, n_heads=6, key_heads=2)
    bias = torch.randn(1, 6, 5, 13, generator=torch.Generator().manual_seed(2))
    attended = attend_and_count(query, key, value, None, 1.0, THRESHOLDS, bias=bias, softcap=2.0)
    assert_attends(attended, *eager(query, key, value, bias, scaling=1.0, softcap=2.0))


def test_values_of_another_size():
    query, key, _ = inputs()
    value = torch.randn(2, 4, 9, 3, generator=torch.Generator().manual_seed(5))
    assert_attends(attend_and_count(query, key, value, None, None, THRESHOLDS), *eager(query, key, value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_attends_with_a_float32_softmax(dtype):
    query, key, value = inputs(dtype=dtype)
    attended = attend_and_count(query, key, value, None, None, THRESHOLDS)
    scores = torch.matmul(query, key.transpose(-1, -2)).double() * 8**-0.5
    weights = torch.softmax(scores, dim=-1)
    assert attended.output.dtype == dtype
    torch.testing.assert_close(
        attended.output.double(), (weights @ value.double()).transpose(1, 2), atol=2e-2, rtol=2e-2
    )
    assert_same_counts(attended.counts, weights)


def test_queries_not_asked_attend_uncounted():
    query, key, value = inputs()
    asked = torch.ones(2, 9, dtype=torch.bool)
    asked[1, 4:] = False
    everything = attend_and_count(query, key, value, None, None, THRESHOLDS)
    some = attend_and_count(query, key, value, None, None, THRESHOLDS, asked=asked)
    torch.testing.assert_close(some.output, everything.output, atol=1e-6, rtol=1e-6)
    assert not some.counts[1, :, 4:].any()
    assert torch.equal(some.counts[0], everything.counts[0])


def test_rows_that_see_nothing_are_zero():
    query, key, value = inputs()
    mask = torch.ones(2, 1, 9, 9, dtype=torch.bool)
    mask[1, :, 3] = False
    attended = attend_and_count(query, key, value, mask, None, THRESHOLDS)
    assert not attended.counts[1, :, 3].any()
    assert not attended.output[1, 3].any()
    assert attended.output.isfinite().all()


def test_broken_scores_are_refused():
    query, key, value = inputs()
    query[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        attend_and_count(query, key, value, None, None, THRESHOLDS)


def test_bad_thresholds_are_refused():
    with pytest.raises(InputError, match="threshold"):
        attend_and_count(*inputs(), None, None, [1.5])


def test_the_torch_way_of_other_devices_equals_the_kernel(monkeypatch):
    query, key, value = inputs(n_queries=40, n_keys=40)
    mask = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(1)) < 0.7
    mask[1, :, 3] = False
    bias = torch.randn(1, 4, 40, 40, generator=torch.Generator().manual_seed(2))
    asked = torch.rand(2, 40, generator=torch.Generator().manual_seed(3)) < 0.8
    compiled = attend_and_count(query, key, value, mask, None, THRESHOLDS, bias=bias, asked=asked)
    monkeypatch.setattr(fused, "_softmax_and_measure_cpu", fused._softmax_and_measure_torch)
    plain = attend_and_count(query, key, value, mask, None, THRESHOLDS, bias=bias, asked=asked)
    torch.testing.assert_close(plain.output, compiled.output, atol=1e-6, rtol=1e-6)
    assert torch.equal(plain.counts, compiled.counts)
    query[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        attend_and_count(query, key, value, None, None, THRESHOLDS)


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
    attend_and_count(*inputs(n_queries=100, n_keys=100), None, None, THRESHOLDS)
    assert max(seen) <= 1000
    assert np.sum(seen) >= 2 * 4 * 100 * 100
