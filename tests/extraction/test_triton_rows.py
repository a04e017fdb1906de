"""The kernel of graphics cards against float64: on a card where there is one, else by Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed; it comes with the extra dev on Linux")

from metastable.errors import InputError
from metastable.extraction import fused, row_kernels, triton_rows
from metastable.extraction.fused import attend_and_measure
from metastable.extraction.kernels import COUNTS, MASSES, NOT_FINITE
from metastable.extraction.row_kernels import RowKernel, choose_row_kernel
from metastable.extraction.row_measures import ROW_MEASURES, Rows, lengths_if_finite
from metastable.extraction.triton_lengths import lengths_if_finite_on_card

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAMES = (*COUNTS, *MASSES)

pytestmark = [
    pytest.mark.skipif(
        DEVICE == "cpu" and type(triton_rows._rows).__name__ != "InterpretedFunction",
        reason="Triton was imported before tests/conftest.py asked for its interpreter",
    ),
    # The interpreter computes by numpy what a card computes without a word, such as infinity minus infinity.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
]


def measure(scores, scaling=1.0, shares=(0.9,), names=NAMES, rows_at_once=64, in_parts=None, **of_rows):
    """Weights, counts by name, and masses by name; what `Rows` lacks is drawn up here."""
    n_batch, n_heads, n_queries, n_keys = scores.shape
    given = {
        "visible": None,
        "bias": None,
        "asked": torch.ones(n_batch, n_queries, dtype=torch.bool),
        "sinks": None,
        "word_keys": torch.arange(n_keys).expand(n_batch, n_keys) % 3 > 0,
        "lengths": torch.rand(n_batch, n_heads, n_keys, generator=torch.Generator().manual_seed(9)),
    } | of_rows
    there = {name: None if tensor is None else tensor.to(DEVICE) for name, tensor in given.items()}
    counted = [name for name in COUNTS if name in names]
    weighed = [name for name in MASSES if name in names]
    counts = torch.full((len(counted), *scores.shape[:3], len(shares)), -7, dtype=torch.int32, device=DEVICE)
    masses = torch.full((len(weighed), *scores.shape[:3]), -7.0, device=DEVICE)
    weights = scores.clone().to(DEVICE)
    rows = Rows(shares, tuple(names), **there)
    triton_rows.softmax_and_measure(
        weights, weights, scaling, rows, counts, masses, rows_at_once=rows_at_once, in_parts=in_parts
    )
    values = dict(zip(counted, counts.cpu(), strict=True)) | dict(zip(weighed, masses.cpu(), strict=True))
    return weights.cpu(), values, given


def sorted_count(row, share):
    """The count of one row in float64, and whether float32 rounding of the weights could decide it."""
    ordered = np.sort(row)[::-1]
    mass = np.cumsum(ordered)
    if mass[-1] == 0:
        return 0, False
    mass = mass / mass[-1]
    return 1 + int((mass < share - 1e-6).sum()), bool((np.abs(mass - (share - 1e-6)) < 1e-6).any())


def assert_equals_float64(scores, scaling, shares, values, given):
    """Every row by its definition, in numpy and float64."""
    whole = np.broadcast_to(scores.double().numpy() * scaling, scores.shape).copy()
    if given["bias"] is not None:
        whole += given["bias"].double().numpy()
    if given["visible"] is not None:
        whole = np.where(given["visible"].numpy(), whole, -np.inf)
    words, lengths = given["word_keys"].numpy(), given["lengths"].double().numpy()
    n_decided = 0
    for b, h, q in np.ndindex(*scores.shape[:3]):
        row, asked = whole[b, h, q], bool(given["asked"][b, q])
        sees_some = np.isfinite(row).any()
        if not asked or not sees_some:
            assert all((values[name][b, h, q] == 0).all() for name in COUNTS)
            assert all(values[name][b, h, q].isnan() for name in MASSES)
            continue
        weights = np.exp(row - row.max())
        sink = 0.0 if given["sinks"] is None else np.exp(float(given["sinks"][h]) - row.max())
        total = weights.sum() + sink
        expected = [weights[~words[b]].sum() / total, weights[0] / total, sink / total]
        np.testing.assert_allclose([float(values[name][b, h, q]) for name in MASSES], expected, atol=2e-6, rtol=2e-6)
        lines = (weights, weights * words[b], weights * lengths[b, h])
        for name, line in zip(COUNTS, lines, strict=True):
            for t, share in enumerate(shares):
                count, near = sorted_count(line, share)
                if not near:
                    n_decided += 1
                    assert int(values[name][b, h, q, t]) == count, (name, share, b, h, q)
    return n_decided


@st.composite
def cases(draw):
    n_keys = draw(st.sampled_from([1, 2, 3, 20, 31, 64, 100, 257, 513]))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 4)), n_keys)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    spread = draw(st.sampled_from([0.0, 0.3, 2.0, 15.0]))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    # Coarse scores make equal entries, which the order of a sort would have to break.
    scores = (torch.randn(shape, generator=generator) * spread).to(dtype)
    rows = {}
    if draw(st.booleans()):
        axes = [draw(st.sampled_from([1, n])) for n in shape[:3]]
        rows["visible"] = torch.rand((*axes, n_keys), generator=generator) < draw(st.sampled_from([0.1, 0.7]))
    if draw(st.booleans()):
        axes = [draw(st.sampled_from([1, n])) for n in shape[:3]]
        rows["bias"] = torch.randn((*axes, n_keys), generator=generator)
    if draw(st.booleans()):
        rows["sinks"] = torch.randn(shape[1], generator=generator) * 5
    if draw(st.booleans()):
        rows["asked"] = torch.rand(shape[0], shape[2], generator=generator) < 0.7
    if draw(st.booleans()):
        # As many keys that are no words as are listed, fewer, or more; and where they hold much, or nearly all.
        n_others = min(draw(st.sampled_from([0, 1, 2, 4, 5, n_keys])), n_keys)
        others = torch.randperm(n_keys, generator=generator)[:n_others]
        rows["word_keys"] = torch.ones(shape[0], n_keys, dtype=torch.bool)
        rows["word_keys"][:, others] = False
        scores[..., others] += draw(st.sampled_from([0.0, 4.0, 20.0]))
    share = st.one_of(st.sampled_from([0.5, 0.9, 0.99, 1.0, 1e-6]), st.floats(0.01, 1.0))
    shares = tuple(draw(st.lists(share, min_size=1, max_size=3)))
    return scores, shares, rows


@pytest.fixture
def short_parts(monkeypatch):
    """Let rows of a few keys have several parts."""
    monkeypatch.setattr(triton_rows, "_KEYS_OF_PART", 32)
    monkeypatch.setattr(triton_rows, "MOST_KEYS", 8)


@settings(max_examples=12, deadline=None)
@given(cases())
def test_every_row_is_measured_as_by_float64(case):
    check_case(*case, in_parts=False)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases())
def test_every_row_in_parts_is_measured_as_by_float64(short_parts, case):
    check_case(*case, in_parts=True)


def check_case(scores, shares, of_rows, *, in_parts):
    weights, values, given = measure(scores, 0.7, shares, in_parts=in_parts, **of_rows)
    assert_equals_float64(scores, 0.7, shares, values, given)
    reference = scores.clone().float()
    rows = Rows(shares, NAMES, **given)
    filled = fused._empty_values(NAMES, scores.shape[:3], len(shares), torch.device("cpu"))
    compiled = fused._weigh_compiled(reference, 0.7, rows, filled, torch.float32)
    rounding = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}[scores.dtype]
    torch.testing.assert_close(weights.float(), compiled, atol=rounding, rtol=rounding)


def test_the_counts_of_a_row_longer_than_a_warp_are_those_of_float64():
    scores = torch.randn(1, 1, 6, 3000, generator=torch.Generator().manual_seed(3)) * 3
    shares = (0.99, 0.5, 0.9)
    _, values, given = measure(scores, 1.0, shares)
    assert assert_equals_float64(scores, 1.0, shares, values, given) > 45


@pytest.mark.parametrize("in_parts", [False, True])
def test_rows_one_at_a_time_are_those_side_by_side(short_parts, in_parts):
    scores = torch.randn(1, 1, 5, 40, generator=torch.Generator().manual_seed(4)) * 2
    together = measure(scores, rows_at_once=8, in_parts=in_parts)
    alone = measure(scores, rows_at_once=1, in_parts=in_parts)
    assert torch.equal(together[0], alone[0])
    for name in NAMES:
        assert torch.equal(together[1][name], alone[1][name])


@pytest.mark.parametrize(
    ("n_keys", "others", "extra"),
    # None; few, with little of the mass, with half and with nearly all of it; more than are listed; all.
    [
        *((33, others, extra) for others, extra in (([], 0.0), ([0, -1], 0.0), ([0, 7, 20, -1], 4.0), ([0, -1], 20.0))),
        *((33, others, 1.0) for others in ([0, 1, 2, 3, -1], list(range(33)))),
        *((513, others, extra) for others, extra in (([0, 7, 20, -1], 4.0), ([0, -1], 20.0), ([0, 1, 2, 3, -1], 1.0))),
        (1500, [0, -1], 4.0),
    ],
)
def test_words_are_counted_beside_other_keys_however_many(n_keys, others, extra):
    """Of rows of a few lanes, of a warp and of several; brackets go from all keys to words and back."""
    generator = torch.Generator().manual_seed(n_keys)
    # Coarse scores, so that keys that are no words are as heavy as words to the last bit.
    scores = (torch.randn(2, 1, 3, n_keys, generator=generator) * 2).to(torch.bfloat16)
    word_keys = torch.ones(2, n_keys, dtype=torch.bool)
    word_keys[:, others] = False
    scores[..., others] += extra
    # Hides one of them in every row, and another in some.
    visible = torch.rand(2, 1, 3, n_keys, generator=generator) < 0.9
    visible[..., others[:1]] = False
    for rows in ({}, {"visible": visible, "sinks": torch.tensor([1.0])}):
        _, values, given = measure(scores, 0.7, (0.95, 0.5, 0.9), word_keys=word_keys, rows_at_once=8, **rows)
        assert_equals_float64(scores, 0.7, (0.95, 0.5, 0.9), values, given)


@pytest.mark.parametrize("extra", [0.0, 2.0])
@pytest.mark.parametrize("n_words", [20, 600])
def test_ties_of_words_beside_few_other_keys_need_no_entry_too_many(n_words, extra):
    """Where float64 has to decide, the other keys are no part of the row either."""
    scores = torch.zeros(1, 1, 1, n_words + 2)
    scores[..., [0, -1]] = extra
    words = (torch.arange(n_words + 2) % (n_words + 1) > 0)[None]
    _, values, _ = measure(scores, shares=(0.9, 0.5, 1.0, 0.7), word_keys=words)
    expected = [round(share * n_words) for share in (0.9, 0.5, 1.0, 0.7)]
    assert values["count_words"][0, 0, 0].tolist() == expected


@pytest.mark.parametrize("n_keys", [20, 600])
def test_words_of_rows_beside_one_that_is_not_finite_are_counted(n_keys):
    scores = torch.randn(1, 1, 4, n_keys, generator=torch.Generator().manual_seed(8))
    alone = measure(scores, names=("count", "count_words"), word_keys=torch.arange(n_keys)[None] > 0)[1]
    scores[0, 0, 1, 0] = torch.nan
    beside = measure(scores, names=("count", "count_words"), word_keys=torch.arange(n_keys)[None] > 0)[1]
    kept = [0, 2, 3]
    assert torch.equal(beside["count_words"][0, 0, kept], alone["count_words"][0, 0, kept])
    assert torch.equal(beside["count"][0, 0, kept], alone["count"][0, 0, kept])
    assert beside["count"][0, 0, 1].item() == NOT_FINITE


@pytest.mark.parametrize("n_keys", [1, 5, 2000])
def test_the_few_keys_that_are_no_words_are_listed(monkeypatch, n_keys):
    monkeypatch.setattr(triton_rows, "_KEYS_OF_LIST", 256)  # several turns
    generator = torch.Generator().manual_seed(n_keys)
    words = torch.rand(4, n_keys, generator=generator) < torch.tensor([0.0, 0.5, 0.999, 1.0])[:, None]
    seen = torch.rand(4, 1, 3, n_keys, generator=generator) < 0.6
    for visible, others in (
        (None, ~words),
        (seen, ~words & seen[:, 0].any(1)),
        (seen[:1, :, :1], ~words & seen[0, 0, 0]),
    ):
        there = None if visible is None else visible.to(DEVICE)
        listed = triton_rows.list_others(words.to(DEVICE), there).cpu()
        for row, of_row in zip(listed.tolist(), others, strict=True):
            keys = of_row.nonzero().flatten().tolist()
            assert row[0] == len(keys)
            assert row[1 : 1 + min(4, len(keys))] == keys[:4]


@pytest.mark.parametrize("in_parts", [False, True])
def test_ties_at_the_threshold_need_no_entry_too_many(short_parts, in_parts):
    """0.9 of twenty equal entries are eighteen, in float32 as on paper."""
    for n_keys, shares, counts in (
        (20, (0.9, 0.5, 1.0), [18, 10, 20]),
        (4, (0.9, 0.25), [4, 1]),
        (1000, (0.9,), [900]),
    ):
        _, values, _ = measure(torch.zeros(1, 1, 1, n_keys), shares=shares, in_parts=in_parts)
        assert values["count"][0, 0, 0].tolist() == counts
    given = torch.tensor([0.5, 0.4, 0.1]).log()[None, None, None]
    assert measure(given, in_parts=in_parts)[1]["count"].item() == 2


@pytest.mark.parametrize("in_parts", [False, True])
def test_scores_that_are_not_finite_are_marked(short_parts, in_parts):
    scores = torch.zeros(1, 1, 4, 9)
    scores[0, 0, 0, 3] = torch.nan
    scores[0, 0, 1, 3] = torch.inf
    scores[0, 0, 2, 3] = -torch.inf
    _, values, _ = measure(scores, names=("count",), in_parts=in_parts)
    assert values["count"][0, 0, :, 0].tolist() == [NOT_FINITE, NOT_FINITE, 8, 9]


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_sink_far_above_the_keys_takes_everything(in_parts):
    _, values, _ = measure(torch.zeros(1, 2, 1, 5), sinks=torch.tensor([200.0, -200.0]), in_parts=in_parts)
    assert values["sink_mass"].flatten().tolist() == [1.0, 0.0]
    assert values["count"].flatten().tolist() == [5, 5]


@pytest.mark.parametrize(
    ("in_parts", "n_batch", "n_key_heads", "most_scores"),
    # Parts of some heads, of one sequence's queries, and all at once; grouped heads, and more heads than sequences.
    [(False, 2, 2, 300), (True, 2, 2, 300), (False, 2, 4, 80), (False, 5, 4, 1000), (False, 2, 4, 1 << 20)],
)
def test_attention_by_the_kernel_is_attention(monkeypatch, in_parts, n_batch, n_key_heads, most_scores):
    """Through the whole of `attend_and_measure`: grouped heads, parts, softcap, a mask, sinks, every type."""
    if in_parts:  # rows of eleven keys are then too long for one program
        monkeypatch.setattr(triton_rows, "MOST_KEYS", 10)
        monkeypatch.setattr(triton_rows, "_KEYS_OF_PART", 4)
        if DEVICE == "cpu":
            monkeypatch.setattr(triton_rows, "_ROWS_IN_PARTS", 64)
    monkeypatch.setattr(fused, "_scores_on_card", lambda _device, _n_bytes: most_scores)
    if DEVICE == "cpu":
        monkeypatch.setattr(triton_rows, "_LANES_OF_WARP", 1024)  # many rows at a time, for the interpreter's sake
    generator = torch.Generator().manual_seed(5)
    query = torch.randint(-2, 3, (n_batch, 4, 6, 8), generator=generator).float()
    key = torch.randint(-2, 3, (n_batch, n_key_heads, 11, 8), generator=generator).float()
    value = torch.randn(n_batch, n_key_heads, 11, 8, generator=generator)
    mask = torch.rand(n_batch, 1, 6, 11, generator=generator) < 0.7
    options = {
        "softcap": 2.0,
        "sinks": torch.randn(4, generator=generator),
        "bias": torch.randn(1, 4, 6, 11, generator=generator),
        "word_keys": torch.rand(n_batch, 11, generator=generator) < 0.7,
    }
    types = ((torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2))
    for dtype, rounding in types if n_key_heads == 2 else types[1:2]:
        tensors = [tensor.to(dtype) for tensor in (query, key, value)]
        compiled = attend_and_measure(*tensors, mask, 0.5, (0.9, 0.5), ROW_MEASURES, **options)
        with monkeypatch.context() as patch:
            if DEVICE == "cpu":
                patch.setattr(fused, "choose_row_kernel", lambda _device, _n: RowKernel("triton", "interpreted"))
            there = {name: tensor.to(DEVICE) if torch.is_tensor(tensor) else tensor for name, tensor in options.items()}
            on_card = [tensor.to(DEVICE) for tensor in (*tensors, mask)]
            measured = attend_and_measure(*on_card, 0.5, (0.9, 0.5), ROW_MEASURES, **there)
        torch.testing.assert_close(measured.output.cpu(), compiled.output, atol=rounding, rtol=rounding)
        for name in ROW_MEASURES:
            exactly = {"atol": 1e-6, "rtol": 1e-5} if name in MASSES else {"atol": 0, "rtol": 0}
            torch.testing.assert_close(measured.values[name].cpu(), compiled.values[name], equal_nan=True, **exactly)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_keys", [1, 20, 150])
def test_lengths_of_values_are_those_of_the_host(dtype, n_keys):
    value = torch.randn(2, n_keys, 3, 20, generator=torch.Generator().manual_seed(6)).to(dtype).transpose(1, 2)
    value[0, 1] = 0
    value[1, 2] *= 1e30  # whose squares no float32 holds
    lengths, finite = lengths_if_finite_on_card(value.to(DEVICE))
    torch.testing.assert_close(lengths.cpu(), lengths_if_finite(value)[0], rtol=2e-6, atol=1e-7)
    assert bool(finite)
    for fault in (torch.nan, -torch.inf):
        value[1, 0, 0, 5] = fault
        assert not bool(lengths_if_finite_on_card(value.to(DEVICE))[1])


def test_faults_can_be_told_later(monkeypatch):
    if DEVICE == "cpu":
        monkeypatch.setattr(fused, "choose_row_kernel", lambda _device, _n: RowKernel("triton", "interpreted"))
    query, key, value = torch.zeros(3, 1, 1, 3, 4, device=DEVICE)
    query[0, 0, 0, 0], value = torch.nan, value + 1
    faults = attend_and_measure(query, key, value, None, None, (0.9,), checks=False).faults
    with pytest.raises(InputError, match="scores are NaN"):
        fused.refuse_faults(torch.stack([torch.zeros_like(faults), faults]))


def test_the_choice_says_why(monkeypatch):
    cuda = torch.device("cuda", 0)
    assert str(choose_row_kernel(torch.device("cpu"), 20)) == "compiled: the rows are on the CPU"
    assert "not for 'mps'" in choose_row_kernel(torch.device("mps"), 20).reason
    monkeypatch.setattr(row_kernels, "_fault_of_triton", lambda *_: "")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    assert choose_row_kernel(cuda, 20) == RowKernel("triton", "Triton runs on a card")
    assert choose_row_kernel(cuda, triton_rows.MOST_KEYS).reason == "Triton runs on a card"
    assert choose_row_kernel(cuda, triton_rows.MOST_KEYS + 1) == RowKernel(
        "triton",
        "Triton runs on a card; a row has up to 16,385 keys, and one of more than 16,384 is measured in parts",
    )
    fault = "Triton's kernel does not run on cuda:0 (no nvcc)"
    monkeypatch.setattr(row_kernels, "_fault_of_triton", lambda _, in_parts: fault if in_parts else "")
    assert choose_row_kernel(cuda, 20).name == "triton"
    assert choose_row_kernel(cuda, triton_rows.MOST_KEYS + 1) == RowKernel("torch", fault)
    monkeypatch.setattr(row_kernels, "find_spec", lambda _: None)
    assert choose_row_kernel(cuda, 20).reason == "Triton is not installed; run: pip install triton"


@pytest.mark.skipif(DEVICE == "cuda", reason="there is a card")
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_device_that_does_not_run_the_kernel_is_said_to(in_parts):
    assert "does not run on cuda" in row_kernels._fault_of_triton(torch.device("cuda", 99), in_parts)


COMPILE = """
import re
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from metastable.extraction import triton_lengths, triton_products, triton_rows

pointers = {"counts": "*i32", "masses": "*fp32", "plan": "*fp64", "bias": "*fp32", "sinks": "*fp32", "lengths": "*fp32"}
pointers |= dict.fromkeys(("visible", "asked", "words"), "*u8") | dict.fromkeys(("scale", "apart"), "fp32")
pointers |= {"longest": "*fp32", "finite": "*u8", "others": "*i32", "seen": "*u8"}
at = ("WORDS_AT", "CONTRIBUTIONS_AT", "OTHERS_AT", "FIRST_AT", "SINK_AT")
every = dict.fromkeys(("HEADS_FIRST", "HAS_VISIBLE", "HAS_BIAS", "HAS_SINKS"), True) | dict(zip(at, (1, 2, 0, 1, 2)))
none = dict.fromkeys(("HEADS_FIRST", "HAS_VISIBLE", "HAS_BIAS", "HAS_SINKS"), False) | dict.fromkeys(at, -1)
whole = dict(ROWS=4, WARPS=1, LANES=8, GROUPS=2, SIDE_BY_SIDE=8, FULL=False, SCALED=True, FAST=True, ERROR=4e-6)
several = dict(ROWS=1, WARPS=2, LANES=32, GROUPS=4, SIDE_BY_SIDE=8, FULL=True, SCALED=False, FAST=True, ERROR=4e-6)
in_parts = dict(KINDS=3, ROWS=triton_rows._ROWS_IN_PARTS, PART=triton_rows._KEYS_OF_PART)
product = dict(HEADS_FIRST=True, SIZE=33, PADDED=64, ROWS=128, INTERPRETED=False)
for kernel, dtype, warps, fixed in (
    (triton_rows._rows, "bf16", 1, every | whole),
    (triton_rows._rows, "fp32", 2, none | several | dict(GROUPS=8, SIDE_BY_SIDE=4)),
    (triton_rows._rows, "fp32", 1, none | whole | dict(GROUPS=4, SIDE_BY_SIDE=4)),
    (triton_rows._rows, "bf16", 2, every | several | dict(HAS_VISIBLE=False, HAS_BIAS=False)),
    (triton_rows._list_others, "bf16", 1, dict(HAS_SEEN=True, KEYS=triton_rows._KEYS_OF_LIST)),
    (triton_rows._rows_in_parts, "bf16", triton_rows._WARPS_OF_PART, every | in_parts),
    (triton_rows._rows_in_parts, "fp16", triton_rows._WARPS_OF_PART, none | in_parts),
    (triton_products._queries_by_keys, "bf16", 8, product | dict(COLUMNS=128)),
    (triton_products._weights_by_values, "fp16", 4, product | dict(KEYS=64)),
    (triton_lengths._lengths, "bf16", 4, dict(SIZE=33, PADDED=64, KEYS=64)),
):
    names = kernel.arg_names
    types = pointers | dict.fromkeys(("scores", "weights", "query", "key", "value", "values", "output"), "*" + dtype)
    signature = {name: "constexpr" if name in fixed else types.get(name, "i32") for name in names}
    aligned = [name for name in names if name == "step" or signature[name].startswith("*") and name != "plan"]
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in fixed.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    # A lane holds what lies side by side, and none of what it holds is of several rows.
    layouts = "sizePerThread = .((?:[0-9]+, ){4}[0-9]+)., threadsPerWarp = .(?:[0-9]+, ){4}([0-9]+)"
    held = set(re.findall(layouts, made.asm["ttgir"]))
    meant = {(f"1, 1, 1, 1, {fixed['SIDE_BY_SIDE']}", "1")} if kernel is triton_rows._rows else set()
    print(len(made.asm["cubin"]) > 0 and meant <= held)
"""


def test_the_kernels_compile_for_a_card_where_there_is_none(tmp_path):
    """To the card's own code, by the assembler that Triton brings along; nothing of it is run."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    script = tmp_path / "compile_rows.py"
    script.write_text(COMPILE)
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"] * 10, done.stderr[-2000:]


def test_scores_on_a_card_take_a_share_of_its_memory(monkeypatch):
    """Of 64 GiB one GiB, however wide they are; and no more of them than the kernels count to."""
    amount = fused._scores_on_card.__wrapped__
    for gibibytes, n_bytes, expected in ((64, 2, 1 << 29), (64, 4, 1 << 28), (8, 2, 1 << 26), (1024, 2, 1 << 30)):
        card = SimpleNamespace(total_memory=gibibytes << 30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device, card=card: card)
        assert amount(torch.device("cuda"), n_bytes) == expected


def test_keys_that_are_no_words_are_listed_where_they_are_asked_for(monkeypatch):
    listed = []
    list_others = triton_rows.list_others
    monkeypatch.setattr(triton_rows, "list_others", lambda *given: listed.append(1) or list_others(*given))
    scores = torch.randn(1, 1, 2, 5, generator=torch.Generator().manual_seed(3))
    for names, expected in ((("count",), 0), (("count", "first_mass"), 0), (("count", "count_words"), 1)):
        listed.clear()
        measure(scores, names=names)
        assert len(listed) == expected, names
