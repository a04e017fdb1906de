"""The product of a linear layer is the same to rounding whichever library multiplies, and the choice is told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from metastable.models import linear_layers
from metastable.models.linear_layers import LinearLibrary, choose_linear_library, multiplying

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="torch was built without oneDNN's product")


@pytest.fixture
def by_onednn(monkeypatch):
    monkeypatch.setattr(linear_layers, "_of_this_machine", lambda: LinearLibrary("oneDNN", "told so"))


@needs_onednn
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
    st.sampled_from([(128, 128), (130, 257), (512, 32), (8, 8)]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_a_product_is_that_of_float64(rows, shape, has_bias, strided, seed):
    n_in, n_out = shape
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*rows, 2 * n_in, generator=generator)
    x = x[..., ::2] if strided else x[..., :n_in].contiguous()
    weight = torch.randn(n_out, n_in, generator=generator)
    bias = torch.randn(n_out, generator=generator) if has_bias else None
    with torch.inference_mode(), linear_layers._ByOneDnn():
        product = linear(x, weight, bias=bias)
    expected = x.double().numpy() @ weight.double().numpy().T + (0 if bias is None else bias.double().numpy())
    assert product.shape == (*rows, n_out)
    np.testing.assert_allclose(product.numpy(), expected, atol=2e-6 * n_in, rtol=1e-5)


@needs_onednn
def test_a_layer_in_a_context_multiplies_by_onednn_and_others_do_not(by_onednn, monkeypatch):
    called = []
    product = torch.ops.mkldnn._linear_pointwise

    def noted(*arguments):
        called.append(tuple(arguments[1].shape))
        return product(*arguments)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", noted)
    large, small = torch.nn.Linear(128, 128), torch.nn.Linear(16, 16)
    with torch.inference_mode():
        with multiplying("cpu", torch.float32):
            large(torch.ones(3, 128))
            small(torch.ones(3, 16))
            large.double()(torch.ones(3, 128, dtype=torch.float64))
            large.float()(torch.ones(128))
        with multiplying("cpu", torch.bfloat16):
            large(torch.ones(3, 128))
        large(torch.ones(3, 128))
    assert called == [(128, 128)]


def test_the_choice_is_told_with_its_reason(by_onednn, monkeypatch):
    assert str(choose_linear_library("cpu", torch.float32)) == "oneDNN: told so"
    assert "not on the CPU" in str(choose_linear_library("cuda:0", torch.float32))
    assert str(choose_linear_library("cpu", torch.float16)) == "torch: the weights are float16"
    monkeypatch.setattr(linear_layers.torch.backends, "mkldnn", SimpleNamespace(enabled=False))
    assert str(choose_linear_library("cpu", torch.float32)) == "torch: oneDNN is switched off"


@pytest.mark.parametrize(
    ("processor", "capability", "name", "said"),
    [
        ("znver5", "AVX512", "oneDNN", "znver5"),
        ("sapphirerapids", "AVX512", "torch", "MKL suits"),
        ("znver3", "AVX2", "torch", "no AVX-512"),
    ],
)
def test_each_processor_has_its_library(processor, capability, name, said, monkeypatch):
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: processor)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    for library in ("mkl", "mkldnn"):
        monkeypatch.setattr(f"torch.backends.{library}.is_available", lambda: True)
    chosen = linear_layers._of_this_machine.__wrapped__()
    assert chosen.name == name
    assert said in chosen.reason
